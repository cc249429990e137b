"""Each way in which a run fails is named, with the line that shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.engines.livemedia.diagnosis import check_rooms, explain
from imagebuilder.engines.livemedia.run import Ended, Room, Run
from imagebuilder.errors import HostError
from imagebuilder.kickstart import Kickstart

_KICKSTART = """
%packages
vim
nosuch
%end
%post --erroronfail
false
%end
"""
MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path, kickstart_of: Callable[[str], Kickstart]) -> MakeRun:
    def make(
        log: str = "",
        text: str = "",
        *,
        ended: Ended = "",
        phase: str = "install",
        returncode: int = 1,
        free: int = 1 << 34,
    ) -> Run:
        logs = tmp_path / "logs"
        (logs / "anaconda").mkdir(parents=True)
        for name in ("livemedia.log", "program.log", "anaconda/anaconda.log"):
            (logs / name).write_text("a line before\n" + (f"{text}\n" if name == log else ""))
        return Run(
            version="34.9.33-1",
            mode="no-virt",
            returncode=returncode,
            ended=ended,
            phase=phase,
            logs=logs,
            stderr=text if log == "stderr" else "",
            results=tmp_path / "results",
            kickstart=kickstart_of(_KICKSTART),
            rooms=(Room(name="tmp", folder=tmp_path, free=free),),
        )

    return make


ANACONDA, LIVEMEDIA, PROGRAM = "anaconda/anaconda.log", "livemedia.log", "program.log"


@pytest.mark.parametrize(
    ("log", "text", "said"),
    [
        (ANACONDA, "Traceback (most recent call last):", "traceback"),
        (ANACONDA, "1 traceback script(s) have been run", "Anaconda crashed"),
        (ANACONDA, "Out of memory: Killed process 3", "memory was not enough"),
        (ANACONDA, "Call Trace:", "kernel had a fault"),
        (ANACONDA, "insufficient disk space: 3 GiB", "root file system is too small"),
        (ANACONDA, "Not enough disk space to download the packages", "root file system is too"),
        (ANACONDA, "error populating transaction after 10 retries", "could not be installed"),
        (ANACONDA, "crashed on signal 11", "Anaconda crashed"),
        (ANACONDA, "packaging: Missed: NoSuchPackage: nosuch", "not to be had: nosuch"),
        (ANACONDA, "packaging: Installation failed", "could not be installed"),
        (
            ANACONDA,
            "The following error occurred while installing.  This is a fatal error",
            "an er",
        ),
        (ANACONDA, "Error in POSTIN scriptlet in rpm package grub2", "script of a package.*grub2"),
        (ANACONDA, "Process 17 (anaconda) of user 0 dumped core", "Anaconda crashed"),
        (ANACONDA, "packaging: base repo http://x not valid", "a repository cannot be used"),
        (ANACONDA, "packaging: vim requires libx", "cannot be installed together"),
        (LIVEMEDIA, "No initrds found, cannot rebuild_initrds", "no kernel whose name"),
        (LIVEMEDIA, "Problem zeroing free blocks of /r/x", "nothing was installed"),
        (LIVEMEDIA, "failed to unmount /mnt/x, retrying", "could not be unmounted"),
        (LIVEMEDIA, "mksquashfs failed to create live-rootfs.squashfs.img", "mksquashfs failed"),
        (LIVEMEDIA, "Canceling installation due to timeout", "not done in its time"),
        (LIVEMEDIA, "Only url, nfs and ostreesetup install methods are", "refuses the kickstart"),
        (LIVEMEDIA, "No partitions in the kickstart. Unable to", "refuses the kickstart"),
        (LIVEMEDIA, "Running anaconda failed: process '[..]' exited with status 3", "status 3"),
        (LIVEMEDIA, "no-virt requires anaconda to be installed.", "Anaconda is not installed"),
        (PROGRAM, "losetup: /r/x: failed to set up loop device", "no loop device left"),
        (PROGRAM, "INFO: dracut: dracut module 'livenet' cannot be found or installed.", "livenet"),
        ("stderr", "error: unrecognized arguments: --x", "does not know an option: --x"),
    ],
)
def test_the_cause_is_named_with_its_line(
    make_run: MakeRun, log: str, text: str, said: str
) -> None:
    error = explain(make_run(log, text))
    assert "the cause is not known" not in error.what
    assert re.search(said, error.what)
    assert text in error.excerpt
    assert error.fix
    assert error.log


def test_what_anaconda_itself_calls_an_error_is_named(make_run: MakeRun) -> None:
    run = make_run(LIVEMEDIA, "Running anaconda failed: process '[..]' exited with status 1")
    (run.logs / ANACONDA).write_text("12:00:01,5 ERR anaconda: no such disk\n12:00:02,5 INF x\n")
    assert "exit status 1: ERR anaconda: no such disk" in explain(run).what


def test_the_exception_of_a_traceback_is_named(make_run: MakeRun) -> None:
    text = (
        'Traceback (most recent call last):\n  File "x.py", line 3\npyanaconda.errors.XError: bad'
    )
    error = explain(make_run(ANACONDA, text))
    assert "with a traceback: pyanaconda.errors.XError: bad" in error.what


def test_a_package_has_the_line_that_asks_for_it(make_run: MakeRun) -> None:
    error = explain(make_run(ANACONDA, "packaging: Missed: NoSuchPackage: nosuch"))
    assert str(error.where) == "kickstarts/f.ks:3"


def test_a_script_has_its_line(make_run: MakeRun) -> None:
    error = explain(make_run(ANACONDA, "Error code 1 running the kickstart script at line 5"))
    assert "a script of the kickstart failed" in error.what
    assert str(error.where) == "kickstarts/f.ks:5"


def test_lines_that_the_monitor_passes_over_are_no_cause(make_run: MakeRun) -> None:
    error = explain(make_run(ANACONDA, "IGNORED: Traceback (most recent"))
    assert "the cause is not known" in error.what


def test_what_is_not_known_says_so_and_shows_the_ends_of_all_logs(make_run: MakeRun) -> None:
    error = explain(make_run(LIVEMEDIA, "something odd", returncode=-9))
    assert "signal 9; the cause is not known" in error.what
    assert "something odd" in error.excerpt
    assert "anaconda/anaconda.log" in error.fix


@pytest.mark.parametrize(
    ("free", "said"), [(0, "has 0 MiB left"), (1 << 34, "the image's own root")]
)
def test_which_disk_is_full_is_said(make_run: MakeRun, free: int, said: str) -> None:
    error = explain(make_run(LIVEMEDIA, "[Errno 28] No space left on device: '/t/x'", free=free))
    assert "the disk is full" in error.what
    assert said in error.what


def test_a_full_disk_that_nobody_names_is_found(make_run: MakeRun) -> None:
    error = explain(make_run(free=0))
    assert isinstance(error, HostError)
    assert "is full" in error.what


@pytest.mark.parametrize("ended", ["timeout", "phase-timeout", "silence"])
def test_a_run_that_was_ended_says_in_which_phase_and_why(make_run: MakeRun, ended: Ended) -> None:
    error = explain(make_run(ended=ended, phase="squashfs"))
    assert "was ended (phase squashfs)" in error.what
    assert "[livemedia]" in error.fix


def test_a_cause_is_named_though_the_run_did_not_end_by_itself(make_run: MakeRun) -> None:
    run = make_run(ANACONDA, "ERR packaging: Missed: NoSuchPackage: vim", ended="silence")
    error = explain(run)
    assert "a package is not to be had: vim; it did not end by itself: it gave no" in error.what


def test_what_the_end_itself_brought_about_is_no_cause(make_run: MakeRun) -> None:
    error = explain(make_run(LIVEMEDIA, "umount: /mnt/sysimage: target is busy", ended="silence"))
    assert "was ended" in error.what
    assert "unmount" not in error.what


def test_a_program_that_repeats_itself_is_told(make_run: MakeRun) -> None:
    lines = "\n".join(f"12:00:{n % 60:02},5 DBG anaconda: waiting" for n in range(300))
    error = explain(make_run(ANACONDA, lines, ended="timeout"))
    assert "the same over and over: DBG anaconda: waiting" in error.what


def test_a_full_disk_is_the_cause_of_what_is_vague(make_run: MakeRun) -> None:
    error = explain(make_run(LIVEMEDIA, "Problem zeroing free blocks of /r/x", free=0))
    assert "the disk is full" in error.what


def test_a_success_on_a_full_disk_is_none(tmp_path: Path) -> None:
    rooms = (Room(name="results", folder=tmp_path, free=0),)
    with pytest.raises(HostError, match=r"has holes: the disk is full: .* \(results\) had 0 MiB"):
        check_rooms(rooms, tmp_path)
    check_rooms((replace(rooms[0], free=1 << 30),), tmp_path)
