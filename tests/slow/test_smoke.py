"""Real images booted in real virtual machines: six boots, most of them short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import zstandard
from support import ended

from imagebuilder.checks import (
    BootFinishedCheck,
    Check,
    CommandCheck,
    FileCheck,
    InterfaceCheck,
    KernelArgCheck,
    MemoryUsedCheck,
    ModuleCheck,
    MountCheck,
    NoFailedUnitsCheck,
    OvsBridgeCheck,
    PackageCheck,
    PortCheck,
    SysctlCheck,
    UnitCheck,
    UserCheck,
)
from imagebuilder.checks.scripts import LoadedScriptCheck
from imagebuilder.cpio import Entry, archive
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.engines.livemedia import guard
from imagebuilder.image import BOOT_SCRIPT, FACTS, INITRD, ROOTFS, Image, measure
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import (
    SmokeReport,
    report_error,
    report_text,
    smoke_test,
    why_not_up_to_date,
)
from imagebuilder.smoke.stages import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OPTIONS = SmokeOptions()
GOOD: list[Check] = [
    CommandCheck(
        command="systemctl is-system-running || true", matches="running|degraded|starting"
    ),
    CommandCheck(
        command="printf '%s\\n' \"it's $((1 + 1))\"; exit 3", status=3, matches="^it's 2$"
    ),
    FileCheck(file="/etc/passwd", mode="0644", owner="root:root", contains="^root:"),
    FileCheck(file="/etc/no such file", exists=False),
    FileCheck(file="/etc/mtab", type="link", target="../proc/self/mounts"),
    FileCheck(file="/usr/bin/sh", type="file", mode="0755"),
    UnitCheck(unit="multi-user.target"),
    NoFailedUnitsCheck(no_failed_units=True),
    BootFinishedCheck(boot_finished_within=120),
    MemoryUsedCheck(memory_used_at_most=1900),
    LoadedScriptCheck(
        script="checks/arguments.sh",
        content=b'#!/bin/sh\necho "$(id -u) $# $2"\n',
        arguments=("a", "it's *"),
        output="0 2 it's *",
        name="script",
    ),
    PackageCheck(package="systemd", version=">= 200", needs=("script",)),
    PackageCheck(package="no-such-package", installed=False),
    UserCheck(user="root", uid=0, groups=("root",), shell="/bin/bash", password="locked"),
    UserCheck(user="nobody-such", exists=False),
    KernelArgCheck(kernel_arg="console", value="ttyS0,115200"),
    KernelArgCheck(kernel_arg="nosmt", present=False),
    ModuleCheck(module="virtio-net"),
    ModuleCheck(module="nouveau", loaded=False),
    SysctlCheck(sysctl="kernel.pid_max", at_least=1000),
    SysctlCheck(sysctl="kernel.ostype", value="Linux"),
    MountCheck(mount="/", type="overlay", options=("rw",)),
    MountCheck(mount="/run/", type="tmpfs", options=("nosuid", "nodev")),
    MountCheck(mount="/srv", mounted=False),
    InterfaceCheck(interface="en*", mtu=1500, dhcp=True, addresses=("10.0.2.15/24",)),
    InterfaceCheck(interface="lo", addresses=("127.0.0.1/8", "::1/128")),
    InterfaceCheck(interface="wlan*", exists=False),
    PortCheck(port=22, address="0.0.0.0"),
    PortCheck(port=25, listening=False),
]
BAD: list[Check] = [
    UnitCheck(unit="nope.service"),
    PortCheck(port=9, timeout=1),
    OvsBridgeCheck(ovs_bridge="br0"),
]
SKIPPED: list[Check] = [CommandCheck(command="true", needs=("unit nope.service active",))]


def variant(image: Image, folder: Path, changed: Mapping[str, bytes]) -> Image:
    """Return an image like this one, but with other bytes in some artefacts."""
    folder.mkdir()
    for each in image.facts.artefacts:
        if each.name in changed:
            (folder / each.name).write_bytes(changed[each.name])
        else:
            (folder / each.name).symlink_to(image.path / each.name)
    artefacts = tuple(measure(folder / each.name) for each in image.facts.artefacts)
    facts = image.facts.model_copy(update={"artefacts": artefacts})
    (folder / FACTS).write_text(facts.model_dump_json())
    return Image.open(folder)


def smoke(image: Image, checks: list[Check], cache: Path) -> SmokeReport:
    report = smoke_test(image, checks, OPTIONS, cache_dir=cache)
    print(report_text(report))
    return report


def test_a_good_image_comes_up_and_a_failing_check_is_named(
    base_image: Image, tmp_path: Path
) -> None:
    image = variant(base_image, tmp_path / "image", {})
    asked = GOOD + BAD + SKIPPED
    report = smoke(image, asked, tmp_path / "cache")
    assert report.failure is None
    boot = report.boots[0]
    assert boot.failure is None
    assert [(check.title, check.outcome) for check in report.checks] == [
        *((check.title, "passed") for check in GOOD),
        *((check.title, "failed") for check in BAD),
        *((check.title, "skipped") for check in SKIPPED),
    ]
    assert boot.path == "pxe-bios"
    assert boot.accelerator.why
    assert boot.kernel == image.facts.kernel_release
    assert boot.seconds_to_multi_user
    assert 1 < boot.seconds_to_multi_user < boot.stages["multi-user.target"]
    assert list(boot.stages) == list(STAGES)
    assert boot.stage == STAGES[-1]
    screen = (image.smoke_dir / boot.logs / boot.screenshot).read_bytes()
    assert screen.startswith(b"\x89PNG"), "a check failed, so there is a picture of the screen"
    assert not [finding for finding in boot.console_findings if finding.severity == "fatal"]
    error = report_error(report, image)
    assert error.exit_status == 3
    assert "nope.service" in error.what
    assert "there is no such unit" in error.excerpt
    assert "failed" in why_not_up_to_date(image, asked, OPTIONS)
    image.verify()


def test_an_initrd_without_the_live_modules_is_explained(base_image: Image, tmp_path: Path) -> None:
    initrd = base_image.initrd.read_bytes()
    gone = [
        Entry(path=f"{folder}/lib/dracut/hooks/cmdline/{name}.sh", content=b":\n")
        for folder in ("usr", "var")
        for name in ("29-parse-livenet", "30-parse-dmsquash-live")
    ]
    changed = initrd + bytes(-len(initrd) % 512) + archive(gone)
    image = variant(base_image, tmp_path / "image", {INITRD: changed})
    report = smoke(image, GOOD, tmp_path / "cache")
    failure = report.boots[0].failure
    assert failure
    assert "cannot boot a live image" in failure.what
    assert "dracut-live" in failure.fix
    assert report.seconds < 200


def taught_initrd(image: Image, folder: Path) -> bytes:
    """Return an image's initrd without our module of dracut, to which what it does was added.

    So are those that livemedia-creator made.
    """
    tree, inside, made = folder / "tree", folder / "inside", folder / "foreign.img"
    subprocess.run(
        ["unsquashfs", "-n", "-q", "-d", str(tree), str(image.rootfs)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    inside.mkdir()
    packed = image.initrd.read_bytes()
    packed = packed[packed.index(b"\x28\xb5\x2f\xfd") :]
    unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(packed)  # zeros follow it
    extract = ["cpio", "-idm", "--quiet"]
    subprocess.run(extract, input=unpacked, cwd=inside, check=True)
    removed = [
        path
        for path in inside.rglob("*")
        if path.name in ("imagebuilderroot", "31-take-over.sh", "sha256sum", "wc")
    ]
    assert len(removed) == 4
    for path in removed:
        path.unlink()
    pack = "find . | cpio -o -H newc --quiet | gzip -1"
    made.write_bytes(subprocess.check_output(["sh", "-c", pack], cwd=inside))
    assert guard.add(Tree(root=tree, log=folder / "log", epoch=1), made, folder) == ""
    return made.read_bytes()


@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("gone", "is not there: the server answers 404 to http://"),
        ("cut", "is cut short: the server has 1000000 of "),
        pytest.param(
            "other",
            "is another one: SHA-256 ",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="its tree needs chroot"),
        ),
    ],
)
def test_another_rootfs_than_the_command_line_names_is_not_mounted(
    base_image: Image, tmp_path: Path, case: str, what: str
) -> None:
    """The boot script names the digest of the rootfs that was built; the server has another."""
    rootfs = base_image.rootfs.read_bytes()
    script = (base_image.path / BOOT_SCRIPT).read_text()
    changed = {
        "gone": {BOOT_SCRIPT: script.replace("${base}rootfs.squashfs", "${base}gone").encode()},
        "cut": {ROOTFS: rootfs[:1_000_000]},
        "other": {ROOTFS: rootfs[:-1] + bytes([rootfs[-1] ^ 1])},
    }[case]
    if case == "other":  # and the initrd is not of ours: it was taught afterwards
        changed[INITRD] = taught_initrd(base_image, tmp_path)
    report = smoke(variant(base_image, tmp_path / "image", changed), [], tmp_path / "cache")
    boot = report.boots[0]
    assert boot.failure
    assert boot.failure.what.startswith(f"the root file system {what}")
    assert ("rootfs fetched" in boot.stages) == (case != "gone")
    assert "systemd of the image started" not in boot.stages
    # What cannot become better is said at once, not after a hundred attempts.
    assert "attempt 3 of" not in boot.failure.excerpt


PROGRAM = """
import sys
from pathlib import Path
from imagebuilder.image import Image
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import smoke_test
image, cache = map(Path, sys.argv[1:])
smoke_test(Image.open(image), [], SmokeOptions(), accel="tcg", cache_dir=cache)
"""


def test_a_kill_leaves_no_machine(base_image: Image, tmp_path: Path) -> None:
    image = variant(base_image, tmp_path / "image", {})
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-c", PROGRAM, str(image.path), str(tmp_path / "cache")]
    with subprocess.Popen(argv, env=env) as process:
        deadline = time.monotonic() + 60
        while not (pids := processes_with(str(tmp_path))) - {process.pid}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(6)  # into the boot: files are under way
        pids |= processes_with(str(tmp_path))
        process.send_signal(signal.SIGKILL)
    for pid in pids - {process.pid}:
        assert ended(pid)
    assert not processes_with(str(tmp_path))


def processes_with(text: str) -> set[int]:
    """Return the processes whose command line has a text in it."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_bytes().decode(errors="replace"):
                found.add(int(path.parent.name))
        except OSError:
            pass  # it ended meanwhile
    return found - {os.getpid()}
