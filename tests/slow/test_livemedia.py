"""The livemedia engine with a livemedia-creator in all its moods: images, endings, ends.

livemedia-creator is a stand-in as each of four series, and, beside it, a real one where one is
on PATH (or named by IMAGEBUILDER_LIVEMEDIA_CREATOR).  Anaconda is a stand-in in any case.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from livemedia.bench import KICKSTART, stays
from livemedia.endings import ENDINGS, WHOLE, Case
from livemedia.rig import RELEASE, SERIES, Rig, small_tree

import imagebuilder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="livemedia-creator needs root"),
]

AT_ONCE = 4
LONG = 120.0  # seconds in which each build must have ended, however busy this machine is
REAL = os.environ.get("IMAGEBUILDER_LIVEMEDIA_CREATOR") or shutil.which("livemedia-creator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where builds are run.

    Attributes:
        folder: a folder for everything.
        tree: what is installed.
        real: a real livemedia-creator, or "".
    """

    folder: Path
    tree: Path
    real: str

    def write(self, case: Case) -> Rig:
        """Write a project with its programs; or change one that is there."""
        folder = self.folder / case.name
        told = {
            f"{name.upper()}_MOOD": each.replace("{folder}", str(folder))
            for name, each in case.moods.items()
        }
        rig = Rig(
            folder=folder,
            tree=self.tree,
            real=self.real,
            told={"LIVEMEDIA_VERSION": case.series, **told},
        ).write()
        for name in ("recipes", "kickstarts", "full"):
            (folder / name).mkdir(exist_ok=True)
        options = "\n".join(case.options)
        if "program" not in options:
            options += '\nprogram = "bin/livemedia-creator"'
        (folder / "recipes/r.toml").write_text(
            'distro = "almalinux-9"\nengine = "livemedia"\nkickstarts = ["a.ks"]\n'
            f"[livemedia]\n{options}\n[image]\n{case.image}\n"
        )
        (folder / "kickstarts/a.ks").write_text(KICKSTART)
        return rig

    def build(self, case: Case) -> tuple[int, str]:
        """Build; return the exit status and all that was said."""
        rig = self.write(case)
        if case.tmpfs:
            return self.command(case)
        said: list[str] = []
        cancel = imagebuilder.Cancel()
        watchdog = threading.Timer(LONG, cancel.set)
        watchdog.start()
        options = imagebuilder.Options.make(
            cache_dir=rig.folder / "cache",
            observer=lambda event: said.append(event.text),
            cancel=cancel,
        )
        try:
            image = imagebuilder.build_image(imagebuilder.Project.open(rig.folder), "r", options)
        except imagebuilder.ImageBuilderError as error:
            return error.exit_status, "\n".join([*said, str(error)])
        finally:
            watchdog.cancel()
        return 0, "\n".join([*said, *image.facts.notes])

    def command(self, case: Case) -> tuple[int, str]:
        """Build with the command, which may stand in a mount namespace."""
        process = self.start(case)
        try:
            out, err = process.communicate(timeout=LONG)
        except subprocess.TimeoutExpired:
            process.terminate()
            return -1, f"not done after {LONG:.0f} s\n{process.communicate()[1]}"
        return process.returncode, out + err

    def start(self, case: Case, *args: str) -> subprocess.Popen[str]:
        """Start the command."""
        rig = self.write(case)
        mount = f"mount -t tmpfs -o size={case.tmpfs} tmpfs '{rig.folder}/full'"
        enter = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c"]
        return subprocess.Popen(
            [
                *([*enter, f'{mount} && exec "$@"', "sh"] if case.tmpfs else []),
                *[sys.executable, "-m", "imagebuilder.cli", "build", *args, "r"],
            ],
            cwd=rig.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "IMAGEBUILDER_CACHE": str(rig.folder / "cache")},
        )


@pytest.fixture(scope="module", params=["stand-in", *(["real"] if REAL else [])])
def bench(
    request: pytest.FixtureRequest, host_tools: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("livemedia")
    real = str(REAL) if request.param == "real" else ""
    made = Bench(folder=folder, tree=small_tree(folder / "tree"), real=real)
    with pytest.MonkeyPatch.context() as patch:
        # Anaconda is looked for on PATH before anything is started.
        rig = Rig(folder=folder / "path", tree=made.tree).write()
        (rig.folder / "bin/livemedia-creator").unlink()
        (rig.folder / "bin/mksquashfs").unlink()
        patch.setenv("PATH", f"{rig.folder}/bin:{os.environ['PATH']}")
        yield made


def in_parallel(bench: Bench, cases: Sequence[Case], look: Callable[[Case], str]) -> None:
    """Look at several cases at a time, which is a test by itself; all faults are told."""
    wanted = [each for each in cases if not (bench.real and each.is_ours)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        faults = {
            each.name: said
            for each, said in zip(wanted, pool.map(look, wanted), strict=True)
            if said
        }
    assert not faults, "\n\n".join(f"*** {name}: {said}" for name, said in faults.items())
    assert stays(bench.folder) == []


# ----- images ------------------------------------------------------------------------------------


def test_each_series_makes_an_image_and_is_not_called_again(bench: Bench) -> None:
    each_as = [(SERIES[0], (WHOLE,)), (SERIES[1], ()), (SERIES[2], ()), (SERIES[3], (WHOLE,))]
    cases = [
        Case(name=f"good-{n}", series=version, options=options, status=0)
        for n, (version, options) in enumerate(each_as)
    ]

    def look(case: Case) -> str:
        status, said = bench.build(case)
        rig = bench.write(case)
        if status:
            return said
        image = imagebuilder.Image.open(rig.folder / "build/r/latest")
        image.verify()
        if (
            image.facts.kernel_release != RELEASE
            or "bash" not in (image.path / "packages.json").read_text()
        ):
            return f"another image: {image.facts}"
        script = (image.path / "boot.ipxe").read_text()
        if "ip=dhcp" not in script or "rd.neednet=1" not in script:
            return f"kernel arguments lack something: {script}"
        calls = rig.calls
        if not bench.real and len([each for each in calls if "--make-pxe-live" in each]) != 1:
            return f"calls: {calls}"
        return ""

    # What a livemedia-creator moves out of /tmp must be its own.
    with tempfile.NamedTemporaryFile(dir="/tmp", suffix=".log") as log:
        in_parallel(bench, cases, look)
        assert Path(log.name).exists()


def test_what_did_not_change_is_not_made_again(bench: Bench) -> None:
    case = Case(name="again")
    rig = bench.write(case)
    assert bench.build(case)[0] == 0
    made = len(rig.calls)
    assert bench.build(case)[0] == 0
    assert len(rig.calls) == made
    other = Case(name="again", image='compression = "gzip"')
    status, said = bench.build(other)
    assert status == 0, said
    assert "installed before" in said
    assert len(rig.calls) == made
    image = imagebuilder.Image.open(rig.folder / "build/r/latest")
    superblock = (image.path / "rootfs.squashfs").read_bytes()[:96]
    assert int.from_bytes(superblock[20:22], "little") == 1  # gzip, by the format's own number


# ----- endings -----------------------------------------------------------------------------------


def test_each_ending_is_told_by_its_cause(bench: Bench) -> None:
    def look(case: Case) -> str:
        status, said = bench.build(case)
        rig = bench.write(case)
        if status != case.status or not re.search(case.said, said):
            return f"exit status {status}, not {case.status}; no {case.said!r} in:\n{said}"
        if list((rig.folder / "build/r").glob("[0-9a-f]" * 16)):
            return "there is an image"
        left = [*(rig.folder / "cache/work").glob("*"), *(rig.folder / "full").glob("*/*")]
        left += (rig.folder / "build/r").glob(".new*")
        left = [each for each in left if not each.name.endswith(".lock")]
        return f"files were left: {left}" if left else ""

    in_parallel(bench, ENDINGS, look)


def test_an_unknown_version_is_driven_by_its_options(bench: Bench) -> None:
    if bench.real:
        return
    case = Case(name="unknown", series="something-else")
    status, said = bench.build(case)
    assert status == 0, said
    assert "does not say its version" in said


# ----- ends --------------------------------------------------------------------------------------

PHASES = {
    "Anaconda installs": {"anaconda": "hang"},
    "running %post": {"anaconda": "pause:post"},
    "packing its squashfs": {"mksquashfs": "pause"},
    "making the initrd": {"anaconda": "dracut:pause"},
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_in_any_phase_leaves_nothing(bench: Bench, number: signal.Signals) -> None:
    phases = {f"{number.name}-{n}": (text, moods) for n, (text, moods) in enumerate(PHASES.items())}
    cases = [
        Case(name=name, moods=moods, options=(WHOLE,), series=version)
        for (name, (_, moods)), version in zip(phases.items(), SERIES, strict=True)
    ]

    def look(case: Case) -> str:
        process = bench.start(case, "--json")
        watchdog = threading.Timer(LONG, process.kill)
        watchdog.start()
        assert process.stdout
        for text in process.stdout:
            if phases[case.name][0] in text:
                break
        else:
            return f"it did not come to that: {process.communicate()[1]}"
        time.sleep(0.3)
        process.send_signal(number)
        _, said = process.communicate()
        watchdog.cancel()
        wanted = -number if number == signal.SIGKILL else 130
        if process.returncode != wanted:
            return f"exit status {process.returncode}: {said}"
        rig = bench.write(case)
        if number == signal.SIGKILL:
            if left := stays(rig.folder):
                return f"left: {left}"
            if case != cases[-1]:
                return ""
            # What stays is files; the next build removes them.
            status, said = bench.build(Case(name=case.name, options=(WHOLE,), series=case.series))
            if status:
                return f"the next build: {said}"
        left = [*(rig.folder / "cache/work").glob("*"), *(rig.folder / "build/r").glob(".new*")]
        return f"files were left: {left}" if left else ""

    in_parallel(bench, cases, look)
