"""What is said of a boot, from what was seen of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imagebuilder.image import BOOT_SCRIPT, EROFS, INITRD, KERNEL, ROOTFS
from imagebuilder.smoke import one_path
from imagebuilder.smoke.diagnosis import diagnose
from imagebuilder.smoke.guest import Said
from imagebuilder.smoke.packets import Packet
from imagebuilder.smoke.paths import BOOT_PATHS
from imagebuilder.smoke.qmp import MachineEvent
from imagebuilder.smoke.report import ConsoleFinding
from imagebuilder.smoke.server import Transfer
from imagebuilder.smoke.stages import (
    FETCHED,
    FIRMWARE,
    KERNEL_STARTED,
    ROOT_SWITCHED,
    STAGES,
    SYSTEMD_STARTED,
)
from imagebuilder.smoke.watch import Boot


def boot(until: str, ending: str = "timeout", **more: Any) -> Boot:
    reached = STAGES[: STAGES.index(until) + 1]
    data: dict[str, Any] = {
        "ending": ending,
        "stages": {stage: float(n) for n, stage in enumerate(reached)},
        "transfers": (),
        "said": (),
        "findings": (),
        "fatal": None,
        "excerpt": "the last line",
        "exit_status": None,
        "qemu_said": "",
        "reached_login": False,
        "seconds": 99.0,
        "path": BOOT_PATHS["pxe-bios"],
    }
    return Boot(**{**data, **more})


def finding(meaning: str, severity: str = "warn", seconds: float = 5.0) -> ConsoleFinding:
    data = {"line": "[    5.0] the line", "meaning": meaning, "severity": severity, "fix": "look"}
    return ConsoleFinding.model_validate({**data, "seconds": seconds})


def packets(part: str, *kinds: str) -> tuple[Packet, ...]:
    return tuple(Packet(kind="dhcp", what=kind, part=part) for kind in kinds)  # type: ignore[arg-type]


def transfer(name: str, status: int = 200, wanted: int = 0, sent: int = 0) -> Transfer:
    return Transfer(name=name, status=status, started=0, ended=1, wanted=wanted, sent=sent)


def shutdown(reason: str) -> tuple[MachineEvent, ...]:
    return (MachineEvent(name="SHUTDOWN", data={"guest": True, "reason": reason}),)


WAITED = finding("dracut waited in vain for the network or for the root file system", "fatal")

CASES: list[tuple[Boot, str]] = [
    (
        boot(
            FIRMWARE,
            ending="fatal",
            packets=packets("firmware", "discover", "discover"),
            findings=(finding("iPXE got no address by DHCP"),),
            fatal=finding("the firmware found nothing to boot from", "fatal"),
            fatal_follows=True,
        ),
        "iPXE got no address by DHCP, since it asked for an address by DHCP 2 times and got no "
        "answer; then the firmware found nothing to boot from",
    ),
    (boot(FIRMWARE), "never asked for the boot script within 99 s"),
    (
        boot(FIRMWARE, packets=packets("firmware", "discover", "discover", "discover")),
        "its firmware asked for an address by DHCP 3 times and got no answer",
    ),
    (
        boot(FIRMWARE, packets=packets("firmware", "discover", "offer", "request", "nak")),
        "DHCP 2 times and was refused",
    ),
    (
        boot(
            FIRMWARE,
            packets=(
                *packets("firmware", "discover", "offer", "request", "ack"),
                Packet(kind="tftp-read", what="x.ipxe"),
                Packet(kind="tftp-error", what="File not found"),
            ),
        ),
        "asked for x.ipxe by TFTP: File not found",
    ),
    (
        boot(FETCHED[BOOT_SCRIPT], transfers=(transfer("vmlinuz-6", 404),)),
        "never asked for; asked for was vmlinuz-6, which the server has not",
    ),
    (
        boot(FETCHED[BOOT_SCRIPT], transfers=(transfer(KERNEL, 200, 2 << 20, 1 << 20),)),
        "the kernel did not arrive: 1.0 of 2.0 MiB of vmlinuz were sent; the transfer was cut",
    ),
    (
        boot(
            KERNEL_STARTED,
            "cut",
            transfers=(
                transfer(ROOTFS, 200, wanted=100, sent=30),
                replace(transfer(ROOTFS, 206, wanted=70, sent=0), first=30, cut=True),
            ),
        ),
        "rootfs.squashfs is cut short: its server ended each transfer after 30 of 100 bytes",
    ),
    (
        boot(
            FETCHED[BOOT_SCRIPT],
            "no-script",
            transfers=(replace(transfer(BOOT_SCRIPT, wanted=9, sent=9), begin=b"<html>\xff"),),
        ),
        "boot.ipxe is no script of iPXE, which hung when it ran it: its begin is '<html>\\\\xff'",
    ),
    (
        boot(
            FETCHED[ROOTFS],
            "fatal",
            fatal=finding("the first process of the guest ended by itself", "fatal"),
            fatal_follows=True,
            handed_over=True,
        ),
        "the first process of the root file system (systemd) ended by itself",
    ),
    (
        boot(
            FETCHED[ROOTFS],
            "fatal",
            fatal=finding("the first process of the guest ended", "fatal"),
            fatal_follows=True,
            findings=(finding("a first program of their own: init=/bin/false"),),
            handed_over=True,
        ),
        "init=/bin/false; then the first process of the root file system ended",
    ),
    (boot(FETCHED[INITRD]), "kernel and initrd were loaded, but the kernel said nothing"),
    (
        boot(FETCHED[INITRD], "halted", screen=("XZ is corrupt", " -- System halted")),
        "halted before the kernel said a word; on its screen: -- System halted",
    ),
    (
        boot(FETCHED[INITRD], "exited", events=shutdown("guest-reset")),
        "the guest restarted itself before its kernel said a word",
    ),
    (
        boot(SYSTEMD_STARTED, "exited", events=shutdown("guest-shutdown")),
        "the guest switched itself off before the test was done",
    ),
    (boot(SYSTEMD_STARTED, "panicked"), "the guest's kernel panicked"),
    (boot(SYSTEMD_STARTED, "watchdog"), "nobody fed its watchdog"),
    (boot(SYSTEMD_STARTED, "stopped"), "QEMU stopped the machine"),
    (
        boot(KERNEL_STARTED, "fatal", fatal=WAITED, fatal_follows=True),
        "the initrd sent no DHCP request (on the console: dracut waited in vain",
    ),
    (
        boot(
            KERNEL_STARTED,
            "fatal",
            fatal=WAITED,
            fatal_follows=True,
            packets=packets("initrd", "discover", "discover"),
            findings=(finding("a program is missing: curl"),),
        ),
        "initrd asked for an address by DHCP 2 times and got no answer",
    ),
    (
        boot(
            KERNEL_STARTED,
            "fatal",
            fatal=WAITED,
            fatal_follows=True,
            packets=packets("initrd", "discover", "ack"),
            findings=(finding("a program is missing: curl"),),
        ),
        "it got an address by DHCP (on the console: dracut waited in vain for the network or for "
        "the root file system); before that: a program is missing: curl",
    ),
    (
        boot(
            SYSTEMD_STARTED,
            "fatal",
            fatal=finding("the boot ended in an emergency shell", "fatal"),
            fatal_follows=True,
            findings=(finding("a mount failed: /srv"), finding("too late", seconds=6.0)),
        ),
        "a mount failed: /srv; then the boot ended in an emergency shell (on the console: the line",
    ),
    (
        boot(KERNEL_STARTED, transfers=(transfer(EROFS, 200, 2 << 20, 1 << 20),)),
        "the whole root file system: 1.0 of 2.0 MiB of rootfs.erofs were sent; the transfer was",
    ),
    (
        boot(FETCHED[ROOTFS], waits_for="dracut-pre-mount.service"),
        "had not handed over to it 99 s after power-on; systemd waited for dracut-pre-mount",
    ),
    (
        boot(
            ROOT_SWITCHED,
            "unheard",
            reached_login=True,
            findings=(finding("the guest's root has no room left"),),
        ),
        "runner in it reported nothing; before that: the guest's root has no room left",
    ),
    (boot(ROOT_SWITCHED), "had not started the test's runner"),
    (
        boot(SYSTEMD_STARTED, findings=(finding("a processor was stuck"),)),
        "not reached 99 s after power-on; before that: a processor was stuck",
    ),
    (
        boot(
            SYSTEMD_STARTED,
            "settled",
            said=(Said(word="settled", texts=("degraded", "a.service")),),
            findings=(finding("a unit failed: a.service"), finding("not started: Multi-User")),
        ),
        "did not reach multi-user.target; before that: a unit failed: a.service",
    ),
]


@pytest.mark.parametrize(("seen", "words"), CASES, ids=[words[:40] for _, words in CASES])
def test_what_was_seen_is_told(seen: Boot, words: str) -> None:
    failure = diagnose(seen)
    assert failure
    assert words in failure.what
    assert failure.fix


def test_a_kernel_that_speaks_elsewhere_is_not_called_silent() -> None:
    """With no serial console in the kernel nothing shows it but what it asks for."""
    stages = {FETCHED[INITRD]: 5.0, SYSTEMD_STARTED: 40.0}
    failure = diagnose(boot(FIRMWARE, stages=stages))
    assert failure
    assert "said nothing" not in failure.what
    assert "multi-user.target was not reached" in failure.what


def test_a_line_that_is_its_own_meaning_is_told_once() -> None:
    said = finding("the line", "fatal")
    failure = diagnose(boot(KERNEL_STARTED, "fatal", fatal=said))
    assert failure
    assert failure.what == "the line"


@pytest.mark.parametrize(
    ("ending", "blamed"), [("still", True), ("stopped", True), ("exited", False), ("fatal", False)]
)
def test_a_kvm_that_hangs_or_stops_is_to_blame(ending: str, blamed: bool) -> None:
    assert one_path._kvm_is_to_blame(boot(SYSTEMD_STARTED, ending)) == blamed


def test_a_boot_that_is_done_has_no_failure() -> None:
    assert diagnose(boot(STAGES[-1], "done")) is None
