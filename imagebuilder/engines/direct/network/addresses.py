"""What a ``network`` line says of addresses, routes and name servers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Literal

from imagebuilder.engines.direct.network.said import Said

_PREFIX6 = 64  # where --ipv6 says none, as pykickstart documents it
_VENDOR_CLASS = re.compile(r"^[A-Za-z0-9 .,:;_/@+=()-]{1,255}$")  # an option's length, RFC 2132
_STATIC_FIX = "add --bootproto=static, or take it out"

IPv6Mode = Literal["auto", "dhcp", "static", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses of one device.

    Attributes:
        dhcp4: ask for an IPv4 address by DHCP.
        ip4: the static IPv4 address.
        gateway4: the default router of IPv4.
        mode6: how the device gets its IPv6 address.
        ip6: the static IPv6 address.
        gateway6: the default router of IPv6.
        nameservers: addresses of name servers, besides those that DHCP and routers name.
        search: domains to look short names up in.
        auto_dns4: use the name servers and domains that DHCP names.
        auto_dns6: use those that DHCPv6 and routers name.
        default_route: whether the default route may lead through the device.
        vendor_class: the vendor class identifier that DHCP sends.
    """

    dhcp4: bool = False
    ip4: IPv4Interface | None = None
    gateway4: IPv4Address | None = None
    mode6: IPv6Mode = "off"
    ip6: IPv6Interface | None = None
    gateway6: IPv6Address | None = None
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    auto_dns4: bool = True
    auto_dns6: bool = True
    default_route: bool = True
    vendor_class: str = ""

    @property
    def is_static(self) -> bool:
        """Whether an address stands in the line: only one device can have it."""
        return bool(self.ip4 or self.ip6)

    @property
    def is_none(self) -> bool:
        """Whether the device gets no address at all."""
        return not (self.dhcp4 or self.ip4 or self.mode6 != "off")


def read_addresses(said: Said) -> Addresses:
    """Return what a line says of addresses.

    Raises:
        InputError: an address is none, or options contradict each other.
    """
    ip4, gateway4 = _static4(said)
    mode6, ip6, gateway6 = _ipv6(said)
    auto_dns = not said.flag("--nodns")
    dhcp4 = not said.flag("--noipv4") and ip4 is None
    if dhcp4 and said.value("--bootproto") == "bootp":
        said.note("--bootproto=bootp asks by DHCP, as Anaconda does: networkd has no BOOTP")
    return Addresses(
        dhcp4=dhcp4,
        ip4=ip4,
        gateway4=gateway4,
        mode6=mode6,
        ip6=ip6,
        gateway6=gateway6,
        nameservers=tuple(
            str(said.address(each, "--nameserver")) for each in said.listed("--nameserver")
        ),
        search=tuple(
            dict.fromkeys((*said.domains("--ipv4-dns-search"), *said.domains("--ipv6-dns-search")))
        ),
        auto_dns4=auto_dns and not said.flag("--ipv4-ignore-auto-dns"),
        auto_dns6=auto_dns and not said.flag("--ipv6-ignore-auto-dns"),
        default_route=not said.flag("--nodefroute"),
        vendor_class=_vendor_class(said, dhcp4),
    )


def _static4(said: Said) -> tuple[IPv4Interface | None, IPv4Address | None]:
    given = [option for option in ("--ip", "--netmask", "--gateway") if said.value(option)]
    protocol = said.value("--bootproto")
    if protocol in ("ibft", "query"):
        raise said.refuse(
            f"--bootproto={protocol} is the installer's: "
            + ("it reads a table of the firmware" if protocol == "ibft" else "it asks a person"),
            "say static or dhcp",
        )
    if said.flag("--noipv4"):
        if given:
            raise said.refuse(f"--noipv4 contradicts {given[0]}", "take one of them out")
        return None, None
    if protocol != "static":
        if given:
            raise said.refuse(f"{given[0]} needs --bootproto=static", _STATIC_FIX)
        return None, None
    ip = _interface4(said)
    text = said.value("--gateway")
    if not text:
        return ip, None
    gateway = said.address(text, "--gateway")
    if isinstance(gateway, IPv6Address):
        raise said.refuse(f"--gateway={text} is an IPv6 address", f"say --ipv6gateway={text}")
    if gateway == ip.ip:
        raise said.refuse(f"--gateway={text} is the device's own address")
    _see_subnet(said, gateway, ip)
    return ip, gateway


def _interface4(said: Said) -> IPv4Interface:
    ip, netmask = said.value("--ip"), said.value("--netmask")
    if not ip:
        raise said.refuse(
            "--bootproto=static needs --ip and --netmask", "give them, or say --noipv4"
        )
    address, slash, prefix = ip.partition("/")
    if slash and netmask:
        raise said.refuse(f"--ip={ip} has a prefix, and --netmask={netmask} is given too")
    if not (slash or netmask):
        raise said.refuse(f"--ip={ip} needs --netmask", "such as --netmask=255.255.255.0")
    found = said.address(address, "--ip")
    if isinstance(found, IPv6Address):
        raise said.refuse(f"--ip={ip} is an IPv6 address", f"say --noipv4 --ipv6={ip}")
    return _usable4(said, IPv4Interface((found, _prefix4(said, prefix or netmask))))


def _prefix4(said: Said, text: str) -> int:
    """Return the length of a mask; one with its bits the other way round is none."""
    lengths = {str(n): n for n in range(1, 33)}
    lengths |= {str(ipaddress.ip_network(f"0.0.0.0/{n}").netmask): n for n in range(1, 33)}
    if text not in lengths:
        raise said.refuse(f"--netmask={text} is no mask", "such as 255.255.255.0")
    return lengths[text]


def _usable4(said: Said, ip: IPv4Interface) -> IPv4Interface:
    network = ip.network
    is_end = network.prefixlen < 31 and ip.ip in (
        network.network_address,
        network.broadcast_address,
    )
    if is_end or _unusable(ip.ip):
        raise said.refuse(f"--ip={ip} is no address of a host")
    return ip


def _unusable(ip: IPv4Address | IPv6Address) -> bool:
    return ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255"


def _ipv6(said: Said) -> tuple[IPv6Mode, IPv6Interface | None, IPv6Address | None]:
    text, router = said.value("--ipv6"), said.value("--ipv6gateway")
    if said.flag("--noipv6"):
        for option, given in (("--ipv6", text), ("--ipv6gateway", router)):
            if given:
                raise said.refuse(f"--noipv6 contradicts {option}", "take one of them out")
        return "off", None, None
    gateway = said.address(router, "--ipv6gateway") if router else None
    if isinstance(gateway, IPv4Address):
        raise said.refuse(f"--ipv6gateway={router} is an IPv4 address", f"say --gateway={router}")
    if text in ("", "auto"):
        if gateway:
            raise said.refuse(
                "--ipv6gateway needs a static --ipv6: by default routers tell of themselves",
                "add --ipv6=ADDRESS/PREFIX, or take it out",
            )
        return "auto", None, None
    if text == "dhcp":
        return "dhcp", None, gateway
    ip = _interface6(said, text)
    if gateway:
        if gateway == ip.ip:
            raise said.refuse(f"--ipv6gateway={router} is the device's own address")
        _see_subnet(said, gateway, ip)
    return "static", ip, gateway


def _interface6(said: Said, text: str) -> IPv6Interface:
    try:
        if "%" in text:
            raise ValueError(text)
        address, _, prefix = text.partition("/")
        if prefix and not prefix.isdecimal():
            raise ValueError(text)
        ip = IPv6Interface(f"{address}/{prefix or _PREFIX6}")
    except ValueError as error:
        raise said.refuse(
            f"--ipv6={text} is no address with a prefix",
            "give one such as 2001:db8::1/64, or say auto or dhcp; --noipv6 is for none",
        ) from error
    if _unusable(ip.ip) or ip.network.prefixlen == 0:
        raise said.refuse(f"--ipv6={text} is no address of a host")
    return ip


def _see_subnet(
    said: Said, gateway: IPv4Address | IPv6Address, ip: IPv4Interface | IPv6Interface
) -> None:
    if _unusable(gateway) or gateway.is_loopback:
        raise said.refuse(f"{gateway} is no address of a router")
    if needs_on_link(gateway, ip):
        said.note(
            f"the router {gateway} is outside of {ip.network}: it is taken to be on the same link"
        )


def needs_on_link(
    gateway: IPv4Address | IPv6Address, ip: IPv4Interface | IPv6Interface | None
) -> bool:
    """Return whether no address of the device says that a router is on its link."""
    if isinstance(gateway, IPv6Address) and gateway.is_link_local:
        return False
    return ip is None or gateway not in ip.network


def _vendor_class(said: Said, dhcp4: bool) -> str:
    text = said.value("--dhcpclass")
    if text and not dhcp4:
        raise said.refuse("--dhcpclass needs --bootproto=dhcp", "take it out")
    if text and not _VENDOR_CLASS.match(text):
        raise said.refuse(
            f"--dhcpclass={text!r} is no vendor class",
            "it has at most 255 letters, digits, spaces and signs such as : . / -",
        )
    return text
