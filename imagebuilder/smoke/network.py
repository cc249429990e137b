"""The network that a guest is on, as its machine and the server of its files see it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

# QEMU's user network has the guest at .15, and TFTP, DHCP and a gateway at .2 (qemu(1), -netdev
# user); .100 is answered by our relay alone.
USER_FILES_ADDRESS = "10.0.2.100"
FIRST_SCRIPT = "boot.ipxe"  # what TFTP gives out first


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A network card.

    Attributes:
        id: what QEMU's monitor calls what is behind it.
        netdev: QEMU's ``-netdev``, without the id.
        model: QEMU's device.
        mac: its address; "" for QEMU's own.
    """

    id: str
    netdev: str
    model: str = "virtio-net-pci"
    mac: str = ""

    def argv(self, *, boots: bool) -> list[str]:
        """Return QEMU's arguments for it.

        Args:
            boots: whether the machine boots from it.
        """
        kind, _, rest = self.netdev.partition(",")
        device = f"{self.model},netdev={self.id}" + (f",mac={self.mac}" if self.mac else "")
        # No romfile= where it boots: QEMU fits its own to the card's PCI id, one that is given
        # it does not, and SeaBIOS passes over a ROM of another id.
        device += ",bootindex=1" if boots else ",romfile="
        return ["-netdev", f"{kind},id={self.id},{rest}", "-device", device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """How one machine is connected.

    Attributes:
        cards: its network cards; it boots from the first.
        files_url: where it finds the files of the test: a URL that ends in a slash.
        server: the UNIX socket at which they are served.
        tftp: the folder that TFTP gives out; the first script is in it.
        args: kernel arguments for this machine.
    """

    cards: tuple[Card, ...]
    files_url: str
    server: Path
    tftp: Path
    args: tuple[str, ...] = ()


def user_network(folder: Path) -> Wiring:
    """Return QEMU's user network, which reaches nothing but DHCP, TFTP and the test's files.

    Args:
        folder: a private one, whose path is short enough for a socket's (unix(7)).
    """
    tftp, server = folder / "tftp", folder / "http"
    tftp.mkdir()
    relay = shlex.join(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("relay.py")), str(server)]
    )
    # "restrict" leaves the guest nothing but DHCP, TFTP and the relay.
    netdev = (
        f"user,restrict=on,tftp={quoted(tftp)},bootfile={FIRST_SCRIPT},"
        f"guestfwd=tcp:{USER_FILES_ADDRESS}:80-cmd:{quoted(relay)}"
    )
    return Wiring(
        cards=(Card(id="net", netdev=netdev),),
        files_url=f"http://{USER_FILES_ADDRESS}/",
        server=server,
        tftp=tftp,
    )


def quoted(value: object) -> str:
    """Write a value so that QEMU's option parser takes a comma in it as a comma."""
    return str(value).replace(",", ",,")
