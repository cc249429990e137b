"""What is fixed to a machine to see what it does: monitor, screen, watchdog, capture of packets.

None of it takes the place of anything: the devices come last, so that network cards and ports
keep the addresses, and thereby the names, that they have without.
"""

from __future__ import annotations

from pathlib import Path

from imagebuilder.errors import StepError
from imagebuilder.image import BOOT_SCRIPT, ROOTFS
from imagebuilder.smoke.network import quoted
from imagebuilder.smoke.packets import PARTS, Capture
from imagebuilder.smoke.qmp import Monitor
from imagebuilder.smoke.stages import FETCHED, KERNEL_STARTED
from imagebuilder.smoke.watch import Watch

NETDEV = "net"  # of the network card that the machine boots from

# Bytes of each packet that are captured: a DHCP message has its type after 282 of them.
_CAPTURED_BYTES = 400
_FILTER = "capture"


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
            "pvpanic",
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
        if self._part == 2 and self._watch.asked_for(ROOTFS):
            self._part = 3
            self._ask("object-del", id=_FILTER)

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
