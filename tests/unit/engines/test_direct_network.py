"""What network lines come to, and what is refused of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import written
from pykickstart.version import makeVersion

from imagebuilder import distro
from imagebuilder.engines.direct import network
from imagebuilder.engines.direct.fate_network import FIREWALL, NETWORK
from imagebuilder.engines.direct.network.devices import read_network
from imagebuilder.engines.direct.network.files import network_files
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import InputError, StepError
from imagebuilder.kickstart import Kickstart

Parsed = Callable[[str], Kickstart]
Files = dict[str, list[str]]

STATIC = "--bootproto=static --ip=192.0.2.5 --netmask=255.255.255.0"
STATIC6 = "--noipv4 --ipv6=2001:db8::5/64"


@pytest.fixture
def files(kickstart_of: Parsed) -> Callable[[str], Files]:
    """Returns the lines of each file, by its name without the number."""

    def make(text: str) -> Files:
        made = network_files(read_network(kickstart_of(text).all("network")))
        return {
            re.sub(r"^\d+-kickstart-", "", name): [
                line for line in text.splitlines() if line and not line.startswith("#")
            ]
            for name, text in made.items()
        }

    return make


@pytest.fixture
def refused(kickstart_of: Parsed) -> Callable[[str], list[InputError]]:
    def make(text: str) -> list[InputError]:
        with pytest.raises(InputError) as caught:
            network.check(kickstart_of(text).all("network"))
        found = [caught.value, *(each for each in caught.value.also)]
        for error in found:
            assert error.where
            assert error.where.file == "kickstarts/f.ks"
            assert error.where.line
        return [each for each in found if isinstance(each, InputError)]

    return make


@pytest.fixture
def notes(kickstart_of: Parsed) -> Callable[[str], tuple[str, ...]]:
    return lambda text: network.check(kickstart_of(text).all("network"))


def section(lines: list[str], name: str) -> list[str]:
    start = lines.index(f"[{name}]") + 1
    end = next((n for n in range(start, len(lines)) if lines[n].startswith("[")), len(lines))
    return lines[start:end]


# ----- one device ---------------------------------------------------------------------------------


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


# ----- ethtool ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "autoneg off speed 1000 duplex full",
            ["AutoNegotiation=no", "BitsPerSecond=1000M", "Duplex=full"],
        ),
        ("-s eth0 wol ug port tp mdix auto", ["WakeOnLan=unicast magic", "Port=tp", "MDI=auto"]),
        ("wol d", ["WakeOnLan=off"]),
        ("advertise 0x1020", ["Advertise=1000baset-full 10000baset-full"]),
        (
            "-K eth0 gro off tso on; -G ${DEVICE} rx 4096 tx 512",
            [
                "GenericReceiveOffload=no",
                "TCPSegmentationOffload=yes",
                "TCP6SegmentationOffload=yes",
                "RxBufferSize=4096",
                "TxBufferSize=512",
            ],
        ),
        ("-L eth0 combined 8", ["CombinedChannels=8"]),
        ("-A eth0 autoneg off rx on", ["AutoNegotiationFlowControl=no", "RxFlowControl=yes"]),
        (
            "-C eth0 adaptive-rx off rx-usecs 50 tx-frames-irq 3",
            [
                "UseAdaptiveRxCoalesce=no",
                "RxCoalesceSec=50us",
                "TxMaxCoalescedIrqFrames=3",
            ],
        ),
    ],
)
def test_ethtool(files: Callable[[str], Files], text: str, wanted: list[str]) -> None:
    made = files(f'network --device=eth0 --ethtool="{text}"\n')["eth0.link"]
    assert "OriginalName=eth0" in section(made, "Match")
    link = section(made, "Link")
    assert [each for each in link if "Policy" not in each] == wanted
    assert "MACAddressPolicy=persistent" in link


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("-K eth0 sg off", "-K sg is not honoured"),
        ("-K eth0 gro maybe", "it takes on or off"),
        ("-K eth1 gro off", "eth1"),
        ("-K eth0 gro", "it takes on or off"),
        ("-N eth0 flow-type tcp4", "-N is not honoured"),
        ("speed fast", "a number"),
        ("wol s", "it takes d"),
        ("advertise 0x40", "bit 6"),
        ("advertise 0", "a mask"),
        ("'speed 10", "open quote"),
    ],
)
def test_ethtool_refused(refused: Callable[[str], list[InputError]], text: str, what: str) -> None:
    (error,) = refused(f'network --device=eth0 --ethtool="{text}"\n')
    assert what in error.what


def test_ethtool_of_several_ports(
    files: Callable[[str], Files], refused: Callable[[str], list[InputError]]
) -> None:
    made = files('network --ethtool="-K gro off"\n')["link.link"]
    assert section(made, "Match") == ["Type=ether", "Kind=!*"]
    mac = files('network --device=52:54:00:12:34:56 --ethtool="-K gro off"\n')
    assert "PermanentMACAddress=52:54:00:12:34:56" in mac["52-54-00-12-34-56.link"]
    assert "bootif" in refused('network --device=bootif --ethtool="-K gro off"\n')[0].what


# ----- VLANs, bonds, bridges ----------------------------------------------------------------------


def test_a_vlan(files: Callable[[str], Files]) -> None:
    made = files(f"network --device=eth0 --vlanid=171 {STATIC}\n")
    assert made["eth0.171.netdev"] == ["[NetDev]", "Name=eth0.171", "Kind=vlan", "[VLAN]", "Id=171"]
    assert "Address=192.0.2.5/24" in made["eth0.171.network"]
    assert "ConfigureWithoutCarrier=yes" in made["eth0.171.network"]
    # No line is about its parent: it has no address.
    assert section(made["eth0.network"], "Network") == [
        "DHCP=no",
        "LinkLocalAddressing=no",
        "IPv6AcceptRA=no",
        "VLAN=eth0.171",
    ]


def test_a_vlan_leaves_its_parent_what_a_general_line_gives_it(
    files: Callable[[str], Files],
) -> None:
    made = files("network --device=link --mtu=1600\nnetwork --device=eth0 --vlanid=5\n")
    assert section(made["eth0.network"], "Match") == ["Name=eth0", "Type=ether", "Kind=!*"]
    assert {"DHCP=ipv4", "VLAN=eth0.5", "MTUBytes=1600"} <= set(made["eth0.network"])
    # If it is no port but something that another program makes, link does not mean it.
    assert section(made["eth0-virtual.network"], "Match") == ["Name=eth0"]
    assert {"DHCP=no", "VLAN=eth0.5"} <= set(made["eth0-virtual.network"])
    made = files("network --device=en* --bootproto=dhcp\nnetwork --device=ens3 --vlanid=5\n")
    assert {"DHCP=ipv4", "VLAN=ens3.5"} <= set(made["ens3.network"])
    assert (
        "DHCP=no"
        in files("network --device=en*\nnetwork --device=eth0 --vlanid=5\n")["eth0.network"]
    )


def test_a_vlan_with_a_name_of_its_own(files: Callable[[str], Files]) -> None:
    made = files("network --device=52:54:00:12:34:56 --vlanid=7 --interfacename=storage\n")
    assert "Name=storage" in made["storage.netdev"]
    assert "VLAN=storage" in made["52-54-00-12-34-56.network"]
    assert "vlan7.netdev" in files("network --device=eth0 --vlanid=7 --interfacename=vlan7\n")
    nested = files("network --device=eth0 --vlanid=5\nnetwork --device=eth0.5 --vlanid=6\n")
    assert "VLAN=eth0.5.6" in nested["eth0.5.network"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("--device=eth0 --vlanid=0", "from 1 to 4094"),
        ("--device=eth0 --vlanid=4095", "from 1 to 4094"),
        ("--device=eth0 --vlanid=-1", "from 1 to 4094"),
        ("--device=eth0 --vlanid=x", "from 1 to 4094"),
        ("--vlanid=5", "needs --device"),
        ("--device=link --vlanid=5", "needs a name"),
        ("--device=52:54:00:12:34:56 --vlanid=5", "needs a name"),
        ("--device=en* --vlanid=5", "on one device"),
        ("--device=averylongname1 --vlanid=4000", "more than 15"),
        ("--device=eth0 --interfacename=x", "needs --vlanid"),
        ("--device=eth0 --vlanid=5 --interfacename=vlan6", "does not say"),
        ("--device=eth0 --vlanid=5 --interfacename=x.6", "does not say"),
        ("--device=eth0 --vlanid=5 --interfacename=eth0", "is the device"),
        ("--device=eth0 --vlanid=5 --interfacename=a/b", "is no interface"),
        ("--device=br0 --vlanid=5 --bridgeslaves=eth0", "one of them"),
        ("--device=bond0 --bondslaves=eth0 --bridgeslaves=eth1", "one of them"),
        ("--device=link --bondslaves=eth0", "needs a name"),
        ("--bridgeslaves=eth0", "needs a name"),
        ("--device=bond0 --bondslaves=eth0,eth0", "twice"),
        ("--device=bond0 --bondslaves=eth0,,eth1", "empty item"),
        ("--device=bond0 --bondslaves=eth*", "is no interface"),
        ("--device=bond0 --bondslaves=lo", "lo"),
        ("--device=bond0 --bondopts=mode=1", "needs --bondslaves"),
    ],
)
def test_bad_virtual_devices_are_refused(
    refused: Callable[[str], list[InputError]], line: str, what: str
) -> None:
    (error,) = refused(f"network {line}\n")
    assert what in error.what


def test_a_bond(files: Callable[[str], Files]) -> None:
    made = files(
        "network --device=link --bootproto=dhcp\n"
        f"network --device=bond0 --bondslaves=eth1,eth2 {STATIC} --mtu=9000 "
        "--bondopts=mode=active-backup,miimon=50,updelay=100,primary=eth2,fail_over_mac=1\n"
    )
    assert section(made["bond0.netdev"], "Bond") == [
        "Mode=active-backup",
        "MIIMonitorSec=50ms",
        "UpDelaySec=100ms",
        "FailOverMACPolicy=active",
    ]
    # The address of the hardware, not one made of an id that is new at every boot.
    assert "MACAddress=none" in section(made["bond0.netdev"], "NetDev")
    assert "MACAddressPolicy=none" in made["bond0.link"]
    assert {"Address=192.0.2.5/24", "MTUBytes=9000"} <= set(made["bond0.network"])
    for member in ("eth1", "eth2"):
        lines = made[f"{member}.network"]
        assert {"Bond=bond0", "DHCP=no", "LinkLocalAddressing=no", "MTUBytes=9000"} <= set(lines)
    assert "PrimarySlave=yes" in made["eth2.network"]
    assert "PrimarySlave=yes" not in made["eth1.network"]
    # Files are looked through in the order of their names: the members' come before link's.
    assert list(made)[-1] == "link.network"


@pytest.mark.parametrize(
    ("opts", "wanted"),
    [
        ("mode=4", ["Mode=802.3ad", "MIIMonitorSec=100ms"]),
        ("mode=802.3ad,lacp_rate=1,miimon=100", ["LACPTransmitRate=fast"]),
        ("mode=802.3ad,lacp_rate=fast,ad_select=bandwidth,min_links=1", ["AdSelect=bandwidth"]),
        ("mode=2,xmit_hash_policy=layer3+4", ["TransmitHashPolicy=layer3+4"]),
        (
            "mode=active-backup;arp_interval=200;arp_ip_target=192.0.2.1,192.0.2.2;arp_validate=3",
            ["ARPIntervalSec=200ms", "ARPIPTargets=192.0.2.1 192.0.2.2", "ARPValidate=all"],
        ),
        ("mode=1,primary_reselect=better,num_grat_arp=3", ["PrimaryReselectPolicy=better"]),
        ("mode=1,num_unsol_na=3,all_slaves_active=1", ["GratuitousARP=3", "AllSlavesActive=yes"]),
        ("mode=balance-tlb,tlb_dynamic_lb=0", ["DynamicTransmitLoadBalancing=no"]),
        ("mode=0,packets_per_slave=4,resend_igmp=2", ["PacketsPerSlave=4", "ResendIGMP=2"]),
        ("mode=802.3ad,ad_actor_system=02:00:00:00:00:01", ["AdActorSystem=02:00:00:00:00:01"]),
    ],
)
def test_options_of_bonds(files: Callable[[str], Files], opts: str, wanted: list[str]) -> None:
    made = files(f'network --device=bond0 --bondslaves=eth1 --bondopts="{opts}"\n')
    lines = section(made["bond0.netdev"], "Bond")
    assert {each for each in wanted if each not in lines} == set()
    assert ("MIIMonitorSec=100ms" in lines) == ("arp_interval" not in opts)


@pytest.mark.parametrize(
    ("opts", "what"),
    [
        ("mode=7", "mode=7"),
        ("mode=active", "mode=active"),
        ("mode=1,primary=eth9", "not among"),
        ("mode=0,primary=eth1", "no meaning"),
        ("mode=1,lacp_rate=fast", "no meaning"),
        ("mode=802.3ad,arp_interval=100;arp_ip_target=192.0.2.1", "mode=802.3ad,arp"),
        ("mode=802.3ad;arp_interval=100;arp_ip_target=192.0.2.1", "no meaning"),
        ("mode=1,miimon=100,arp_interval=100,arp_ip_target=192.0.2.1", "exclude"),
        ("mode=1,arp_interval=100", "needs arp_ip_target"),
        ("mode=1,arp_interval=100,arp_ip_target=192.0.2.1,192.0.2.2", "is no option"),
        ("mode=1,arp_interval=1,arp_ip_target=2001:db8::1", "IPv4"),
        ("mode=1,miimon=0,updelay=100", "needs miimon"),
        ("mode=1,mode=2", "twice"),
        ("mode=1,colour=red", "unknown"),
        ("mode=1,miimon=soon", "number"),
        ("mode=1,use_carrier=0", "use_carrier"),
        ("mode", "is no option"),
        ("mode=4,ad_actor_system=01:00:00:00:00:01", "MAC"),
    ],
)
def test_bad_options_of_bonds_are_refused(
    refused: Callable[[str], list[InputError]], opts: str, what: str
) -> None:
    (error,) = refused(f'network --device=bond0 --bondslaves=eth1 --bondopts="{opts}"\n')
    assert what in error.what


def test_a_bridge(files: Callable[[str], Files]) -> None:
    made = files(
        f"network --device=br0 --bridgeslaves=eth1,bond0 {STATIC6} --bridgeopts=stp=yes,"
        "priority=100,forward-delay=4,hello-time=1,max-age=10,ageing-time=60,"
        "multicast-snooping=no,group-forward-mask=8,mac-address=02:00:00:00:00:01\n"
        "network --device=bond0 --bondslaves=eth2,eth3\n"
    )
    assert section(made["br0.netdev"], "Bridge") == [
        "STP=yes",
        "Priority=100",
        "ForwardDelaySec=4",
        "HelloTimeSec=1",
        "MaxAgeSec=10",
        "AgeingTimeSec=60",
        "MulticastSnooping=no",
        "GroupForwardMask=8",
    ]
    assert "MACAddress=02:00:00:00:00:01" in made["br0.netdev"]
    assert {"Bridge=br0", "DHCP=no"} <= set(made["bond0.network"])
    assert "Bond=bond0" in made["eth3.network"]
    assert "Bridge=br0" in made["eth1.network"]
    assert "ConfigureWithoutCarrier=yes" in made["br0.network"]


@pytest.mark.parametrize(
    ("opts", "what"),
    [
        ("stp=maybe", "neither yes nor no"),
        ("forward-delay=1", "from 2 to 30"),
        ("colour=red", "unknown"),
        ("stp=yes,stp=no", "twice"),
        ("vlan-protocol=x", "802.1Q"),
        ("mac-address=x", "MAC"),
    ],
)
def test_bad_options_of_bridges_are_refused(
    refused: Callable[[str], list[InputError]], opts: str, what: str
) -> None:
    (error,) = refused(f"network --device=br0 --bridgeslaves=eth1 --bridgeopts={opts}\n")
    assert what in error.what


def test_a_vlan_on_a_bond_in_one_line_and_a_bridge_over_it(files: Callable[[str], Files]) -> None:
    made = files(
        f"network --device=bond0 --bondslaves=eth1,eth2 --vlanid=5 {STATIC}\n"
        "network --device=bond0 --vlanid=6\n"
        "network --device=br0 --bridgeslaves=bond0.6 --mtu=4000\n"
    )
    assert "Kind=bond" in made["bond0.netdev"]
    assert {"VLAN=bond0.5", "VLAN=bond0.6", "DHCP=no", "MTUBytes=4000"} <= set(
        made["bond0.network"]
    )
    assert "Address=192.0.2.5/24" in made["bond0.5.network"]
    assert {"Bridge=br0", "DHCP=no", "MTUBytes=4000"} <= set(made["bond0.6.network"])
    assert "MTUBytes=4000" in made["eth1.network"]
    assert not any(each.startswith("MTUBytes") for each in made["bond0.5.network"])


# ----- several lines ------------------------------------------------------------------------------


def test_a_later_line_for_a_device_holds(files: Callable[[str], Files]) -> None:
    made = files(
        "network --device=bond0 --bondslaves=eth1 --bondopts=mode=1 --mtu=2000\n"
        f"network --device=eth9 {STATIC}\n"
        f"network --device=bond0 {STATIC.replace('.5', '.6')} --onboot=no\n"
        "network --device=eth9 --bootproto=dhcp\n"
    )
    assert {"Address=192.0.2.6/24", "MTUBytes=2000", "ActivationPolicy=manual"} <= set(
        made["bond0.network"]
    )
    assert "Mode=active-backup" in made["bond0.netdev"]
    assert "DHCP=ipv4" in made["eth9.network"]
    assert not any(each.startswith("Address=") for each in made["eth9.network"])


def test_a_later_and_a_more_exact_line_is_found_first(files: Callable[[str], Files]) -> None:
    made = files("""
        network --device=eth0 --bootproto=dhcp --mtu=2001
        network --device=link --bootproto=dhcp --mtu=2002
        network --device=eth1 --bootproto=dhcp --mtu=2003
        network --device=eth0 --bootproto=dhcp --mtu=2004
        network --device=en* --bootproto=dhcp --mtu=2005
        """)
    assert [
        next(line for line in lines if line.startswith("MTUBytes")) for lines in made.values()
    ] == ["MTUBytes=2004", "MTUBytes=2003", "MTUBytes=2005", "MTUBytes=2002"]


def test_many_devices_keep_their_order(kickstart_of: Parsed) -> None:
    text = "".join(f"network --device=eth{n} --bootproto=dhcp\n" for n in range(120))
    made = network_files(read_network(kickstart_of(f"network --device=link\n{text}").commands))
    names = list(made)
    assert len(names) == 121
    assert names == sorted(names)
    assert "eth119." in names[0]
    assert names[-1].endswith("link.network")
    assert names[-1] < "80-"


def test_the_first_of_several_routers_is_preferred(files: Callable[[str], Files]) -> None:
    made = files(
        f"network --device=eth0 {STATIC} --gateway=192.0.2.1\n"
        f"network --device=eth1 {STATIC.replace('192.0.2', '198.51.100')} --gateway=198.51.100.1\n"
    )
    assert "Metric=100" in section(made["eth0.network"], "Route")
    assert "Metric=101" in section(made["eth1.network"], "Route")


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        (
            "network --device=bond0 --bondslaves=eth1\nnetwork --device=bond1 --bondslaves=eth1\n",
            "eth1 is a member of bond0 and of bond1",
            2,
        ),
        (
            "network --device=bond0 --bondslaves=eth1\nnetwork --device=br0 --bridgeslaves=eth1\n",
            "eth1 is a member",
            2,
        ),
        (
            "network --device=bond0 --bondslaves=bond1\nnetwork --device=bond1 --bondslaves=e1\n",
            "bond1 can be no member",
            1,
        ),
        ("network --device=br0 --bridgeslaves=br0\n", "br0 can be no member", 1),
        (
            "network --device=br0 --bridgeslaves=bond0\nnetwork --device=bond0 --bondslaves=br0.5\n"
            "network --device=br0 --vlanid=5\n",
            "stand on itself",
            None,
        ),
        (
            f"network --device=eth1 {STATIC}\nnetwork --device=bond0 --bondslaves=eth1\n",
            "eth1 has an address, but is a member of bond0",
            1,
        ),
        (
            "network --device=bond0 --bondslaves=eth1\nnetwork --device=eth1 --vlanid=5\n",
            "eth1.5 is on eth1, which is a member",
            2,
        ),
        (
            "network --device=x --bondslaves=eth1\nnetwork --device=x --bridgeslaves=eth2\n",
            "x is something else in kickstarts/f.ks:1",
            2,
        ),
        (
            "network --device=eth0 --vlanid=5 --interfacename=v\n"
            "network --device=eth0 --vlanid=6 --interfacename=v\n",
            "v is something else",
            2,
        ),
        (
            "network --device=eth0 --vlanid=5\n"
            "network --device=eth0 --vlanid=5 --interfacename=v\n",
            "eth0.5 is VLAN 5 of eth0 already",
            2,
        ),
        (
            f"network --device=eth0 {STATIC}\nnetwork --device=eth1 {STATIC}\n",
            "eth1 has the address 192.0.2.5 of eth0",
            2,
        ),
        (
            "network --device=eth0 --mtu=2000\nnetwork --device=eth0 --vlanid=5 --mtu=3000\n",
            "eth0.5 has --mtu=3000, more than the 2000 of eth0",
            2,
        ),
        (
            f"network --device=link {STATIC}\nnetwork --device=bootif --bootproto=dhcp\n",
            "link and bootif",
            1,
        ),
    ],
)
def test_lines_that_contradict_each_other(
    refused: Callable[[str], list[InputError]], text: str, what: str, line: int | None
) -> None:
    error = refused(text)[0]
    assert what in error.what
    assert error.where
    assert error.where.line == (line or error.where.line)


def test_a_member_that_was_to_have_dhcp(
    files: Callable[[str], Files], notes: Callable[[str], tuple[str, ...]]
) -> None:
    text = "network --device=eth1 {}\nnetwork --device=bond0 --bondslaves=eth1\n"
    for said in ("--bootproto=dhcp", "--mtu=9000"):
        assert "DHCP=no" in files(text.format(said))["eth1.network"]
    (note,) = notes(text.format("--bootproto=dhcp"))
    assert note.startswith("kickstarts/f.ks:1: network: eth1 gets no address of its own")
    assert notes(text.format("--mtu=9000")) == ()


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("--device=eth0 --bindto=mac", "--bindto=mac has no effect"),
        ("--device=eth0 --bootproto=bootp", "asks by DHCP"),
        (f"--device=eth0 {STATIC} --gateway=198.51.100.1", "outside of 192.0.2.0/24"),
        (f"--device=link {STATIC}", "the first Ethernet port"),
        ("--device=lo --hostname=x", "the kernel configures it"),
        ("--device=b --bondslaves=e --bondopts=mode=1,use_carrier=1", "use_carrier=1"),
        ("--device=b --bondslaves=e --bondopts=mode=1,min_links=1", "no effect with mode"),
    ],
)
def test_notes(notes: Callable[[str], tuple[str, ...]], line: str, what: str) -> None:
    (note,) = notes(f"network {line}\n")
    assert note.startswith("kickstarts/f.ks:1: network: ")
    assert what in note


def test_no_notes_where_all_is_done(notes: Callable[[str], tuple[str, ...]]) -> None:
    assert notes("network --device=52:54:00:12:34:56 --bindto=mac --hostname=a\n") == ()


# ----- the tree -----------------------------------------------------------------------------------


class Guest(Tree):
    """A tree in which programs are noted, not run."""

    def calls(self) -> list[str]:
        path = self.log.with_name("calls")
        return path.read_text().splitlines() if path.exists() else []

    def run(self, argv: Any, **_: Any) -> Any:
        with self.log.with_name("calls").open("a") as file:
            file.write(" ".join(argv) + "\n")


@pytest.fixture
def tree(tmp_path: Path) -> Guest:
    written(
        tmp_path / "root",
        {
            "usr/lib/systemd/system/systemd-networkd.service": "",
            "usr/lib/systemd/systemd-resolved": "",
        },
    )
    return Guest(root=tmp_path / "root", log=tmp_path / "log", epoch=0)


def test_the_last_host_name_holds(tree: Guest, kickstart_of: Parsed) -> None:
    text = "network --hostname=a.example.org\nnetwork --hostname b\n"
    network.configure(tree, kickstart_of(text).commands)
    assert tree.read("/etc/hostname") == "b\n"
    assert not tree.exists("/etc/systemd/network")
    assert tree.calls() == []
    network.configure(tree, kickstart_of("network --device=lo --hostname=c\n").commands)
    assert tree.read("/etc/hostname") == "c\n"
    assert not tree.exists("/etc/systemd/network")


def test_files_are_written_and_networkd_is_enabled(tree: Guest, kickstart_of: Parsed) -> None:
    text = f"network --device=eth0 {STATIC} --nameserver=192.0.2.1\nnetwork --device=link\n"
    network.configure(tree, kickstart_of(text).commands)
    assert sorted(path.name for path in tree.path("/etc/systemd/network").iterdir()) == [
        "50-kickstart-eth0.network",
        "51-kickstart-link.network",
    ]
    assert tree.calls() == ["systemctl enable systemd-networkd.service"]


@pytest.mark.parametrize("device", ["link", "bootif"])
def test_an_interface_that_the_machine_chooses(
    tree: Guest, kickstart_of: Parsed, device: str
) -> None:
    network.configure(tree, kickstart_of(f"network --device={device} {STATIC}\n").commands)
    text = tree.read(f"/etc/systemd/network/50-kickstart-{device}.network")
    assert f"Name=kickstart-{device}\n" in text
    script = tree.path("/usr/local/sbin/kickstart-network-names")
    assert script.stat().st_mode & 0o111
    assert script.read_text().splitlines()[-1] == f'name "${device}" kickstart-{device}'
    unit = tree.read("/etc/systemd/system/kickstart-network-names.service")
    assert "systemd-networkd.service" in unit
    assert "systemctl enable kickstart-network-names.service" in tree.calls()


def test_what_the_image_lacks(tree: Guest, kickstart_of: Parsed) -> None:
    named = kickstart_of(f"lang C\nnetwork {STATIC} --nameserver=192.0.2.1\n").all("network")
    tree.remove("/usr/lib/systemd/systemd-resolved")
    with pytest.raises(StepError, match="looks names up") as caught:
        network.configure(tree, named)
    assert caught.value.where
    assert caught.value.where.line == 2
    tree.remove("/usr/lib/systemd/system/systemd-networkd.service")
    with pytest.raises(StepError, match="no systemd-networkd"):
        network.configure(tree, kickstart_of("network --device=eth0\n").commands)
    network.configure(tree, ())
    assert tree.calls() == []


# ----- the tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version", sorted({distro.find(name).kickstart_version for name in distro.names()})
)
def test_every_option_has_a_fate(version: str) -> None:
    for name, row in (("network", NETWORK), ("firewall", FIREWALL)):
        parser = makeVersion(version).commands[name].op
        known = {option for action in parser._actions for option in action.option_strings}
        assert known - set(row.options) == set()
        assert all(fate.text for fate in row.options.values())
