"""The rack's DHCP, TFTP and DNS server: what dnsmasq is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from imagebuilder.smoke.network import EFI_BINARY, FIRST_SCRIPT, START
from imagebuilder.smoke.rack.layout import NATIVE, Layout, Network

DNSMASQ = "dnsmasq"
# RFC 5970 and IANA's processor architecture types: x86-64 UEFI, and the same with HTTP boot.
_UEFI, _UEFI_HTTP = 7, 16


def interface(network: Network) -> str:
    """Return what the server's interface on a network is called."""
    return "rack" if network.vlan == NATIVE else f"vlan{network.vlan}"


def configuration(
    layout: Layout, folder: Path, *, over_http: bool, bootfile: str = FIRST_SCRIPT
) -> str:
    """Return dnsmasq's configuration.

    Machines have the same addresses whenever they ask, whoever asks in them: firmware, iPXE,
    the initrd, the image.  iPXE gets the first script of its machine; firmware that boots over
    HTTP gets the URL of an iPXE.

    Args:
        layout: the rack.
        folder: where its leases are kept; below ``tftp`` each machine has a folder, named by its
            address.
        over_http: whether iPXE gets the first script over HTTP as well.
        bootfile: what firmware that boots by TFTP gets; iPXE's script: it gets nothing.
    """
    lines = _lines(layout, folder, over_http=over_http, bootfile=bootfile)
    return "\n".join(lines) + "\n"


def _lines(layout: Layout, folder: Path, *, over_http: bool, bootfile: str) -> Iterator[str]:
    yield from (
        # In the foreground, and as who it is: root of a namespace, where it cannot become another.
        "no-daemon",
        "log-facility=-",
        "log-dhcp",
        "bind-interfaces",
        "except-interface=lo",
        "no-hosts",
        "no-resolv",
        "no-ping",  # nobody else is here, and it takes seconds
        "dhcp-authoritative",
        f"dhcp-leasefile={folder / 'leases'}",
        f"pid-file={folder / 'dnsmasq.pid'}",
        "enable-tftp",
        f"tftp-root={folder / 'tftp'}",
        "tftp-unique-root=ip",
        "dhcp-userclass=set:ipxe,iPXE",
        f"dhcp-match=set:http,option:client-arch,{_UEFI_HTTP}",
        f"dhcp-match=set:uefi,option:client-arch,{_UEFI}",
        "dhcp-option-force=tag:http,option:vendor-class,HTTPClient",
    )
    last = len(layout.machines)
    cards = max(len(each.cards) for each in layout.machines)
    for network in layout.networks:
        name = interface(network)
        yield f"interface={name}"
        yield (
            f"dhcp-range=set:{name},{network.address(1)},{network.address(last, cards - 1)},"
            f"{network.subnet.netmask},1h"
        )
        # A default route by each network would be one too many.
        router = str(network.server) if network.vlan == NATIVE else ""
        yield f"dhcp-option=tag:{name},option:router" + (f",{router}" if router else "")
    for machine in layout.machines:
        tag, number = machine.name, machine.number
        for position, card in enumerate(machine.cards):
            for network in layout.networks:
                if card.is_on(network):
                    address = network.address(number, position)
                    yield f"dhcp-host={card.mac},set:{tag},{address},{machine.name}"
        yield f"host-record={machine.name},{layout.boot.address(number)}"
        url = layout.files_url(number)
        script = f"{url}{START}" if over_http else f"{FIRST_SCRIPT},,{layout.boot.server}"
        yield f"dhcp-boot=tag:{tag},tag:ipxe,{script}"
        yield f"dhcp-boot=tag:{tag},tag:http,tag:!ipxe,{url}{EFI_BINARY}"
        if bootfile != FIRST_SCRIPT:
            yield f"dhcp-boot=tag:{tag},tag:uefi,tag:!ipxe,{bootfile},,{layout.boot.server}"
