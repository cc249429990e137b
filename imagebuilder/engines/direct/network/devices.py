"""All ``network`` lines of a kickstart to devices, and how these hang together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from ipaddress import IPv4Address, IPv6Address

from imagebuilder.engines.direct.network.device import Device, Network
from imagebuilder.engines.direct.network.lines import (
    BOOTIF,
    LINK,
    Statement,
    is_hostname_only,
    is_name,
    read_line,
)
from imagebuilder.engines.direct.network.said import Said, collected
from imagebuilder.engines.direct.network.virtual import Bond, Bridge, Shape, Vlan
from imagebuilder.errors import InputError, joined
from imagebuilder.kickstart import Command
from imagebuilder.memo import Memo

_LOOPBACK = "lo"
_DEFAULT_MTU = 1500  # of Ethernet

_NAMING = re.compile(r"(?<=[ \t])--hostname=[A-Za-z0-9.-]+(?=[ \t]|$)")
_QUOTING = re.compile(r"""["'\\#]""")

_networks: Memo[Network] = Memo(256)


def read_network(commands: Sequence[Command]) -> Network:
    """Return what ``network`` lines say together.

    Raises:
        InputError: with the file and line of everything that is wrong.
    """
    # They are asked for when a recipe is checked, and again for the packages that they need;
    # and many recipes have the same lines but for the host's name.
    key = tuple((_nameless(each.text), each.where) for each in commands)
    known = _networks.get(key)
    if known is None:
        return _networks.put(key, _read_network(commands))
    try:
        names = [Said(each).hostname() for each in commands]
    except InputError:
        return _read_network(commands)  # which says all that is wrong
    return replace(known, hostname=next((each for each in reversed(names) if each), ""))


def _nameless(text: str) -> str:
    """Return a line without the value of ``--hostname``, if that is a word as it stands."""
    return text if _QUOTING.search(text) else _NAMING.sub("--hostname=", text)


def _read_network(commands: Sequence[Command]) -> Network:
    errors: list[InputError] = []
    notes: list[str] = []
    devices: dict[str, Device] = {}
    hostname = ""
    for n, command in enumerate(commands):
        said = Said(command, notes)
        with collected(errors):
            hostname = said.hostname() or hostname
            if is_hostname_only(said):
                continue
            for statement in read_line(said):
                if statement.key == _LOOPBACK and not _is_static(statement):
                    said.note("--device=lo: the kernel configures it; nothing else is done")
                    continue
                _add(devices, statement, n)
    if not errors:
        devices = _connected(devices, notes, errors)
    if errors:
        raise joined(errors)
    notes += _chosen_notes(devices.values())
    return Network(hostname=hostname, devices=_ordered(devices), notes=tuple(dict.fromkeys(notes)))


def _is_static(statement: Statement) -> bool:
    return bool(statement.addresses and statement.addresses.is_static)


def _add(devices: dict[str, Device], said: Statement, line: int) -> None:
    """Let a line add to what earlier ones say of the same device.

    As in Anaconda the addresses are those of the last line; a bond, bridge or VLAN stays one.
    """
    known = devices.get(said.key, Device(where=said.where, key=said.key))
    if said.shape and known.shape and not _is_like(said.shape, known.shape):
        raise InputError(
            f"network: {said.key} is something else in {known.where}",
            where=said.where,
            fix="a device is one VLAN, or a bond, or a bridge",
        )
    devices[said.key] = replace(
        known,
        where=said.where,
        addresses=said.addresses or known.addresses,
        says_how=said.says_how if said.addresses else known.says_how,
        shape=said.shape or known.shape,
        mtu=said.mtu or known.mtu,
        settings=said.settings or known.settings,
        onboot=said.onboot,
        line=line,
    )


def _is_like(one: Shape, other: Shape) -> bool:
    if isinstance(one, Vlan) or isinstance(other, Vlan):
        return one == other
    return type(one) is type(other)


def _connected(
    devices: Mapping[str, Device], notes: list[str], errors: list[InputError]
) -> dict[str, Device]:
    made = dict(devices)
    on_others = [(each, each.shape) for each in devices.values() if isinstance(each.shape, Vlan)]
    # Those on link come first: they make it one interface, whose addresses no other has.
    for device, vlan in sorted(on_others, key=lambda each: is_name(each[1].parent)):
        with collected(errors):
            _put_vlan(made, device, vlan)
    for device in devices.values():
        if isinstance(device.shape, Bond | Bridge):
            with collected(errors):
                _put_members(made, device, device.shape)
    for device in list(made.values()):
        with collected(errors):
            _see_member(made, device, notes)
    with collected(errors):
        _see_twice(made)
        _see_chosen(made)
    if errors:
        return made
    with collected(errors):
        _fit_mtus(made, _from_the_top(made))
    return _ranked(made)


def _put_vlan(made: dict[str, Device], device: Device, vlan: Vlan) -> None:
    parent = made.get(vlan.parent) or _undeclared(made, vlan.parent, device)
    same = [
        each
        for each in parent.vlans
        if isinstance(other := made[each].shape, Vlan) and other.id == vlan.id
    ]
    if same:
        raise InputError(
            f"network: {same[0]} is VLAN {vlan.id} of {vlan.parent} already",
            where=device.where,
            fix="give both lines the same --interfacename, or take one out",
        )
    made[vlan.parent] = replace(parent, vlans=(*parent.vlans, device.key))


def _undeclared(made: Mapping[str, Device], key: str, vlan: Device) -> Device:
    """Return a device that a VLAN is on and no line is about.

    It has the addresses that it would have if it had no VLANs: those of the lines for ``link``
    and patterns, if there are any.
    """
    bare = Device(where=vlan.where, key=key, line=vlan.line)
    for general in _ordered(made):
        is_meant = general.key == LINK or (is_name(key) and fnmatchcase(key, general.key))
        if general.is_general and is_meant:
            return replace(
                bare,
                addresses=general.addresses,
                mtu=general.mtu,
                settings=general.settings,
                onboot=general.onboot,
                as_port=general.key == LINK,
            )
    return bare


def _put_members(made: dict[str, Device], device: Device, shape: Bond | Bridge) -> None:
    for name in shape.members:
        member = made.get(name) or Device(
            where=device.where, key=name, onboot=device.onboot, line=device.line
        )
        if member.master:
            raise InputError(
                f"network: {name} is a member of {member.master} and of {device.key}",
                where=device.where,
                fix="a device is a member of one bond or bridge",
            )
        is_bond = isinstance(shape, Bond)
        if isinstance(member.shape, Bridge) or (is_bond and isinstance(member.shape, Bond)):
            raise InputError(
                f"network: {name} can be no member of {device.key}: the kernel puts neither a bond "
                "into a bond nor a bridge into either",
                where=device.where,
            )
        made[name] = replace(
            member,
            master=device.key,
            master_kind=type(shape).__name__,
            is_primary=isinstance(shape, Bond) and name == shape.primary,
            is_active=isinstance(shape, Bond) and name == shape.active,
        )


def _see_member(made: dict[str, Device], device: Device, notes: list[str]) -> None:
    """Take a member's own addresses away, and say so."""
    if not device.master:
        return
    addresses = device.addresses
    if addresses and addresses.is_static:
        raise InputError(
            f"network: {device.key} has an address, but is a member of {device.master}",
            where=device.where,
            fix=f"give the address to {device.master}",
        )
    if device.vlans and isinstance(made[device.master].shape, Bond):
        raise InputError(
            f"network: {device.vlans[0]} is on {device.key}, which is a member of {device.master}",
            where=made[device.vlans[0]].where,
            fix=f"put the VLAN on {device.master}",
        )
    if addresses and device.says_how and not addresses.is_none:
        notes.append(
            f"{device.where}: network: {device.key} gets no address of its own: it is a member "
            f"of {device.master}"
        )
    made[device.key] = replace(device, addresses=None)


def _below(device: Device) -> tuple[str, ...]:
    if isinstance(device.shape, Vlan):
        return (device.shape.parent,)
    return device.shape.members if device.shape else ()


def _from_the_top(made: Mapping[str, Device]) -> list[Device]:
    """Order devices so that each stands before those that it is made of."""
    try:
        order = list(TopologicalSorter({key: _below(made[key]) for key in made}).static_order())
    except CycleError as error:
        circle: list[str] = error.args[1]
        raise InputError(
            f"network: {circle[0]} would stand on itself: {', '.join(circle)}",
            where=made[circle[0]].where,
            fix="take one of them out",
        ) from error
    return [made[key] for key in reversed(order)]


def _see_twice(made: Mapping[str, Device]) -> None:
    """Refuse an address that two devices have."""
    owner: dict[str, Device] = {}
    for device in made.values():
        addresses = device.addresses
        for ip in (addresses.ip4, addresses.ip6) if addresses else ():
            if ip is None:
                continue
            other = owner.setdefault(str(ip.ip), device)
            if other is not device:
                raise InputError(
                    f"network: {device.key} has the address {ip.ip} of {other.key} ({other.where})",
                    where=device.where,
                    fix="give each device an address of its own",
                )


def _see_chosen(made: Mapping[str, Device]) -> None:
    """Refuse two devices that are one interface on most machines."""
    link, bootif = made.get(LINK), made.get(BOOTIF)
    if link and bootif and link.is_chosen:
        raise InputError(
            f"network: link and bootif ({bootif.where}) may be one interface, of which the lines "
            "say different things",
            where=link.where,
            fix="say bootif in both",
        )


def _fit_mtus(made: dict[str, Device], order: list[Device]) -> None:
    """Let what is beneath a device with large frames carry them."""
    needed: dict[str, tuple[int, str]] = {}
    for device in order:
        need, upper = needed.get(device.key, (0, ""))
        mtu = device.mtu or (need if need > _DEFAULT_MTU else 0)
        if device.mtu is None and mtu:
            made[device.key] = replace(device, mtu=mtu)
        elif device.mtu and device.mtu < need:
            raise InputError(
                f"network: {upper} has --mtu={need}, more than the {device.mtu} of {device.key} "
                f"({device.where})",
                where=made[upper].where,
                fix=f"raise that of {device.key}",
            )
        for name in _below(device) if mtu else ():
            needed[name] = max(needed.get(name, (0, "")), (mtu, device.key))


def _ranked(made: Mapping[str, Device]) -> dict[str, Device]:
    """Number the routers: where there are several, that of the first line is preferred."""
    with_router = [key for key, each in made.items() if _routers(each)]
    ranks = {key: n for n, key in enumerate(with_router)} if len(with_router) > 1 else {}
    return {key: replace(each, rank=ranks.get(key)) for key, each in made.items()}


def _routers(device: Device) -> tuple[IPv4Address | IPv6Address, ...]:
    addresses = device.addresses
    if not addresses or not addresses.default_route:
        return ()
    return tuple(each for each in (addresses.gateway4, addresses.gateway6) if each)


def _ordered(devices: Mapping[str, Device]) -> tuple[Device, ...]:
    """Order devices as networkd looks through their files: the first that matches holds.

    One that is named comes before one that means several, and of either sort a later line
    before an earlier.
    """
    return tuple(sorted(devices.values(), key=lambda each: (_generality(each), -each.line)))


def _generality(device: Device) -> int:
    if not device.is_general:
        return int(device.is_chosen)
    return 3 if device.key == LINK else 2


def _chosen_notes(devices: Iterable[Device]) -> list[str]:
    return [
        f"{each.where}: network: --device=link with "
        f"{'a VLAN' if each.vlans else 'an address'} means the first Ethernet port, by name, "
        "that has a link when the machine boots"
        for each in devices
        if each.key == LINK and each.is_chosen
    ]
