"""What is seen of a boot while it runs, and the judgement that it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.image import BOOT_SCRIPT, INITRD
from imagebuilder.smoke.console import Console
from imagebuilder.smoke.guest import Said, parse
from imagebuilder.smoke.machine import SLOWNESS
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
# These three are multiplied by SLOWNESS, and go by the time that counts: see Watch.spent.
# While checks are looked at, the runner says a word every ten seconds, whatever it waits for.
_RUNNER_SILENT_SECONDS = 60.0
# After the console said that the system is up, without a word of the runner: it is not there.
_UNHEARD_SECONDS = 30.0
# A machine in which something went on so lately may wait for us, and we for the host.
_MOVING_SECONDS = 5.0
_BEATS = ("alive", "memory", "jobs")  # words that the runner says whatever goes on
_STILL_SECONDS = 60.0  # without a line, a transfer or a result, under KVM: it hangs
# The same while firmware fetches the kernel.  Emulated firmware is silent for ten seconds, on a
# host that has nothing else to do.
_FIRMWARE_STILL_SECONDS = {"kvm": 60.0, "tcg": 180.0}
_RESULTS_LIMIT = 4 << 20  # bytes that the guest may say
# iPXE on a BIOS runs what is no script as a program, whatever it is; a boot loader that is to
# be there would have moved something by then.
_SCRIPT_BEGINS = (b"#!ipxe", b"#!gpxe")  # iPXE, src/image/script.c
_NO_SCRIPT_SECONDS = 10.0
# A transfer that ended too early so often at the same byte will end there again: the initrd goes
# on from there, five seconds apart.
_SAME_CUTS = 3

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
            console), ``missing`` (a file was asked for that the image has not), ``cut`` (the
            server of a file ended it too early, and always there), ``exited`` (the
            machine ended by itself), ``panicked`` (the guest's kernel told the machine so),
            ``watchdog`` (nobody fed it), ``stopped`` (QEMU cannot go on), ``halted`` (its
            processors wait for an interrupt and let none in), ``timeout``,
            ``unanswered`` (the initrd asked by DHCP in vain), ``no-script`` (what came for the
            boot script is none, and nothing moved after it), ``still`` (nothing moved for
            long), ``settled`` (the boot is over, its target not reached), ``unheard`` (the
            console says that the system is up, and the runner has said nothing), ``flood`` (the
            guest wrote without end).
        stages: what was reached, in seconds since power-on.
        transfers: what the guest asked for.
        packets: what it asked of DHCP and TFTP: the firmware's, then the initrd's.
        events: what QEMU's monitor told.
        said: what the runner said.
        findings: telling lines of the console.
        fatal: the line that ended it.
        fatal_follows: whether that line says only that something failed before.
        handed_over: whether the initrd began to switch to the root file system.
        waits_for: what systemd said last on the console that it waits for.
        screen: what stood on the screen, where that is text and no kernel ran.
        excerpt: the last lines of the console.
        exit_status: QEMU's; None if it was ended from here.
        qemu_said: the last lines that QEMU itself said.
        reached_login: whether the console asked for a login, or told of multi-user.target.
        seconds: how long the machine ran.
        path: how it was booted.
        starved: seconds that it waited for the host's processors.
        idle: seconds that it waited for a clock, or for nothing.
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
    handed_over: bool = False
    waits_for: str = ""
    screen: tuple[str, ...] = ()
    excerpt: str
    exit_status: int | None
    qemu_said: str
    reached_login: bool
    seconds: float
    path: BootPath
    starved: float = 0.0
    idle: float = 0.0
    screenshot: Path | None = None


class Watch:
    """Takes in what a running guest does, from several threads, and says when to end it.

    Args:
        console: what the guest writes on its serial port.
        results: the file that its runner writes to.
        limits: seconds for the boot, and for the checks.
        accelerator: what runs its processors.
        from_network: whether its firmware fetches the kernel.
        alone: whether it is the only machine; others may be what an idle one waits for, and are
            as slow.
    """

    def __init__(
        self,
        console: Console,
        results: Path,
        limits: tuple[float, float],
        accelerator: str,
        *,
        from_network: bool = True,
        alone: bool = True,
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
        self.starved = 0.0  # seconds that it waited for the host
        self.idle = 0.0  # seconds that it waited for a clock, or for nothing
        self._boot_limit, self._check_limit = limits
        self._ran_when_reached = 0.0
        self._accelerator = accelerator
        self._slowness = SLOWNESS[accelerator]
        self._alone = alone
        self.from_network = from_network
        self._began = time.monotonic()
        self._read = 0
        self._rest = b""
        self._heard = 0.0
        self._idle_when_heard = 0.0
        self._idle_when_up: float | None = None
        self._moved = 0.0
        self._went_on = 0.0
        self._no_script = False
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
        self._moved = self._went_on = self.clock()
        self.stage(FIRMWARE)
        if packet.kind == "dhcp" and packet.what == "ack":
            self.stage(DHCP)
        if packet.part == "initrd":
            kinds = [each.what for each in self.packets if each.part == "initrd"]
            if kinds.count("discover") >= _UNANSWERED and "offer" not in kinds:
                self.end("unanswered")

    def spent(self, waited: float, idle: float) -> None:
        """Note what the machine did with its time, which is not all counted alike.

        What it waited for the host's processors is not its fault.  Limits are longer under
        emulation, since that is slow; but no clock is, so what the machine waited for a clock,
        or for nothing, counts as often as they are longer.

        Args:
            waited: seconds that it has waited for the host so far.
            idle: seconds since the last time in which it needed no processor.
        """
        self.starved = waited
        quiet = self.clock() - max(self._went_on, self.console.last_news)
        if self._alone and quiet > _MOVING_SECONDS:
            self.idle += idle

    def _counted(self, seconds: float, idle: float) -> float:
        """Return what counts of a time, so much of which the machine was idle."""
        return seconds + idle * (self._slowness - 1)

    def asked_for(self, *names: str) -> bool:
        """Whether the guest asked for one of these files of the image."""
        with self._lock:
            return any(each.name in names for each in self.transfers.values())

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
            transfers = [each for _, each in sorted(self.transfers.items())]
        for each in transfers:
            if each.whole and each.name == BOOT_SCRIPT and not each.first:
                self._no_script = not each.begin.startswith(_SCRIPT_BEGINS)
            if each.whole and each.name in FETCHED:
                self.stage(FETCHED[each.name], each.ended - self._began)
            self._moved = max(self._moved, each.ended - self._began)
            self._went_on = max(self._went_on, each.ended - self._began)
        if any(each.status == 404 and each.name in FETCHED for each in transfers):
            self.ending = self.ending or "missing"
        if any(cut_for_good(each, transfers) for each in FETCHED):
            self.ending = self.ending or "cut"

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
        self._heard, self._idle_when_heard = self.clock(), self.idle
        self.said.append(said)
        if said.word not in _BEATS:
            self._went_on = self.clock()
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
        if self._is_unheard():
            return "unheard"
        reached = self.stages.get(MULTI_USER)
        if reached is None and self._counted(ran, self.idle) > self._boot_limit:
            return "timeout"
        # Commands of checks are ended by the guest's own clock, however long they sleep.
        if reached is not None and ran > self._ran_when_reached + self._check_limit:
            return "timeout"
        silent = self._counted(
            now - max(self._heard, reached or now), self.idle - self._idle_when_heard
        )
        if reached is not None and silent > _RUNNER_SILENT_SECONDS * self._slowness:
            return "still"
        quiet, stage = self.quiet_seconds, furthest(self.stages)
        if reached is None and self._accelerator == "kvm" and quiet > _STILL_SECONDS:
            return "still"
        if stage == FETCHED[BOOT_SCRIPT] and quiet > _NO_SCRIPT_SECONDS and self._no_script:
            return "no-script"
        patience = _FIRMWARE_STILL_SECONDS[self._accelerator]
        if self.from_network and stage in _OF_FIRMWARE and quiet > patience:
            return "still"
        return ""

    def _is_unheard(self) -> bool:
        """Whether the system is up, and has no runner that would say so."""
        up = self.console.came_up
        if not up or SYSTEMD_STARTED in self.stages:
            return False
        if self._idle_when_up is None:
            self._idle_when_up = self.idle
        waited = self._counted(self.clock() - up, self.idle - self._idle_when_up)
        return waited > _UNHEARD_SECONDS * self._slowness

    def _machine(self) -> str:
        """Return how the machine ended, by its monitor; "" while it runs or may still say why."""
        with self._lock:
            events = [each for each in self.events if each.name in _ENDINGS]
        if not events or time.monotonic() < events[0].moment + _LAST_WORDS_SECONDS:
            return ""
        return _ENDINGS[events[0].name]


def cut_for_good(name: str, transfers: Iterable[Transfer]) -> bool:
    """Whether the last transfers of a file were all ended by its server, at the same byte.

    Args:
        name: of the file.
        transfers: in the order in which they were asked for.
    """
    last = [each for each in transfers if each.name == name][-_SAME_CUTS:]
    ends = {each.first + each.sent for each in last}
    return len(last) == _SAME_CUTS and len(ends) == 1 and all(each.cut for each in last)
