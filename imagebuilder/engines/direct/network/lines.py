"""One ``network`` line to what it says of devices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imagebuilder.engines.direct.network.addresses import Addresses, read_addresses
from imagebuilder.engines.direct.network.ethtool import link_settings
from imagebuilder.engines.direct.network.said import Said
from imagebuilder.engines.direct.network.virtual import (
    Shape,
    Vlan,
    read_bond,
    read_bridge,
    vlan_id,
    vlan_name,
)
from imagebuilder.errors import Location

# An Ethernet or an InfiniBand address.
_MAC = re.compile(r"^([0-9A-Fa-f]{2}:){5}([0-9A-Fa-f]{2}|([0-9A-Fa-f]{2}:){14}[0-9A-Fa-f]{2})$")
_PATTERN = re.compile(r"^[A-Za-z0-9_.*?-]{1,15}$")
LINK, BOOTIF = "link", "bootif"
_ABOUT_ADDRESSES = frozenset({"--bootproto", "--ip", "--ipv6", "--noipv4", "--noipv6"})

# RFC 791, and the largest that the field of an IP packet's length can say.
_MTU_FIRST, _MTU_LAST = 68, 65535
_MTU_FIRST_IPV6 = 1280  # RFC 8200


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a line says of one device.

    Attributes:
        where: the line.
        key: what names the device: an interface's name, a MAC address in lower case, a pattern,
            ``link`` or ``bootif``.
        addresses: its addresses, or None if the line says nothing of them.
        says_how: whether the line has an option about addresses; DHCP is what it means without.
        shape: the VLAN, bond or bridge that it is, if it is one.
        mtu: bytes, or None.
        settings: lines of ``[Link]``, systemd.link(5).
        onboot: whether it is brought up at boot.
    """

    where: Location
    key: str
    addresses: Addresses | None = None
    says_how: bool = False
    shape: Shape | None = None
    mtu: int | None = None
    settings: tuple[str, ...] = ()
    onboot: bool = True


def is_name(key: str) -> bool:
    """Return whether a key is the name of one interface."""
    return not (is_mac(key) or is_pattern(key) or key in (LINK, BOOTIF))


def is_mac(key: str) -> bool:
    """Return whether a key is a MAC address."""
    return bool(_MAC.match(key))


def is_pattern(key: str) -> bool:
    """Return whether a key may mean several interfaces by their names."""
    return "*" in key or "?" in key


def is_hostname_only(said: Said) -> bool:
    """Return whether a line has nothing but ``--hostname``; then it is about no device."""
    return said.options == {"--hostname"}


def read_line(said: Said) -> Iterator[Statement]:
    """Return what a line says of each device that it is about.

    Raises:
        InputError: a value is wrong, or options contradict each other.
    """
    device = _device(said)
    tag = said.value("--vlanid")
    bond, bridge = read_bond(said), read_bridge(said)
    if bond and bridge:
        raise said.refuse("--bondslaves and --bridgeslaves: a device is one of them")
    if bridge and tag:
        raise said.refuse(
            "--bridgeslaves and --vlanid: a device is one of them", "give each a line of its own"
        )
    if said.value("--interfacename") and not tag:
        raise said.refuse("--interfacename needs --vlanid", "name a device with --device")
    if (bond or bridge) and not is_name(device):
        raise said.refuse(
            f"--device={device}: a bond or bridge needs a name", "such as --device=bond0"
        )
    if said.value("--bindto") and not (is_mac(device) and not tag):
        said.note(
            "--bindto=mac has no effect: an image knows no machine's MAC addresses; the "
            "device's name holds, and --device takes a MAC address"
        )
    key = device
    shape: Shape | None = bond or bridge
    if tag:
        if "--device" not in said.options:
            raise said.refuse("--vlanid needs --device, the device that the VLAN is on")
        if is_pattern(device):
            raise said.refuse(f"--device={device}: a VLAN is on one device", "name it")
        number = vlan_id(said)
        key = vlan_name(said, device if is_name(device) else "", number)
        if key == device:
            raise said.refuse(f"--interfacename={key} is the device that the VLAN is on")
        shape = Vlan(parent=device, id=number)
        if bond:  # a bond beneath a VLAN, in one line: it has no addresses of its own
            yield Statement(where=said.where, key=device, shape=bond, onboot=_onboot(said))
    settings = link_settings(said, key) if said.value("--ethtool") else ()
    if settings and key == BOOTIF:
        raise said.refuse(
            "--ethtool: udev does not know which interface bootif is",
            "name the interface, or give its MAC address",
        )
    addresses = read_addresses(said)
    if addresses.is_static and is_pattern(key):
        raise said.refuse(f"--device={device}: an address belongs to one device", "name it")
    yield Statement(
        where=said.where,
        key=key,
        addresses=addresses,
        says_how=not said.options.isdisjoint(_ABOUT_ADDRESSES),
        shape=shape,
        mtu=_mtu(said, addresses),
        settings=settings,
        onboot=_onboot(said),
    )


def _device(said: Said) -> str:
    device = said.value("--device") or LINK
    if device in (LINK, BOOTIF):
        return device
    if is_mac(device):
        return device.lower()
    if is_pattern(device) and _PATTERN.match(device):
        return device
    if not device.isdecimal() and ":" in device:
        raise said.refuse(f"--device={device} is no MAC address", "such as 52:54:00:12:34:56")
    return said.interface(device, "--device")


def _onboot(said: Said) -> bool:
    return bool(said.command.data.onboot)


def _mtu(said: Said, addresses: Addresses) -> int | None:
    text = said.value("--mtu")
    if not text:
        return None
    mtu = said.number(text, "--mtu", _MTU_FIRST, _MTU_LAST)
    if mtu < _MTU_FIRST_IPV6 and addresses.mode6 != "off":
        raise said.refuse(
            f"--mtu={mtu} is too small for IPv6, which needs {_MTU_FIRST_IPV6}", "add --noipv6"
        )
    return mtu
