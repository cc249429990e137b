"""VLANs, bonds and bridges."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagebuilder.errors import InputError

from .conftest import STATIC, STATIC6, Files, section


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
