"""Devices to the files of systemd-networkd and udev: .netdev, .link and .network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from imagebuilder.engines.direct.network.addresses import Addresses, needs_on_link
from imagebuilder.engines.direct.network.device import Device, Network
from imagebuilder.engines.direct.network.lines import BOOTIF, LINK, is_mac
from imagebuilder.engines.direct.network.virtual import Bond, Bridge, Shape, Vlan

FOLDER = "/etc/systemd/network"
_FIRST = 50  # before systemd's own, 80-…, and those made of the kernel's ip=, 70-… and 71-…
_METRIC = 100  # of the first of several routers; DHCP's and RA's routes have 1024
_PORT = ("Type=ether", "Kind=!*")  # an Ethernet port: bridges, VLANs and so on have a kind

# The second names that the interfaces get which only the booting machine can tell.
CHOSEN = {LINK: "kickstart-link", BOOTIF: "kickstart-bootif"}

# systemd.link(5): the first file that matches holds, so each has what 99-default.link has.
_NAMING = (
    "NamePolicy=keep kernel database onboard slot path",
    "AlternativeNamesPolicy=database onboard slot path",
)


def network_files(network: Network) -> dict[str, str]:
    """Return the texts of all files, by their names in :data:`FOLDER`."""
    found: dict[str, str] = {}
    first = _FIRST if len(network.devices) <= 100 - _FIRST else _FIRST * 1000
    for n, device in enumerate(network.devices, first):
        name = f"{n}-kickstart-{_slug(device)}"
        if device.shape:
            found[f"{name}.netdev"] = _text(_netdev(device, device.shape))
        if link := list(_link(device)):
            found[f"{name}.link"] = _text(link)
        if not device.as_port:
            found[f"{name}.network"] = _text(_network(device, _match(device)))
            continue
        found[f"{name}.network"] = _text(_network(device, (*_match(device), *_PORT)))
        bare = replace(device, addresses=None)
        found[f"{name}-virtual.network"] = _text(_network(bare, _match(bare)))
    return found


def _slug(device: Device) -> str:
    return "".join(sign if sign.isalnum() or sign in ".-" else "-" for sign in device.key)


def _text(lines: Iterator[str] | list[str]) -> str:
    return "\n".join(["# From the kickstart.", *lines])


def _section(name: str, lines: list[str] | tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield f"[{name}]"
        yield from lines
        yield ""


def _match(device: Device) -> tuple[str, ...]:
    if device.is_chosen:
        return (f"Name={CHOSEN[device.key]}",)
    if device.key == LINK:
        return _PORT
    if is_mac(device.key):
        # Not MACAddress=: VLANs, bonds and bridges have the address of what they are made of.
        return (f"PermanentMACAddress={device.key}",)
    return (f"Name={device.key}",)


def _netdev(device: Device, shape: Shape) -> Iterator[str]:
    kind = type(shape).__name__.lower()
    lines = [f"Name={device.key}", f"Kind={kind}"]
    if isinstance(shape, Vlan):
        yield from _section("NetDev", lines)
        yield from _section("VLAN", [f"Id={shape.id}"])
        return
    # A bond or bridge has the MAC address of a member.  What systemd would make of the name and
    # the machine's id is another at each boot of an image: the machine's id is.
    mac = (shape.mac if isinstance(shape, Bridge) else "") or "none"
    yield from _section("NetDev", [*lines, f"MACAddress={mac}"])
    yield from _section("Bond" if isinstance(shape, Bond) else "Bridge", shape.settings)


def _link(device: Device) -> Iterator[str]:
    is_made = isinstance(device.shape, Bond | Bridge)
    if not (device.settings or is_made):
        return
    if device.key == LINK:
        match: tuple[str, ...] = _PORT
    elif is_mac(device.key):
        match = _match(device)
    else:
        match = (f"OriginalName={device.key}",)
    yield from _section("Match", match)
    policy = "none" if is_made else "persistent"
    yield from _section("Link", [*_NAMING, f"MACAddressPolicy={policy}", *device.settings])


def _network(device: Device, match: tuple[str, ...]) -> Iterator[str]:
    addresses = device.addresses or Addresses()
    link = [] if device.mtu is None else [f"MTUBytes={device.mtu}"]
    if not device.onboot:
        link.append("ActivationPolicy=manual")
    if addresses.is_none:
        # Such a device never has an address: the machine is online without, or not with it.
        link.append("RequiredForOnline=no")
    yield from _section("Match", match)
    yield from _section("Link", link)
    yield from _section("Network", [*_protocols(device, addresses), *_relations(device)])
    for ip, gateway in (
        (addresses.ip4, addresses.gateway4),
        (addresses.ip6, addresses.gateway6),
    ):
        if gateway and addresses.default_route:
            route = _route(gateway, needs_on_link(gateway, ip), device.rank)
            yield from _section("Route", route)
    yield from _section("DHCPv4", _dhcp4(addresses))
    yield from _section("DHCPv6", _dhcp6(addresses))
    yield from _section("IPv6AcceptRA", _router_advertisements(addresses))


def _protocols(device: Device, addresses: Addresses) -> Iterator[str]:
    dhcp6 = addresses.mode6 == "dhcp"
    families = {(True, True): "yes", (True, False): "ipv4", (False, True): "ipv6"}
    yield f"DHCP={families.get((addresses.dhcp4, dhcp6), 'no')}"
    if device.key != "lo":  # its addresses are the kernel's
        yield f"LinkLocalAddressing={'no' if addresses.mode6 == 'off' else 'ipv6'}"
    yield f"IPv6AcceptRA={_yes(addresses.mode6 == 'auto')}"
    yield from (f"Address={each}" for each in (addresses.ip4, addresses.ip6) if each)
    yield from (f"DNS={each}" for each in addresses.nameservers)
    if addresses.search:
        yield f"Domains={' '.join(addresses.search)}"
    if addresses.dhcp4 or dhcp6:
        # A machine that lives in memory must not lose its network when networkd is restarted.
        yield "KeepConfiguration=dhcp-on-stop"
    if device.shape and addresses.is_static:
        # A bridge without guests, or a bond whose switch starts later, has no carrier.
        yield "ConfigureWithoutCarrier=yes"


def _relations(device: Device) -> Iterator[str]:
    if device.master:
        yield f"{device.master_kind}={device.master}"
    if device.is_primary:
        yield "PrimarySlave=yes"
    if device.is_active:
        yield "ActiveSlave=yes"
    yield from (f"VLAN={each}" for each in device.vlans)


def _route(gateway: IPv4Address | IPv6Address, on_link: bool, rank: int | None) -> list[str]:
    lines = [f"Gateway={gateway}"]
    if on_link:
        lines.append("GatewayOnLink=yes")
    if rank is not None:
        lines.append(f"Metric={_METRIC + rank}")
    return lines


def _dhcp4(addresses: Addresses) -> list[str]:
    if not addresses.dhcp4:
        return []
    # Not a number made of the machine's id, which is another at each boot.
    lines = ["ClientIdentifier=mac"]
    if addresses.vendor_class:
        lines.append(f"VendorClassIdentifier={addresses.vendor_class}")
    lines += _auto_dns(addresses.auto_dns4)
    if not addresses.default_route:
        lines.append("UseGateway=no")
    return lines


def _dhcp6(addresses: Addresses) -> list[str]:
    if addresses.mode6 not in ("auto", "dhcp"):
        return []
    lines = ["DUIDType=link-layer", *_auto_dns(addresses.auto_dns6)]
    if addresses.mode6 == "dhcp":
        lines.append("WithoutRA=solicit")
    return lines


def _router_advertisements(addresses: Addresses) -> list[str]:
    if addresses.mode6 != "auto":
        return []
    lines = _auto_dns(addresses.auto_dns6)
    return lines if addresses.default_route else [*lines, "UseGateway=no"]


def _auto_dns(wanted: bool) -> list[str]:
    return ["UseDomains=yes"] if wanted else ["UseDNS=no", "UseDomains=no"]


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
