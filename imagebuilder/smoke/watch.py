"""What is seen of a boot while it runs, and the judgement that it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.image import INITRD
from imagebuilder.smoke.console import Console
from imagebuilder.smoke.guest import Said, parse
from imagebuilder.smoke.packets import Packet
from imagebuilder.smoke.paths import BootPath
from imagebuilder.smoke.qmp import MachineEvent
from imagebuilder.smoke.report import ConsoleFinding
from imagebuilder.smoke.server import Transfer
from imagebuilder.smoke.stages import (
    CHECKS_DONE,
    DHCP,
    FETCHED,
    FIRMWARE,
    MULTI_USER,
    POWER_ON,
    STAGES,
    SYSTEMD_STARTED,
    furthest,
)

_AFTERMATH_SECONDS = 2.0  # what is said after a fatal line belongs to it: a trace of calls
_LAST_WORDS_SECONDS = 0.4  # what a machine that has stopped had written is still on its way
# While checks are looked at, the runner says a word every ten seconds, whatever it waits for.
_RUNNER_SILENT_SECONDS = {"kvm": 60.0, "tcg": 300.0}
# After the console said that the system is up, without a word of the runner: it is not there.
_UNHEARD_SECONDS = {"kvm": 30.0, "tcg": 150.0}
_STILL_SECONDS = 60.0  # without a line, a transfer or a result, under KVM: it hangs
# The same while firmware fetches the kernel.  Emulated firmware is silent for ten seconds, on a
# host that has nothing else to do.
_FIRMWARE_STILL_SECONDS = {"kvm": 60.0, "tcg": 180.0}
_RESULTS_LIMIT = 4 << 20  # bytes that the guest may say

OnStage = Callable[[str, float], None]

# Once the initrd is there a kernel may run that speaks elsewhere than on the serial port.
_OF_FIRMWARE = (POWER_ON, *STAGES[: STAGES.index(FETCHED[INITRD])])

# DISCOVERs of an initrd after which nobody will answer: who answers in a test does so at once.
# Firmware gives up by itself, and says so.
_UNANSWERED = 4

# Events of QEMU that end a boot, and what the ending is called.  STOP comes after the others,
# too, since a machine that is over is kept for its screen to be looked at.
_ENDINGS = {
    "GUEST_PANICKED": "panicked",
    "WATCHDOG": "watchdog",
    "SHUTDOWN": "exited",
    "STOP": "stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What was seen of one boot: plain facts, no judgement.

    Attributes:
        ending: why it was ended: ``done`` (the runner said all), ``fatal`` (a line of the
            console), ``missing`` (a file was asked for that the image has not), ``exited`` (the
            machine ended by itself), ``panicked`` (the guest's kernel told the machine so),
            ``watchdog`` (nobody fed it), ``stopped`` (QEMU cannot go on), ``halted`` (its
            processors wait for an interrupt and let none in), ``timeout``,
            ``unanswered`` (the initrd asked by DHCP in vain), ``still`` (nothing moved for
            long), ``settled`` (the boot is over, its target not reached), ``flood`` (the guest
            wrote without end).
        stages: what was reached, in seconds since power-on.
        transfers: what the guest asked for.
        packets: what it asked of DHCP and TFTP: the firmware's, then the initrd's.
        events: what QEMU's monitor told.
        said: what the runner said.
        findings: telling lines of the console.
        fatal: the line that ended it.
        fatal_follows: whether that line says only that something failed before.
        waits_for: what systemd said last on the console that it waits for.
        screen: what stood on the screen, where that is text and no kernel ran.
        excerpt: the last lines of the console.
        exit_status: QEMU's; None if it was ended from here.
        qemu_said: the last lines that QEMU itself said.
        reached_login: whether the console asked for a login, or told of multi-user.target.
        limit: seconds that the boot had.
        seconds: how long the machine ran.
        path: how it was booted.
        starved: seconds that it waited for the host's processors.
        screenshot: the file with the screen's last picture, if one was taken.
    """

    ending: str
    stages: dict[str, float]
    transfers: tuple[Transfer, ...]
    packets: tuple[Packet, ...] = ()
    events: tuple[MachineEvent, ...] = ()
    said: tuple[Said, ...]
    findings: tuple[ConsoleFinding, ...]
    fatal: ConsoleFinding | None
    fatal_follows: bool = False
    waits_for: str = ""
    screen: tuple[str, ...] = ()
    excerpt: str
    exit_status: int | None
    qemu_said: str
    reached_login: bool
    limit: float
    seconds: float
    path: BootPath
    starved: float = 0.0
    screenshot: Path | None = None


class Watch:
    """Takes in what a running guest does, from several threads, and says when to end it.

    Args:
        console: what the guest writes on its serial port.
        results: the file that its runner writes to.
        limits: seconds for the boot, and for the checks.
        accelerator: what runs its processors.
        from_network: whether its firmware fetches the kernel.
    """

    def __init__(
        self,
        console: Console,
        results: Path,
        limits: tuple[float, float],
        accelerator: str,
        *,
        from_network: bool = True,
    ) -> None:
        self.console = console
        self.stages: dict[str, float] = {}
        self.transfers: dict[int, Transfer] = {}
        self.packets: list[Packet] = []
        self.events: list[MachineEvent] = []
        self.said: list[Said] = []
        self.ending = ""
        self.screen: tuple[str, ...] = ()
        self.on_stage: OnStage = lambda _stage, _seconds: None
        self._results = results
        self.starved = 0.0  # seconds that it waited for the host; they do not count
        self._boot_limit, self._check_limit = limits
        self._ran_when_reached = 0.0
        self._accelerator = accelerator
        self.from_network = from_network
        self._began = time.monotonic()
        self._read = 0
        self._rest = b""
        self._heard = 0.0
        self._moved = 0.0
        self._lock = threading.Lock()

    def clock(self) -> float:
        """Return the seconds since power-on."""
        return time.monotonic() - self._began

    def power_on(self) -> None:
        """Note that the machine is started now."""
        self._began = time.monotonic()

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Note that a stage is reached, now or at a time that is known."""
        if name in self.stages:
            return
        self.stages[name] = round(self.clock() if seconds is None else seconds, 1)
        self.on_stage(name, self.stages[name])

    def transferred(self, transfer: Transfer) -> None:
        """Note how far a transfer is; called from the threads of the server."""
        with self._lock:
            self.transfers[transfer.number] = transfer

    def happened(self, event: MachineEvent) -> None:
        """Note what QEMU tells of the machine; called from the monitor's thread."""
        with self._lock:
            self.events.append(event)

    def passed_by(self, packet: Packet) -> None:
        """Note a packet of the guest's."""
        self.packets.append(packet)
        self._moved = self.clock()
        self.stage(FIRMWARE)
        if packet.kind == "dhcp" and packet.what == "ack":
            self.stage(DHCP)
        if packet.part == "initrd":
            kinds = [each.what for each in self.packets if each.part == "initrd"]
            if kinds.count("discover") >= _UNANSWERED and "offer" not in kinds:
                self.end("unanswered")

    def asked_for(self, name: str) -> bool:
        """Whether the guest asked for a file of the image."""
        with self._lock:
            return any(each.name == name for each in self.transfers.values())

    @property
    def quiet_seconds(self) -> float:
        """How long nothing has moved: no line, no transfer, no result."""
        return self.clock() - max(self._moved, self.console.last_line)

    def end(self, ending: str) -> None:
        """Note that the boot is over, for a reason that was seen elsewhere."""
        self.ending = self.ending or ending

    @property
    def went_wrong(self) -> bool:
        """Whether the boot ended badly, or a check does not hold."""
        failed = any(each.word == "check" and each.texts[1] != "passed" for each in self.said)
        return failed or self.ending != "done"

    def over(self) -> bool:
        """Look at everything that came since the last time; return whether the test is over."""
        self._look_at_transfers()
        self._look_at_results()
        for name, seconds in list(self.console.stages.items()):
            self.stage(name, seconds)
        self.ending = self.ending or self._judge()
        return bool(self.ending)

    def _look_at_transfers(self) -> None:
        with self._lock:
            transfers = list(self.transfers.values())
        for each in transfers:
            if each.whole and each.name in FETCHED:
                self.stage(FETCHED[each.name], each.ended - self._began)
            self._moved = max(self._moved, each.ended - self._began)
        if any(each.status == 404 and each.name in FETCHED for each in transfers):
            self.ending = self.ending or "missing"

    def _look_at_results(self) -> None:
        with self._results.open("rb") as file:
            file.seek(self._read)
            data = file.read(_RESULTS_LIMIT)
        if not data:
            return
        self._moved = self.clock()
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            said = parse(line.decode("utf-8", errors="replace"))
            if said:
                self._hear(said)
        if self._read > _RESULTS_LIMIT:
            self.ending = self.ending or "flood"

    def _hear(self, said: Said) -> None:
        self._heard = self.clock()
        self.said.append(said)
        if said.word == "hello":
            self.stage(SYSTEMD_STARTED)
        elif said.word == "reached":
            self.stage(MULTI_USER)
            self._ran_when_reached = self.clock() - self.starved
        elif said.word == "settled":
            self.ending = self.ending or "settled"
        elif said.word == "end":
            self.stage(CHECKS_DONE)
            self.ending = self.ending or "done"

    def _judge(self) -> str:
        now = self.clock()
        ran = now - self.starved
        machine = self._machine()
        if self.console.fatal and (
            machine or now >= self.console.fatal.seconds + _AFTERMATH_SECONDS
        ):
            return "fatal"
        if machine:
            return machine
        if self.console.flooded:
            return "flood"
        up = self.console.came_up
        if (
            up
            and SYSTEMD_STARTED not in self.stages
            and now > up + _UNHEARD_SECONDS[self._accelerator]
        ):
            return "unheard"
        reached = self.stages.get(MULTI_USER)
        if reached is None and ran > self._boot_limit:
            return "timeout"
        if reached is not None and ran > self._ran_when_reached + self._check_limit:
            return "timeout"
        silent = now - max(self._heard, reached or now)
        if reached is not None and silent > _RUNNER_SILENT_SECONDS[self._accelerator]:
            return "still"
        quiet = self.quiet_seconds
        if reached is None and self._accelerator == "kvm" and quiet > _STILL_SECONDS:
            return "still"
        patience = _FIRMWARE_STILL_SECONDS[self._accelerator]
        if self.from_network and furthest(self.stages) in _OF_FIRMWARE and quiet > patience:
            return "still"
        return ""

    def _machine(self) -> str:
        """Return how the machine ended, by its monitor; "" while it runs or may still say why."""
        with self._lock:
            events = [each for each in self.events if each.name in _ENDINGS]
        if not events or time.monotonic() < events[0].moment + _LAST_WORDS_SECONDS:
            return ""
        return _ENDINGS[events[0].name]
