"""When a boot is over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from imagebuilder.image import BOOT_SCRIPT, INITRD, KERNEL, ROOTFS
from imagebuilder.smoke.console import Console
from imagebuilder.smoke.packets import PARTS, Packet
from imagebuilder.smoke.qmp import MachineEvent
from imagebuilder.smoke.server import Transfer
from imagebuilder.smoke.stages import FETCHED, KERNEL_STARTED, furthest
from imagebuilder.smoke.watch import Watch


class Guest:
    """A watch, with a clock that is set by hand."""

    def __init__(self, folder: Path, accelerator: str = "tcg") -> None:
        self.now = 0.0
        self.results = folder / "results"
        self.results.touch()
        self.console = Console(folder / "log", lambda: self.now)
        self.watch = Watch(self.console, self.results, (600.0, 60.0), accelerator)
        self.watch.clock = lambda: self.now  # type: ignore[method-assign]

    def over(self, now: float) -> str:
        self.now = now
        self.watch.over()
        return self.watch.ending


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("SHUTDOWN", "exited"),
        ("GUEST_PANICKED", "panicked"),
        ("WATCHDOG", "watchdog"),
        ("STOP", "stopped"),
        ("RTC_CHANGE", ""),
    ],
)
def test_what_the_monitor_tells_ends_a_boot(guest: Guest, name: str, ending: str) -> None:
    guest.watch.happened(MachineEvent(name=name, moment=time.monotonic()))
    assert guest.over(1.0) == "", "its last words may be on their way"
    guest.watch.events[0] = MachineEvent(name=name, moment=time.monotonic() - 1)
    guest.watch.happened(MachineEvent(name="STOP", moment=time.monotonic()))
    expected = ending or ""
    assert guest.over(2.0) == expected


def test_a_fatal_line_is_followed_by_its_aftermath_unless_the_machine_is_gone(
    guest: Guest, tmp_path: Path
) -> None:
    guest.now = 10.0
    guest.console.take("Kernel panic - not syncing: Fatal exception")
    assert guest.over(11.0) == ""
    guest.watch.happened(MachineEvent(name="SHUTDOWN", moment=time.monotonic() - 1))
    assert guest.over(11.1) == "fatal"
    other = Guest(tmp_path)
    other.console.take("Kernel panic - not syncing: Fatal exception")
    assert other.over(2.1) == "fatal"


@pytest.mark.parametrize(("accelerator", "patience"), [("kvm", 60.0), ("tcg", 180.0)])
def test_firmware_in_which_nothing_moves(tmp_path: Path, accelerator: str, patience: float) -> None:
    guest = Guest(tmp_path, accelerator)
    guest.now = 5.0
    guest.console.take("iPXE")
    assert guest.over(patience) == ""
    assert guest.over(patience + 5.1) == "still"


def test_a_kernel_without_a_serial_console_is_no_firmware_that_hangs(
    guest: Guest, tmp_path: Path
) -> None:
    guest.now = 5.0
    guest.console.take("iPXE")
    guest.watch.stage(FETCHED[INITRD])
    assert guest.over(599.0) == ""
    given = Watch(guest.console, guest.results, (600.0, 60.0), "tcg", from_network=False)
    given.clock = lambda: 599.0  # type: ignore[method-assign]
    assert not given.over()


def test_a_packet_is_a_movement(guest: Guest) -> None:
    guest.now = 100.0
    guest.watch.passed_by(Packet(kind="dhcp", what="discover"))
    assert guest.over(279.0) == ""
    assert guest.over(281.0) == "still"


def test_an_emulated_kernel_may_be_silent_for_as_long_as_the_boot_may_take(guest: Guest) -> None:
    guest.console.take("Linux version 6.1")
    assert guest.over(599.0) == ""
    assert guest.over(601.0) == "timeout"


@pytest.mark.parametrize(("accelerator", "times"), [("kvm", 1), ("tcg", 5)])
def test_what_a_machine_is_idle_counts_as_often_as_its_limit_is_longer(
    tmp_path: Path, accelerator: str, times: int
) -> None:
    guest = Guest(tmp_path, accelerator)
    guest.watch._boot_limit = 120.0 * times
    guest.console.take("[    0.0] Linux version 6.1")
    waiting = "[ *** ] A start job is running for dracut pre-mount hook ({}s / no limit)"

    def idle_until(end: int) -> str:
        for now in range(round(guest.now) + 1, end + 1):
            guest.now = now
            guest.console.take(waiting.format(now))
            with guest.results.open("a") as file:
                file.write(f"memory {now}.0 2048 1024\n")
            guest.watch.over()
            guest.watch.spent(0.0, 1.0)
        return guest.over(end)

    assert idle_until(119) == ""
    assert guest.watch.idle == 114, "what moved lately may have been waited for"
    assert idle_until(130) == "timeout"


def test_a_machine_that_may_wait_for_others_has_its_whole_time(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    watch = Watch(guest.console, guest.results, (600.0, 60.0), "tcg", alone=False)
    watch.clock = lambda: 300.0  # type: ignore[method-assign]
    guest.console.take("[    0.0] Linux version 6.1")
    for _ in range(200):
        watch.spent(0.0, 1.0)
    assert watch.idle == 0
    assert not watch.over()


def test_a_machine_in_which_something_moves_is_not_idle(guest: Guest) -> None:
    for now in range(1, 300):
        guest.now = now
        if now % 5 == 0:
            guest.console.take(f"[  OK  ] Started {now}.service.")
        guest.watch.spent(0.0, 1.0)
    assert guest.watch.idle == 0
    assert guest.over(300.0) == ""


def test_a_runner_that_is_silent_in_an_idle_machine_is_waited_for_as_long_as_under_kvm(
    guest: Guest,
) -> None:
    guest.now = 10.0
    guest.watch._check_limit = 600.0
    guest.results.write_text("hello 1 Ni4xLjA=\nreached 12345678\nalive\n")
    assert guest.over(10.0) == ""
    for now in range(11, 72):
        guest.now = now
        guest.watch.spent(0.0, 1.0)
        assert guest.over(now) == ""
    for now in range(72, 90):
        guest.now = now
        guest.watch.spent(0.0, 1.0)
    assert guest.over(90.0) == "still"


@pytest.mark.parametrize(
    ("begin", "ending"),
    [(b"<html><body>404 ", "no-script"), (b"#!ipxe\nkernel x", ""), (b"#!gpxe\nkernel x", "")],
)
def test_a_boot_script_that_is_none_is_not_waited_for(
    guest: Guest, begin: bytes, ending: str
) -> None:
    script = Transfer(
        name=BOOT_SCRIPT, status=200, started=0, ended=0, wanted=40, sent=40, begin=begin
    )
    guest.watch._began = 0.0
    guest.watch.transferred(script)
    guest.now = 5.0
    guest.console.take("http://10.0.2.100/boot.ipxe... ok")
    assert guest.over(14.0) == ""
    assert guest.over(16.0) == ending


def test_a_program_in_the_place_of_a_boot_script_may_load_a_kernel(guest: Guest) -> None:
    guest.watch._began = 0.0
    for number, name in enumerate((BOOT_SCRIPT, KERNEL)):
        transfer = Transfer(
            name=name, status=200, started=0, ended=0, wanted=4, sent=4, begin=b"MZ", number=number
        )
        guest.watch.transferred(transfer)
    guest.now = 5.0
    guest.console.take("http://10.0.2.100/boot.ipxe... ok")
    assert guest.over(60.0) == ""


def cut(*sent: tuple[int, int], broken: bool = True) -> list[Transfer]:
    """Return transfers of the root file system: where each began, and what of it was sent."""
    return [
        Transfer(
            name=ROOTFS,
            status=206,
            started=0,
            ended=0,
            wanted=100 - first,
            sent=size,
            first=first,
            cut=broken,
            number=number,
        )
        for number, (first, size) in enumerate(sent, 1)
    ]


@pytest.mark.parametrize(
    ("transfers", "ending"),
    [
        (cut((0, 30), (30, 0)), ""),
        (cut((0, 30), (30, 0), (30, 0)), "cut"),
        (cut((0, 30), (0, 30), (0, 30)), "cut"),
        (cut((0, 30), (30, 0), (30, 5), (35, 0)), ""),
        (cut((0, 30), (30, 0), (30, 0), broken=False), ""),
    ],
    ids=["twice", "goes-on", "begins-again", "recovers", "the-guest-went-away"],
)
def test_a_file_that_its_server_ends_too_early_at_the_same_byte(
    guest: Guest, transfers: list[Transfer], ending: str
) -> None:
    for each in transfers:
        guest.watch.transferred(each)
    assert guest.over(1.0) == ending


def test_dhcp_that_nobody_answers(guest: Guest) -> None:
    def packet(what: str, part: int) -> None:
        guest.watch.passed_by(Packet(kind="dhcp", what=what, part=PARTS[part]))

    for _ in range(9):
        packet("discover", 0)  # firmware gives up by itself
    for _ in range(3):
        packet("discover", 1)
    assert guest.over(1.0) == ""
    packet("offer", 1)
    for _ in range(3):
        packet("discover", 1)
    assert guest.over(1.0) == "", "somebody answers"
    guest.watch.packets.clear()
    for _ in range(4):
        packet("discover", 1)
    assert guest.over(1.0) == "unanswered"
    assert list(guest.watch.stages) == ["firmware started"]


def test_stages_in_the_order_of_a_boot(guest: Guest) -> None:
    guest.console.take("Linux version 6.1")
    guest.watch.passed_by(Packet(kind="dhcp", what="ack", part="initrd"))
    asked = Transfer(name=KERNEL, status=200, started=0, ended=0, wanted=9, sent=4)
    guest.watch.transferred(asked)
    guest.over(1.0)
    assert FETCHED[KERNEL] not in guest.watch.stages, "it was cut"
    assert guest.watch.asked_for(KERNEL)
    assert furthest(guest.watch.stages) == KERNEL_STARTED
    assert furthest({}) == "power-on"


@pytest.mark.parametrize(
    "line",
    [
        "[  OK  ] Reached target multi-user.target - Multi-User System.",
        "Debian GNU/Linux 12 debian ttyS0",
        "debian login: ",
    ],
)
def test_a_system_that_is_up_and_has_no_runner_is_not_waited_for(guest: Guest, line: str) -> None:
    guest.now = 10.0
    guest.console.take(line)
    assert not guest.console.came_up, "it is firmware that speaks"
    guest.console.take("[    0.000000] Linux version 6.1.0")
    guest.console.take("[    0.050000] Kernel command line: console=ttyS0")
    guest.now = 210.0
    guest.console.take(line)
    assert guest.over(350.0) == ""
    assert guest.over(370.0) == "unheard"


def test_a_system_whose_runner_reports_is_given_its_time(guest: Guest) -> None:
    guest.console.take("[    0.000000] Linux version 6.1.0")
    guest.now = 10.0
    guest.console.take("Debian GNU/Linux 12 debian ttyS0")
    guest.results.write_text("hello 1 Ni4xLjA=\n")
    assert guest.over(400.0) == ""
