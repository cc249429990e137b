"""What several network lines come to together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagebuilder.engines.direct.network.devices import read_network
from imagebuilder.engines.direct.network.files import network_files
from imagebuilder.errors import InputError

from .conftest import STATIC, Files, Parsed, section


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
