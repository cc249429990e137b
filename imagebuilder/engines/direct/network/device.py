"""What all ``network`` lines together say of one device, and of the network."""

from __future__ import annotations

from dataclasses import dataclass

from imagebuilder.engines.direct.network.addresses import Addresses
from imagebuilder.engines.direct.network.lines import BOOTIF, LINK, is_pattern
from imagebuilder.engines.direct.network.virtual import Shape
from imagebuilder.errors import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device, as all lines together want it.

    Attributes:
        where: the last line about it.
        key: what names it, :class:`~.lines.Statement`.
        addresses: its addresses, or None: it has none of its own.
        says_how: whether a line has an option about its addresses.
        shape: the VLAN, bond or bridge that it is, or None.
        mtu: bytes, or None.
        settings: lines of ``[Link]``, systemd.link(5).
        onboot: whether it is brought up at boot.
        master: the bond or bridge that it is a member of, or "".
        master_kind: ``Bond`` or ``Bridge``, as systemd.network(5) names it, or "".
        is_primary: whether it is the preferred member of its bond.
        is_active: whether it is the member of its bond that is active first.
        vlans: the names of the VLANs on it.
        line: the number of the last line about it, of all ``network`` lines.
        as_port: whether it has its addresses only if it is a port, and no virtual device: it has
            those of the lines for ``link``.
        rank: the place of its router among those of all devices, or None: it is the only one.
    """

    where: Location
    key: str
    addresses: Addresses | None = None
    says_how: bool = False
    shape: Shape | None = None
    mtu: int | None = None
    settings: tuple[str, ...] = ()
    onboot: bool = True
    master: str = ""
    master_kind: str = ""
    is_primary: bool = False
    is_active: bool = False
    vlans: tuple[str, ...] = ()
    line: int = 0
    as_port: bool = False
    rank: int | None = None

    @property
    def is_general(self) -> bool:
        """Whether it may stand for several interfaces."""
        return is_pattern(self.key) or (self.key == LINK and not self.is_chosen)

    @property
    def is_chosen(self) -> bool:
        """Whether it is one interface that only the booting machine can tell."""
        if self.key == LINK:
            return bool(self.vlans or (self.addresses and self.addresses.is_static))
        return self.key == BOOTIF


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a kickstart says of the network.

    Attributes:
        hostname: the host's name, or "".
        devices: in the order in which their files are looked through.
        notes: what the reader of the kickstart should know.
    """

    hostname: str
    devices: tuple[Device, ...]
    notes: tuple[str, ...]
