"""Network and firewall lines that pykickstart takes: an error with its place, or sound files."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.engines.direct.firewall.ruleset import read_firewall, ruleset
from imagebuilder.engines.direct.network.devices import read_network
from imagebuilder.engines.direct.network.files import network_files
from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.flatten import Line
from imagebuilder.kickstart.parse import parse

# The sections that each kind of file may have, systemd.network(5) and its neighbours.
SECTIONS = {
    "network": {"Match", "Link", "Network", "Route", "DHCPv4", "DHCPv6", "IPv6AcceptRA"},
    "netdev": {"NetDev", "VLAN", "Bond", "Bridge"},
    "link": {"Match", "Link"},
}

hostile = st.text(max_size=20) | st.sampled_from(
    [
        "../../etc/passwd",
        "a\\",
        "x]\n[Match",
        "%i",
        "$(id)",
        "`id`",
        "eth0;x",
        "eth0 eth1",
        "é",
        "\x00",
    ]
)
names = st.sampled_from(
    ["eth0", "eth1", "eth2", "bond0", "br0", "eth0.5", "link", "bootif", "en*", "lo"]
) | st.just("52:54:00:12:34:56")
members = st.lists(names, max_size=3).map(",".join)
addresses = st.ip_addresses().map(str) | st.sampled_from(["192.0.2.5", "192.0.2.6", "192.0.2.1"])
numbers = st.integers(-1, 70000).map(str)
OPTIONS = {
    "--bondopts": st.sampled_from(["mode=1,primary=eth1", "mode=4,lacp_rate=1", "miimon=x", ""]),
    "--bondslaves": members,
    "--bootproto": st.sampled_from(["dhcp", "static", "bootp", "ibft", "query"]),
    "--bridgeopts": st.sampled_from(["stp=yes", "priority=9", "stp=x"]),
    "--bridgeslaves": members,
    "--device": names,
    "--dhcpclass": st.just("PXEClient"),
    "--ethtool": st.sampled_from(["-K eth0 gro off", "speed 10", "x"]),
    "--gateway": addresses,
    "--hostname": st.sampled_from(["a", "a.b", "-"]),
    "--interfacename": st.sampled_from(["vlan5", "v", "x.5"]),
    "--ip": addresses,
    "--ipv6": st.sampled_from(["auto", "dhcp"]) | addresses,
    "--ipv6gateway": addresses,
    "--mtu": numbers,
    "--nameserver": st.lists(addresses, max_size=2).map(",".join),
    "--netmask": st.sampled_from(["255.255.255.0", "255.0.255.0", "24"]),
    "--onboot": st.sampled_from(["yes", "no"]),
    "--vlanid": st.sampled_from(["5", "6", "0", "4095"]),
    "--ipv4-dns-search": st.sampled_from(["a.example", "a,b"]),
}
FLAGS = ["--noipv4", "--noipv6", "--nodefroute", "--nodns", "--activate", "--bindto=mac"]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "") + "'"


@st.composite
def network_lines(draw: st.DrawFn) -> str:
    options = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=6, unique=True))
    words = [f"{name}={quoted(draw(OPTIONS[name] | hostile))}" for name in options]
    return " ".join(["network", *words, *draw(st.lists(st.sampled_from(FLAGS), max_size=2))])


def parsed(lines: list[str]) -> Kickstart | None:
    """Return the lines as pykickstart takes them, or None if it does not."""
    flat = [part for line in lines for part in line.splitlines() or [""]]
    where = (Location(file="f.ks", line=n) for n in range(1, len(flat) + 1))
    try:
        return parse(tuple(map(Line, flat, where)), "RHEL9")
    except InputError:
        return None


def see_error(error: InputError) -> None:
    for each in (error, *error.also):
        assert each.where
        assert each.where.file == "f.ks"
        assert each.where.line
        assert each.what


def see_file(name: str, text: str) -> None:
    found = re.fullmatch(r"\d+-kickstart-[A-Za-z0-9.-]+\.(network|netdev|link)", name)
    assert found, name
    section = ""
    for line in text.splitlines():
        assert line.isprintable()
        assert not line.endswith("\\")
        if not line or line.startswith("#"):
            continue
        header = re.fullmatch(r"\[(\w+)\]", line)
        if header:
            section = header[1]
            assert section in SECTIONS[found[1]]
        else:
            assert section
            assert re.fullmatch(r"[A-Z][A-Za-z0-9]+=\S.*", line), line
    assert text.startswith("#")
    assert "[Match]" in text or found[1] == "netdev"


@settings(max_examples=150, deadline=None)
@given(st.lists(network_lines(), max_size=5))
def test_network_lines(lines: list[str]) -> None:
    kickstart = parsed(lines)
    if kickstart is None:
        return
    try:
        network = read_network(kickstart.all("network"))
    except InputError as error:
        see_error(error)
        return
    files = network_files(network)
    for name, text in files.items():
        see_file(name, text)
    # Each interface is named once; what is in a bond or bridge is there with no address.
    assert len({each.key for each in network.devices}) == len(network.devices)
    for device in network.devices:
        assert not (device.master and device.addresses)


sound = st.sampled_from(
    [
        "--device=eth0 --vlanid=5",
        "--device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=24 --gateway=192.0.2.1",
        "--device=bond0 --bondslaves=eth1,eth2",
        "--device=bond0 --vlanid=6 --mtu=1600",
        "--device=br0 --bridgeslaves=bond0 --noipv4 --ipv6=2001:db8::1",
        "--device=br1 --bridgeslaves=eth0.5",
        "--device=eth1 --bootproto=dhcp",
        "--device=br0 --vlanid=9 --nodefroute",
        "--device=link --bootproto=dhcp --hostname=a",
        "--device=52:54:00:12:34:56 --onboot=no",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(sound, unique=True).map(lambda lines: [f"network {each}" for each in lines]))
def test_lines_that_go_together_are_taken_in_any_order(lines: list[str]) -> None:
    kickstart = parsed(lines)
    assert kickstart
    for name, text in network_files(read_network(kickstart.commands)).items():
        see_file(name, text)


@st.composite
def firewall_lines(draw: st.DrawFn) -> str:
    ports = st.sampled_from(["22:tcp", "imap:tcp", "5900-5910:udp", "1:sctp", "0:tcp", "9-8:tcp"])
    options = {
        "--port": st.lists(ports, min_size=1, max_size=3).map(",".join) | hostile,
        "--service": st.sampled_from(["ssh", "ftp", "samba", "mdns", "nosuch"]) | hostile,
        "--remove-service": st.sampled_from(["ssh", "mdns"]) | hostile,
        "--trust": names | hostile,
    }
    given_ = draw(st.lists(st.sampled_from(sorted(options)), max_size=3))
    words = [f"{name}={quoted(draw(options[name]))}" for name in given_]
    flag = draw(st.sampled_from(["", "--enabled", "--disabled", "--use-system-defaults"]))
    return " ".join(["firewall", flag, *words])


_RULE = re.compile(
    r'iifname "[A-Za-z0-9_.-]+" accept'
    r"|(ip6? daddr [0-9a-f.:/]+ )?(meta l4proto \d+|(tcp|udp|sctp|dccp) dport \d+(-\d+)?) accept"
)


@settings(max_examples=150, deadline=None)
@given(st.lists(firewall_lines(), max_size=4))
def test_firewall_lines(lines: list[str]) -> None:
    kickstart = parsed(lines)
    if kickstart is None:
        return
    try:
        firewall = read_firewall(kickstart.all("firewall"))
    except InputError as error:
        see_error(error)
        return
    text = ruleset(firewall)
    rules = [line.strip() for line in text.splitlines()]
    first = rules.index("ip6 daddr fe80::/10 udp dport 546 accept") + 1
    last = rules.index("reject with icmpx admin-prohibited")
    assert all(_RULE.fullmatch(rule) for rule in rules[first:last])
    assert text.count("{") == text.count("}")
