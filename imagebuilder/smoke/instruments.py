"""What is fixed to a machine to see what it does: monitor, screen, watchdog, capture of packets.

None of it takes the place of anything: the devices come last, so that network cards and ports
keep the addresses, and thereby the names, that they have without.
"""

from __future__ import annotations

import re
from pathlib import Path

from imagebuilder.errors import StepError
from imagebuilder.image import BOOT_SCRIPT, ROOTFS_NAMES
from imagebuilder.smoke.network import quoted
from imagebuilder.smoke.packets import PARTS, Capture
from imagebuilder.smoke.qmp import Monitor
from imagebuilder.smoke.stages import FETCHED, KERNEL_STARTED
from imagebuilder.smoke.watch import Watch

NETDEV = "net"  # of the network card that the machine boots from

# Bytes of each packet that are captured: a DHCP message has its type after 282 of them.
_CAPTURED_BYTES = 400
_FILTER = "capture"

# A machine all of whose processors wait for an interrupt (HLT), with interrupts off, is dead:
# the kernel's decompressor ends so, and firmware.  It is looked for when nothing has moved for
# some seconds, and must be seen twice.
_QUIET_SECONDS = 4.0
_PROBE_SECONDS = 1.5
_REGISTERS = re.compile(r"\b[ER]?FL=([0-9a-f]+).*?\bHLT=([01])", re.DOTALL)
_INTERRUPTS = 0x200  # of EFLAGS

# VGA's memory in text mode: 25 lines of 80 pairs of a character, in code page 437, and colours.
_SCREEN_ADDRESS, _SCREEN_COLUMNS, _SCREEN_LINES = 0xB8000, 80, 25


class Instruments:
    """The instruments of one boot, for the length of a ``with``.

    Packets are captured for as long as they tell of DHCP and TFTP, and not while the image is
    fetched: from power-on until the boot script is there, and from the kernel's start until
    the root file system is asked for.

    Args:
        folder: a private one, whose path is short enough for a socket's (unix(7)).
        watch: is told of what is seen.
    """

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._folder = folder
        self._watch = watch
        self._socket = folder / "qmp"
        self._monitor = Monitor(self._socket, watch.happened)
        self._captures = [Capture(self._file(part), part) for part in PARTS]
        self._part = 0  # 0: firmware; 1: between; 2: initrd; 3: over
        if not watch.from_network:  # nobody but the initrd sends anything
            self._part = 2
            self._captures = [Capture(self._file("firmware"), "initrd")]
        self._probed, self._dead = 0.0, 0

    def __enter__(self) -> Instruments:
        self._monitor.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._monitor.__exit__()

    def argv(self) -> list[str]:
        """Return QEMU's arguments for them; a machine that ends is kept, paused."""
        return [
            "-chardev",
            f"socket,id=qmp,path={quoted(self._socket)}",
            "-mon",
            "chardev=qmp,mode=control",
            "-object",
            f"filter-dump,id={_FILTER},netdev={NETDEV},maxlen={_CAPTURED_BYTES},"
            f"file={quoted(self._file('firmware'))}",
            "-action",
            "reboot=shutdown,shutdown=pause,panic=pause,watchdog=pause",
            "-device",
            "VGA",
            "-device",
            "pvpanic-pci",
            "-device",
            "i6300esb",
        ]

    def look(self) -> None:
        """Tell the watch of packets that came, and capture what comes next."""
        for capture in self._captures:
            for packet in capture.new():
                self._watch.passed_by(packet)
        stages = self._watch.stages
        if self._part == 0 and (FETCHED[BOOT_SCRIPT] in stages or KERNEL_STARTED in stages):
            self._part = 1
            self._ask("object-del", id=_FILTER)
        if self._part == 1 and KERNEL_STARTED in stages:
            self._part = 2
            self._ask(
                "object-add",
                qom_type="filter-dump",
                id=_FILTER,
                netdev=NETDEV,
                maxlen=_CAPTURED_BYTES,
                file=str(self._file("initrd")),
            )
        if self._part == 2 and self._watch.asked_for(*ROOTFS_NAMES):
            self._part = 3
            self._ask("object-del", id=_FILTER)

        self._look_for_life()

    def _look_for_life(self) -> None:
        now = self._watch.clock()
        if self._watch.quiet_seconds < _QUIET_SECONDS:
            self._dead = 0
        elif now >= self._probed + _PROBE_SECONDS:
            self._probed = now
            self._dead = self._dead + 1 if halted(self._registers()) else 0
            if self._dead == 2:
                self._watch.end("halted")

    def _registers(self) -> str:
        try:
            said = self._monitor.ask("human-monitor-command", command_line="info registers -a")
        except StepError:
            return ""
        return said if isinstance(said, str) else ""

    def screen_text(self) -> tuple[str, ...]:
        """Return what stands on the screen, if it is in text mode."""
        file = self._folder / "screen"
        size = _SCREEN_COLUMNS * _SCREEN_LINES * 2
        if not self._ask("pmemsave", val=_SCREEN_ADDRESS, size=size, filename=str(file)):
            return ()
        return read_screen(file.read_bytes()) if file.exists() else ()

    def screenshot(self, path: Path) -> bool:
        """Write what the machine's screen shows as a PNG file; return whether it is there."""
        return self._ask("screendump", filename=str(path), format="png") and path.exists()

    def _ask(self, command: str, **arguments: object) -> bool:
        try:
            self._monitor.ask(command, **arguments)
        except StepError:
            return False  # a test without it tells less, and is a test
        return True

    def _file(self, part: str) -> Path:
        return self._folder / f"{part}.pcap"


def halted(registers: str) -> bool:
    """Whether all processors wait for an interrupt that they would not take.

    Args:
        registers: what QEMU's ``info registers -a`` says.
    """
    found = _REGISTERS.findall(registers)
    return bool(found) and all(
        waits == "1" and not int(flags, 16) & _INTERRUPTS for flags, waits in found
    )


def read_screen(memory: bytes) -> tuple[str, ...]:
    """Return the lines on a screen in text mode; none if its memory holds something else."""
    width = _SCREEN_COLUMNS * 2
    rows = [memory[at : at + width : 2] for at in range(0, len(memory), width)]
    lines = [row.replace(b"\0", b" ").decode("cp437").rstrip() for row in rows]
    signs = "".join(lines)
    if sum(sign.isascii() and sign.isprintable() for sign in signs) < 0.9 * len(signs):
        return ()
    return tuple(line for line in lines if line)
