from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from imagebuilder.checks import (
    Check,
    CommandCheck,
    FileCheck,
    NoFailedUnitsCheck,
    PortCheck,
    UnitCheck,
)
from imagebuilder.cpio import Entry, archive
from imagebuilder.smoke.guest import guest_archive, number


@pytest.mark.skipif(not shutil.which("cpio"), reason="needs cpio")
def test_cpio_reads_the_archive(tmp_path: Path) -> None:
    entries = [Entry(path="d"), Entry(path="d/odd", content=b"abc", mode=0o640)]
    entries += [Entry(path=f"d/{n}", content=bytes(n)) for n in range(5)]
    data = archive(entries)
    assert len(data) % 512 == 0
    assert data == archive(entries)
    command = ["cpio", "-i", "-d", "--no-absolute-filenames", "--quiet"]
    subprocess.run(command, input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "d/odd").read_bytes() == b"abc"
    assert (tmp_path / "d/odd").stat().st_mode & 0o777 == 0o640
    assert [(tmp_path / f"d/{n}").stat().st_size for n in range(5)] == [0, 1, 2, 3, 4]


def test_services_get_more_time_to_start_under_emulation_only() -> None:
    assert b"TimeoutStartSec=450" in guest_archive("echo\n", slowness=5.0)
    assert b"TimeoutStartSec" not in guest_archive("echo\n")


def test_the_guest_archive_replaces_no_directory_of_the_initrd() -> None:
    data = guest_archive("echo\n")
    paths = {each.decode() for each in re.findall(rb"070701[0-9A-F]{104}([^\0]+)\0", data)}
    hooks = {
        "usr/lib/dracut/hooks/pre-pivot/95-imagebuilder-smoke.sh",
        "var/lib/dracut/hooks/pre-pivot/95-imagebuilder-smoke.sh",
        "conf/conf.d/imagebuilder-smoke",  # of initramfs-tools
    }
    assert hooks <= paths
    assert paths.isdisjoint(
        {"usr", "usr/lib", "lib", "var", "var/lib", "run", "conf", "conf/conf.d"}
    )


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (UnitCheck(unit="a.service", enabled=False), "a.service to be active and not enabled"),
        (CommandCheck(command="x", status=2, matches="y"), "exit status 2 and output matching 'y'"),
        (FileCheck(file="/a", exists=False), "/a not to be there"),
        (
            FileCheck(file="/a", mode="0644", owner="b", contains="c"),
            "/a to be there with mode 0644, owner b, a line matching 'c'",
        ),
        (PortCheck(port=53, protocol="udp"), "something that listens on udp port 53"),
        (NoFailedUnitsCheck(no_failed_units=True, allow=("a",)), "no failed unit but a"),
    ],
)
def test_wanted(check: Check, words: str) -> None:
    assert check.wanted == words


@pytest.mark.parametrize(
    ("text", "value"), [("1.5", 1.5), ("", 0.0), ("x", 0.0), ("nan", 0.0), ("-inf", 0.0)]
)
def test_what_a_guest_says_is_a_number_that_a_report_can_hold(text: str, value: float) -> None:
    assert number(text) == value
