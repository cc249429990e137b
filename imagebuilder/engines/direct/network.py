"""``network`` lines to files of systemd-networkd (systemd.network(5))."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Command

_HOSTNAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$")
_MAC = re.compile(r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$")
_INTERFACE = re.compile(r"^[A-Za-z0-9_.*?-]{1,15}$")


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of a line, with the command that it stands in, for errors."""

    command: Command

    def refuse(self, what: str, fix: str = "") -> StepError:
        return StepError(f"network: {what}", where=self.command.where, fix=fix)


def configure(tree: Tree, commands: tuple[Command, ...]) -> None:
    """Write the host name and one ``.network`` file for each line that names a device.

    Raises:
        StepError: a value is not what it should be; with the command's file and line.
    """
    connections: list[Command] = []
    for command in commands:
        data = command.data
        if data.hostname:
            if not _HOSTNAME.match(data.hostname):
                raise _Value(command).refuse(f"{data.hostname!r} is no host name")
            tree.write("/etc/hostname", f"{data.hostname}\n")
        if data.device or "--bootproto" in command.options or "--ip" in command.options:
            connections.append(command)
    if not connections:
        return
    if not tree.exists("/usr/lib/systemd/system/systemd-networkd.service") and not tree.exists(
        "/lib/systemd/system/systemd-networkd.service"
    ):
        raise StepError(
            "network: the image has no systemd-networkd",
            where=commands[0].where,
            fix="add the package that brings it to %packages",
        )
    # The first file that matches an interface holds: a line that names it comes before one that
    # means several, and of either sort a later line before an earlier.
    connections.sort(key=lambda each: not _is_general(each))
    for n, command in enumerate(reversed(connections)):
        name = re.sub(r"[^A-Za-z0-9.-]", "-", command.data.device or "link")
        text = network_file(command)
        tree.write(f"/etc/systemd/network/{50 + n}-kickstart-{name}.network", text)
    tree.run(["systemctl", "enable", "systemd-networkd.service"], what="enabling networkd")


def network_file(command: Command) -> str:
    """Return the ``.network`` file of one line.

    Raises:
        StepError: a value is not what it should be.
    """
    data, value = command.data, _Value(command)
    match = _match(data.device or "link", value)
    _check(data, value)
    network: list[str] = []
    addresses: list[str] = []
    v4, v6 = not data.noipv4, not data.noipv6
    if v4 and data.ip and data.bootProto == "static":
        addresses.append(_address(data.ip, data.netmask, value))
        if data.gateway:
            network.append(f"Gateway={_ip(data.gateway, value)}")
    dhcp4 = bool(v4 and data.bootProto in ("dhcp", "bootp", "") and not data.ip)
    ipv6 = data.ipv6 or "auto"
    dhcp6 = bool(v6 and ipv6 == "dhcp")
    if v6 and ipv6 not in ("auto", "dhcp", "ignore"):
        addresses.append(str(_interface(ipv6, value)))
        gateway = getattr(data, "ipv6gateway", None)
        if gateway:
            network.append(f"Gateway={_ip(gateway, value)}")
    network += [f"Address={address}" for address in addresses]
    families = {(True, True): "yes", (True, False): "ipv4", (False, True): "ipv6"}
    network.append(f"DHCP={families.get((dhcp4, dhcp6), 'no')}")
    network.append(f"IPv6AcceptRA={'yes' if v6 and ipv6 in ('auto', 'dhcp') else 'no'}")
    if not v6:
        network.append("LinkLocalAddressing=no")
    network += [
        f"DNS={_ip(server.strip(), value)}"
        for server in (data.nameserver or "").split(",")
        if server.strip()
    ]
    link = [f"MTUBytes={int(data.mtu)}"] if data.mtu else []
    # The live root's own connection was made by the initrd: taking it over must not drop it.
    return "\n".join(
        [
            "# From the kickstart.",
            "[Match]",
            match,
            *(["", "[Link]", *link] if link else []),
            "",
            "[Network]",
            *network,
            "KeepConfiguration=dhcp-on-stop",
            "",
        ]
    )


def _check(data: Any, value: _Value) -> None:
    if data.bootProto in ("ibft", "query"):
        raise value.refuse(f"--bootproto={data.bootProto} is not honoured", "say static or dhcp")
    for option, given in (("ip", data.ip), ("netmask", data.netmask), ("gateway", data.gateway)):
        if given and data.bootProto != "static":
            raise value.refuse(f"--{option} needs --bootproto=static")
    if data.mtu and not str(data.mtu).isdecimal():
        raise value.refuse(f"--mtu={data.mtu} is no number")


def _is_general(command: Command) -> bool:
    device = command.data.device or "link"
    return device == "link" or any(sign in device for sign in "*?")


def _match(device: str, value: _Value) -> str:
    if device == "link":  # the kickstart's word for every interface with a link
        return "Type=ether\nKind=!*"
    if _MAC.match(device):
        return f"MACAddress={device}"
    if _INTERFACE.match(device):
        return f"Name={device}"
    raise value.refuse(
        f"--device={device} is no interface", "name one, give its MAC address, or say link"
    )


def _address(ip: str, netmask: str, value: _Value) -> str:
    if not netmask:
        raise value.refuse(f"--ip={ip} needs --netmask")
    return str(_interface(f"{ip}/{netmask}", value))


def _interface(text: str, value: _Value) -> Any:
    try:
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise value.refuse(f"{text} is no address with a prefix") from error


def _ip(text: str, value: _Value) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise value.refuse(f"{text} is no address") from error
