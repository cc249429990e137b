"""VLANs, bonds and bridges of ``network`` lines, as settings of systemd.netdev(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imagebuilder.engines.direct.network.bond import bond_settings
from imagebuilder.engines.direct.network.bridge import bridge_settings
from imagebuilder.engines.direct.network.said import Said


@dataclass(frozen=True, slots=True, kw_only=True)
class Vlan:
    """A VLAN on a device.

    Attributes:
        parent: the key of the device that it is on.
        id: its tag, 1 to 4094 (IEEE 802.1Q keeps 0 and 4095 for itself).
    """

    parent: str
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond:
    """A bond.

    Attributes:
        members: the names of the devices that are bonded.
        settings: lines of the section ``[Bond]``.
        primary: the member that is preferred, or "".
        active: the member that is active first, or "".
    """

    members: tuple[str, ...]
    settings: tuple[str, ...] = ()
    primary: str = ""
    active: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge.

    Attributes:
        members: the names of the devices that are its ports.
        settings: lines of the section ``[Bridge]``.
        mac: its own MAC address, or "": that of a port.
    """

    members: tuple[str, ...]
    settings: tuple[str, ...] = ()
    mac: str = ""


Shape = Vlan | Bond | Bridge


def read_bond(said: Said) -> Bond | None:
    """Return the bond of a line, if it has one.

    Raises:
        InputError: a member or an option is wrong.
    """
    members = _members(said, "--bondslaves")
    if not members:
        if said.value("--bondopts"):
            raise said.refuse("--bondopts needs --bondslaves", "name the devices to bond")
        return None
    found = bond_settings(said)
    for option, member in (("primary", found.primary), ("active_slave", found.active)):
        if member and member not in members:
            raise said.refuse(
                f"--bondopts: {option}={member} is not among --bondslaves",
                f"name one of {', '.join(members)}",
            )
    return Bond(members=members, settings=found.lines, primary=found.primary, active=found.active)


def read_bridge(said: Said) -> Bridge | None:
    """Return the bridge of a line, if it has one.

    Raises:
        InputError: a port or an option is wrong.
    """
    members = _members(said, "--bridgeslaves")
    if not members:
        return None
    settings, mac = bridge_settings(said)
    return Bridge(members=members, settings=settings, mac=mac)


def vlan_id(said: Said) -> int:
    """Return the tag of a line's VLAN.

    Raises:
        InputError: it is none.
    """
    return said.number(said.value("--vlanid"), "--vlanid", 1, 4094)


def vlan_name(said: Said, parent: str, tag: int) -> str:
    """Return the name of a line's VLAN: ``--interfacename``, or that of its parent with its tag.

    Raises:
        InputError: it is no name, or one that says another tag.
    """
    name = said.value("--interfacename")
    if not name:
        if not parent:
            raise said.refuse(
                "--vlanid: the VLAN needs a name, since that of its device is not known",
                "add --interfacename=NAME",
            )
        name = f"{parent}.{tag}"
        if len(name) > 15:
            raise said.refuse(
                f"--vlanid: the name {name} has more than 15 characters",
                "add --interfacename=NAME",
            )
    said.interface(name, "--interfacename")
    # NetworkManager reads the tag from such a name, pykickstart's documentation of the option.
    told = re.match(r"^(?:vlan|.*\.)(.*)$", name)
    if told and told[1] != str(tag):
        raise said.refuse(
            f"--interfacename={name} does not say --vlanid={tag}",
            f"a name with a dot ends in .{tag}, one that begins with vlan is vlan{tag}",
        )
    return name


def _members(said: Said, option: str) -> tuple[str, ...]:
    found = tuple(said.interface(each, option) for each in said.listed(option))
    twice = next((each for each in found if found.count(each) > 1), "")
    if twice:
        raise said.refuse(f"{option} names {twice} twice", "name each device once")
    if "lo" in found:
        raise said.refuse(f"{option}: lo can be no member")
    return found
