"""The network that a guest is on, as its machine and the server of its files see it."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

# QEMU's user network has the guest at .15, and TFTP, DHCP and a gateway at .2 (qemu(1), -netdev
# user); .100 is answered by our relay alone.
USER_FILES_ADDRESS = "10.0.2.100"
FIRST_SCRIPT = "boot.ipxe"  # what TFTP gives out first
# With Secure Boot: shim, then the boot loader that it looks for beside it, and what that reads.
SHIM, GRUB, GRUB_CONFIG = "shimx64.efi", "grubx64.efi", "grub/grub.cfg"
# The same over HTTP, beside the image's own files; and iPXE, for firmware that boots over HTTP.
START, EFI_BINARY = "start.ipxe", "ipxe.efi"


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

    def argv(self, *, boots: bool, rom: bool = True) -> list[str]:
        """Return QEMU's arguments for it.

        Args:
            boots: whether the machine boots from it.
            rom: whether the card's own ROM does so, or the board's firmware.
        """
        kind, _, rest = self.netdev.partition(",")
        device = f"{self.model},netdev={self.id}" + (f",mac={self.mac}" if self.mac else "")
        # QEMU's own ROM where one boots: QEMU fits it to the card's PCI id, one that is given it
        # does not, and SeaBIOS passes over a ROM of another id.
        device += (",bootindex=1" if boots else "") + ("" if boots and rom else ",romfile=")
        return ["-netdev", f"{kind},id={self.id},{rest}", "-device", device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """How one machine is connected.

    Attributes:
        cards: its network cards; it boots from the first.
        files_url: where it finds the files of the test: a URL that ends in a slash.
        server: the UNIX socket at which they are served, or one that listens already.
        tftp: the folder that TFTP gives out; the first script is in it.
        args: kernel arguments for this machine.
        spawns: whether QEMU starts programs for it.
    """

    cards: tuple[Card, ...]
    files_url: str
    server: Path | socket.socket
    tftp: Path
    args: tuple[str, ...] = ()
    spawns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a machine of a test stands, among others or alone.

    Attributes:
        number: the machine's, from 1.
        wire: connects it, given a private folder whose path is short enough for a socket's.
        environment: what its checks find in their environment.
        stays: whether it has to run on when its own checks are done, since others look at it.
    """

    wire: Callable[[Path], Wiring]
    number: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    stays: Callable[[], bool] = lambda: False


def user_network(
    folder: Path, bootfile: str = FIRST_SCRIPT, mac: str = "", args: tuple[str, ...] = ()
) -> Wiring:
    """Return QEMU's user network, which reaches nothing but DHCP, TFTP and the test's files.

    Args:
        folder: a private one, whose path is short enough for a socket's (unix(7)).
        bootfile: what DHCP has firmware fetch first, by TFTP.
        mac: the card's address; "" for QEMU's own.
        args: kernel arguments for the machine.
    """
    tftp, server = folder / "tftp", folder / "http"
    tftp.mkdir()
    relay = shlex.join(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("relay.py")), str(server)]
    )
    # "restrict" leaves the guest nothing but DHCP, TFTP and the relay.
    netdev = (
        f"user,restrict=on,tftp={quoted(tftp)},bootfile={bootfile},"
        f"guestfwd=tcp:{USER_FILES_ADDRESS}:80-cmd:{quoted(relay)}"
    )
    return Wiring(
        cards=(Card(id="net", netdev=netdev, mac=mac),),
        files_url=f"http://{USER_FILES_ADDRESS}/",
        server=server,
        tftp=tftp,
        args=args,
        spawns=True,  # the relay
    )


def quoted(value: object) -> str:
    """Write a value so that QEMU's option parser takes a comma in it as a comma."""
    return str(value).replace(",", ",,")


def alone(bootfile: str = FIRST_SCRIPT, mac: str = "", args: tuple[str, ...] = ()) -> Place:
    """Return the place of a machine with no other beside it; see :func:`user_network`."""
    return Place(wire=partial(user_network, bootfile=bootfile, mac=mac, args=args))


ALONE = alone()
