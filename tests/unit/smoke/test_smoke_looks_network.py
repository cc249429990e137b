"""Checks of ports, interfaces and bridges, as the guest's shell looks at them."""

from __future__ import annotations

from runnerkit import SOON, Guest, interface, verdicts

from imagebuilder.checks import InterfaceCheck, OvsBridgeCheck, PortCheck


def test_ports_at_addresses(guest: Guest) -> None:
    assert verdicts(
        guest,
        PortCheck(port=22, address="0.0.0.0"),
        PortCheck(port=53, address="127.0.0.1"),
        PortCheck(port=53, address="::1"),
        PortCheck(port=22, address="0.0.0.0", only=True),
        PortCheck(port=25, listening=False),
        PortCheck(port=22, address="127.0.0.1", listening=False),
        PortCheck(port=53, address="127.0.0.1", only=True, timeout=SOON),
        PortCheck(port=22, address="::", timeout=SOON),
        PortCheck(port=22, listening=False, timeout=SOON),
    ) == [
        *["passed"] * 6,
        f"something listens at other addresses, too: 192.0.2.9 {'0000:' * 7}0001",
        "nothing listens at that address, but at: 0.0.0.0",
        "something listens",
    ]


def test_interfaces(guest: Guest) -> None:
    interface(guest, "eth0", "0x1003", "up", address="52:54:00:00:00:01")
    interface(guest, "eth1", "0x1003", "down")
    interface(guest, "bond0.30", "0x1003", "unknown", mtu="9000")
    (guest.path / "sys/class/net/eth1/master").symlink_to("../bond0")
    guest.file("proc/net/vlan/bond0.30", "bond0.30  VID: 30\t REORDER_HDR: 1\n")
    guest.program(
        "ip",
        'for name; do :; done\n[ "$name" = eth0 ] || exit 0\n'
        'echo "2: eth0    inet 10.0.2.15/24 brd 10.0.2.255 scope global dynamic eth0\\\\ valid"\n'
        'echo "2: eth0    inet6 fe80::1/64 scope link \\\\ valid_lft forever"',
    )
    assert verdicts(
        guest,
        InterfaceCheck(interface="eth0", dhcp=True, addresses=("10.0.2.15/24", "FE80:0::1")),
        InterfaceCheck(interface="eth*", mac="52:54:00:00:00:01", mtu=1500),
        InterfaceCheck(interface="eth1", state="down", master="bond0"),
        InterfaceCheck(interface="bond0.30", vlan=30, mtu=9000),
        InterfaceCheck(interface="wlan*", exists=False),
        InterfaceCheck(interface="eth1", timeout=SOON),
        InterfaceCheck(interface="eth0", addresses=("10.0.2.15/16",), timeout=SOON),
        InterfaceCheck(interface="eth1", state="any", dhcp=True, timeout=SOON),
        InterfaceCheck(interface="eth0", vlan=30, timeout=SOON),
        InterfaceCheck(interface="eth*", state="any", mtu=9000, timeout=SOON),
        InterfaceCheck(interface="eth0", master="bond0", timeout=SOON),
        InterfaceCheck(interface="nope0", timeout=SOON),
        InterfaceCheck(interface="eth0", exists=False, timeout=SOON),
    ) == [
        *["passed"] * 5,
        "eth1 is turned on, but its carrier is down",
        "eth0 has the addresses: 10.0.2.15/24 fe80::1/64",
        "eth1 has the addresses: none; none is from DHCP",
        "eth0 is the interface of no VLAN",
        "eth0 has mtu 1500; eth1 has mtu 1500",
        "eth0 has no master",
        "there is no such interface; there are: bond0.30 eth0 eth1",
        "there is eth0",
    ]


def test_bridges_of_open_vswitch(guest: Guest) -> None:
    guest.program(
        "ovs-vsctl",
        'shift 2\ncase "$*" in\n"br-exists br0") ;;\nbr-exists*) exit 2 ;;\nlist-br) echo br0 ;;\n'
        '"list-ports br0") echo bond0; echo storage0 ;;\n"get port storage0 tag") echo 20 ;;\n'
        '"get port bond0 tag") echo "[]" ;;\n"get port bond0 trunks") echo "[10, 20]" ;;\nesac',
    )
    assert verdicts(
        guest,
        OvsBridgeCheck(ovs_bridge="br0", ports=("bond0",), tags={"storage0": 20}),
        OvsBridgeCheck(ovs_bridge="br0", trunks={"bond0": (20, 10)}),
        OvsBridgeCheck(ovs_bridge="br1", exists=False),
        OvsBridgeCheck(ovs_bridge="br1", timeout=SOON),
        OvsBridgeCheck(ovs_bridge="br0", ports=("eth9",), timeout=SOON),
        OvsBridgeCheck(ovs_bridge="br0", tags={"bond0": 20}, timeout=SOON),
    ) == [
        *["passed"] * 3,
        "there is no such bridge; there are: br0",
        "it has the ports: bond0 storage0",
        "port bond0 has tag: none",
    ]
