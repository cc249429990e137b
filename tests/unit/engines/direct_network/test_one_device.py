"""The files of one network line for one device, and what is refused of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagebuilder.errors import InputError

from .conftest import STATIC, STATIC6, Files, section


@pytest.mark.parametrize(
    ("line", "wanted", "unwanted"),
    [
        ("--device=eth0 --bootproto=dhcp", ["Name=eth0", "DHCP=ipv4", "IPv6AcceptRA=yes"], []),
        ("--device=eth0 --bootproto=dhcp", ["ClientIdentifier=mac", "UseDomains=yes"], ["[Route]"]),
        ("--device=link --bootproto=dhcp", ["Type=ether", "Kind=!*"], ["Name=link"]),
        ("--bootproto=dhcp", ["Type=ether"], []),
        ("--activate", ["Type=ether", "DHCP=ipv4"], []),
        (
            "--device=eth0 --ipv6=dhcp",
            ["DHCP=yes", "IPv6AcceptRA=no", "WithoutRA=solicit"],
            ["[IPv6AcceptRA]"],
        ),
        ("--device=eth0 --noipv4 --ipv6=dhcp", ["DHCP=ipv6"], ["[DHCPv4]"]),
        ("--device=eth0 --ipv6=dhcp --ipv6gateway=fe80::1", ["Gateway=fe80::1"], []),
        ("--device=eth0 --noipv4 --ipv6=auto", ["DHCP=no", "IPv6AcceptRA=yes"], []),
        (
            "--device=eth0 --noipv6",
            ["DHCP=ipv4", "IPv6AcceptRA=no", "LinkLocalAddressing=no"],
            ["[DHCPv6]"],
        ),
        (
            "--device=eth0 --noipv4 --noipv6",
            ["DHCP=no", "LinkLocalAddressing=no", "RequiredForOnline=no"],
            [],
        ),
        (
            f"--device=eth0 {STATIC} --gateway=192.0.2.1 --nameserver=192.0.2.2,2001:DB8::2",
            ["Address=192.0.2.5/24", "Gateway=192.0.2.1", "DNS=192.0.2.2", "DNS=2001:db8::2"],
            ["DHCP=ipv4", "DHCP=yes", "GatewayOnLink=yes", "ConfigureWithoutCarrier=yes"],
        ),
        ("--device=eth0 --bootproto=static --ip=192.0.2.5/25", ["Address=192.0.2.5/25"], []),
        (
            "--device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=31",
            ["Address=192.0.2.5/31"],
            [],
        ),
        (
            "--device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=255.255.255.255 "
            "--gateway=198.51.100.1",
            ["Address=192.0.2.5/32", "Gateway=198.51.100.1", "GatewayOnLink=yes"],
            [],
        ),
        (
            f"--device=eth0 {STATIC} --ipv6=2001:db8::5/48 --ipv6gateway=2001:db8::1",
            ["Address=192.0.2.5/24", "Address=2001:db8::5/48", "Gateway=2001:db8::1", "DHCP=no"],
            ["IPv6AcceptRA=yes", "GatewayOnLink=yes"],
        ),
        ("--device=eth0 --noipv4 --ipv6=2001:db8::5", ["Address=2001:db8::5/64"], []),
        (
            f"--device=eth0 {STATIC6} --ipv6gateway=fe80::1",
            ["Gateway=fe80::1"],
            ["GatewayOnLink=yes"],
        ),
        (
            f"--device=eth0 {STATIC} --gateway=192.0.2.1 --nodefroute",
            ["Address=192.0.2.5/24"],
            ["Gateway=192.0.2.1"],
        ),
        (
            "--device=52:54:00:12:34:AB",
            ["PermanentMACAddress=52:54:00:12:34:ab"],
            ["MACAddress=52:54:00:12:34:ab"],
        ),
        ("--device=eth0 --mtu=9000", ["[Link]", "MTUBytes=9000"], []),
        ("--device=en*", ["Name=en*"], ["[Link]"]),
        ("--device=eth0 --onboot=no", ["ActivationPolicy=manual"], []),
        ("--device=eth0 --onboot=yes", [], ["ActivationPolicy=manual"]),
        ("--device=eth0 --bootproto=bootp", ["DHCP=ipv4"], []),
        (
            "--device=eth0 --dhcpclass=PXEClient:Arch:0",
            ["VendorClassIdentifier=PXEClient:Arch:0"],
            [],
        ),
        (
            "--device=eth0 --ipv4-dns-search=a.example,b.example --ipv6-dns-search=b.example",
            ["Domains=a.example b.example"],
            [],
        ),
        (f"--device=lo {STATIC6}", ["Name=lo", "Address=2001:db8::5/64"], ["LinkLocalAddressing"]),
        ("--dev=eth0 --nodef", ["Name=eth0", "UseGateway=no"], []),
    ],
)
def test_the_file_of_one_line(
    files: Callable[[str], Files], line: str, wanted: list[str], unwanted: list[str]
) -> None:
    (made,) = files(f"network {line}\n").values()
    assert {each for each in wanted if each not in made} == set()
    assert {each for each in unwanted if any(line.startswith(each) for line in made)} == set()
    assert made.count("[Network]") == made.count("[Match]") == 1


@pytest.mark.parametrize(
    ("option", "dhcp4", "dhcp6", "routers"),
    [
        ("", "UseDomains=yes", "UseDomains=yes", "UseDomains=yes"),
        ("--nodns", "UseDNS=no", "UseDNS=no", "UseDNS=no"),
        ("--ipv4-ignore-auto-dns", "UseDNS=no", "UseDomains=yes", "UseDomains=yes"),
        ("--ipv6-ignore-auto-dns", "UseDomains=yes", "UseDNS=no", "UseDNS=no"),
        ("--nodefroute", "UseGateway=no", "UseDomains=yes", "UseGateway=no"),
    ],
)
def test_what_others_say_of_names_and_routes(
    files: Callable[[str], Files], option: str, dhcp4: str, dhcp6: str, routers: str
) -> None:
    made = files(f"network --device=eth0 {option}\n")["eth0.network"]
    assert dhcp4 in section(made, "DHCPv4")
    assert dhcp6 in section(made, "DHCPv6")
    assert routers in section(made, "IPv6AcceptRA")
    used = {"UseDNS=no", "UseGateway=no"} - {dhcp4, dhcp6, routers}
    assert not used & set(made)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("--device=eth0 --bootproto=static --ip=192.0.2.5", "needs --netmask"),
        ("--device=eth0 --bootproto=static --netmask=255.0.0.0", "needs --ip"),
        ("--device=eth0 --bootproto=static", "needs --ip"),
        ("--device=eth0 --bootproto=static --ip=192.0.2 --netmask=255.255.255.0", "192.0.2"),
        ("--device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=255.0.255.0", "is no mask"),
        ("--device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=0.0.0.255", "is no mask"),
        ("--device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=33", "is no mask"),
        ("--device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=0.0.0.0", "is no mask"),
        (f"--device=eth0 {STATIC.replace('.5', '.5/24')}", "is given too"),
        (f"--device=eth0 {STATIC.replace('2.5', '2.0')}", "no address of a host"),
        (f"--device=eth0 {STATIC.replace('2.5', '2.255')}", "no address of a host"),
        (f"--device=eth0 {STATIC.replace('192.0.2.5', '224.0.0.5')}", "no address of a host"),
        (f"--device=eth0 {STATIC.replace('192.0.2.5', '2001:db8::1')}", "IPv6"),
        (f"--device=eth0 {STATIC} --gateway=gw", "is no address"),
        (f"--device=eth0 {STATIC} --gateway=192.0.2.5", "own address"),
        (f"--device=eth0 {STATIC} --gateway=2001:db8::1", "IPv6"),
        (f"--device=eth0 {STATIC} --gateway=0.0.0.0", "no address of a router"),
        (f"--device=eth0 {STATIC} --nameserver=192.0.2.2,dns", "is no address"),
        (f"--device=eth0 {STATIC} --nameserver=192.0.2.2,,192.0.2.3", "empty item"),
        (f"--device=eth0 {STATIC} --nameserver=fe80::1%eth0", "is no address"),
        ("--device=eth0 --ipv6=2001:db8::zz/64", "2001:db8::zz/64"),
        ("--device=eth0 --ipv6=ff02::1/64", "no address of a host"),
        ("--device=eth0 --ipv6=ignore", "ignore"),
        ("--device=eth0 --ipv6gateway=fe80::1", "needs a static --ipv6"),
        (f"--device=eth0 {STATIC6} --ipv6gateway=192.0.2.1", "IPv4"),
        (f"--device=eth0 {STATIC6} --ipv6gateway=2001:db8::5", "own address"),
        ("--device=eth0 --noipv6 --ipv6=auto", "contradicts"),
        (f"--device=eth0 --noipv4 {STATIC}", "contradicts"),
        ("--device=eth0/../x", "is no interface"),
        ("--device=averyveryverylongname", "is no interface"),
        ('--device="a b"', "is no interface"),
        ("--device=..", "is no interface"),
        ("--device=12", "is no interface"),
        ("--device=default", "is no interface"),
        ("--device=52:54:00", "is no MAC address"),
        ("--device=", "has no value"),
        (f"--device=en* {STATIC}", "belongs to one device"),
        # What has no effect where it stands is not dropped in silence.
        ("--device=eth0 --ip=192.0.2.5 --netmask=255.255.255.0", "needs --bootproto=static"),
        ("--device=eth0 --bootproto=dhcp --gateway=192.0.2.1", "needs --bootproto=static"),
        ("--device=eth0 --mtu=jumbo", "jumbo"),
        ("--device=eth0 --mtu=67 --noipv6", "from 68"),
        ("--device=eth0 --mtu=65536", "65535"),
        ("--device=eth0 --mtu=1000", "IPv6"),
        ("--device=eth0 --bootproto=ibft", "ibft"),
        ("--device=eth0 --bootproto=query", "query"),
        (f"--device=eth0 {STATIC} --dhcpclass=x", "needs --bootproto=dhcp"),
        ('--device=eth0 --dhcpclass="x\\\\"', "no vendor class"),
        ("--device=eth0 --ipv4-dns-search=a_b", "no domain name"),
        ("--hostname=-a", "no host name"),
        ("--hostname=a_b", "no host name"),
        ("--hostname=a/b", "no host name"),
        ("--hostname=a..b", "no host name"),
        ("--hostname=", "has no value"),
        (f"--hostname={'a' * 60}.{'b' * 10}", "no host name"),
        (f"--hostname={'a' * 64}", "no host name"),
    ],
)
def test_bad_lines_are_refused(
    refused: Callable[[str], list[InputError]], line: str, what: str
) -> None:
    (error,) = refused(f"lang C\nnetwork {line}\n")
    assert what in error.what
    assert error.where
    assert error.where.line == 2


def test_all_that_is_wrong_is_said_at_once(refused: Callable[[str], list[InputError]]) -> None:
    found = refused("network --device=eth0 --mtu=1\nnetwork --device=x/y\nnetwork --vlanid=5\n")
    assert [each.where.line for each in found if each.where] == [1, 2, 3]
