"""What firewall lines come to, and what is refused of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import Guest, written

from imagebuilder.engines.direct import firewall
from imagebuilder.engines.direct.firewall.ruleset import read_firewall, ruleset
from imagebuilder.engines.direct.firewall.services import (
    DESTINATIONS,
    PROTOCOLS,
    SERVICES,
    entries,
    port_number,
)
from imagebuilder.errors import InputError, StepError
from imagebuilder.kickstart import Kickstart

Parsed = Callable[[str], Kickstart]


@pytest.fixture
def rules(kickstart_of: Parsed) -> Callable[[str], list[str]]:
    """Returns the rules of the chain ``input`` that are not in every ruleset."""

    def make(text: str) -> list[str]:
        made = read_firewall(kickstart_of(text).all("firewall"))
        lines = [line.strip() for line in ruleset(made).splitlines()]
        first = lines.index("ip6 daddr fe80::/10 udp dport 546 accept") + 1
        return lines[first : lines.index("reject with icmpx admin-prohibited")]

    return make


def test_several_lines_add_up(rules: Callable[[str], list[str]]) -> None:
    made = rules("""
        firewall --enabled --ssh --port=5900-5999:tcp,53:udp
        firewall --service=ntp,libvirt --trust=br0 --trust=eth1.5
        firewall --enabled --port=8080:tcp,imap:tcp,9 --ssh
        """)
    assert sorted(made) == sorted(
        [
            'iifname "br0" accept',
            'iifname "eth1.5" accept',
            "tcp dport 22 accept",
            "udp dport 123 accept",
            "tcp dport 16509 accept",
            "tcp dport 5900-5999 accept",
            "udp dport 53 accept",
            "tcp dport 8080 accept",
            "tcp dport 143 accept",
            "tcp dport 9 accept",
        ]
    )


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("--service=dns", ["tcp dport 53 accept", "udp dport 53 accept"]),
        (
            "--service=samba",
            [
                "udp dport 137 accept",
                "udp dport 138 accept",
                "tcp dport 139 accept",
                "tcp dport 445 accept",
            ],
        ),
        (
            "--service=mdns",
            [
                "ip daddr 224.0.0.251 udp dport 5353 accept",
                "ip6 daddr ff02::fb udp dport 5353 accept",
            ],
        ),
        ("--service=dhcpv6-client", []),  # it is in every ruleset
        ("--service=gre", ["meta l4proto 47 accept"]),
        ("--http", ["tcp dport 80 accept"]),
        ("--smtp", ["tcp dport 25 accept"]),
        ("--port=7000:sctp,7001:dccp", ["sctp dport 7000 accept", "dccp dport 7001 accept"]),
        ("--port=domain:udp", ["udp dport 53 accept"]),
        ("--port=vnc-server:tcp", []),
        ("--port=5-5:tcp", ["tcp dport 5 accept"]),
        ("--enabled", []),
    ],
)
def test_services_and_ports(
    kickstart_of: Parsed, rules: Callable[[str], list[str]], line: str, wanted: list[str]
) -> None:
    if line == "--port=vnc-server:tcp":  # it has four ports
        with pytest.raises(InputError, match="is no port"):
            rules(f"firewall {line}\n")
        return
    assert rules(f"firewall {line}\n") == wanted


def test_a_service_is_removed_by_a_later_line(rules: Callable[[str], list[str]]) -> None:
    text = "firewall --service=ssh,http --port=80:tcp\nfirewall --remove-service=ssh,http\n"
    assert rules(text) == ["tcp dport 80 accept"]
    assert rules(f"{text}firewall --ssh\n") == ["tcp dport 22 accept", "tcp dport 80 accept"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("--port=70000:tcp", "70000"),
        ("--port=0:tcp", "0"),
        ("--port=90-80:tcp", "90-80"),
        ("--port=no-such:tcp", "no-such"),
        ("--port=22:icmp", "icmp"),
        ("--port=22:tcp:udp", "22:tcp:udp"),
        ("--port=", "is no port"),
        ("--service=nosuch", "nosuch"),
        ("--remove-service=nosuch", "nosuch"),
        ("--service=ss.", "ss."),
        ("--service=ssh --remove-service=ssh", "let in and removed"),
        ('--trust="br0 x"', "br0 x"),
        ("--trust=eth0,eth1", "eth0,eth1"),
        ("--trust=eth0;accept", "eth0;accept"),
        ("--trust='a\"'", "is no interface"),
    ],
)
def test_bad_lines_are_refused(kickstart_of: Parsed, line: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        firewall.check(kickstart_of(f"lang C\nfirewall --enabled {line}\n").all("firewall"))
    assert what in caught.value.what
    assert caught.value.where
    assert caught.value.where.line == 2
    assert caught.value.fix


def test_notes(kickstart_of: Parsed) -> None:
    def notes(text: str) -> tuple[str, ...]:
        return firewall.check(kickstart_of(text).all("firewall"))

    (note,) = notes("firewall --enabled --http\n")
    assert note.startswith("kickstarts/f.ks:1: firewall: SSH is not let in")
    assert notes("firewall --enabled --port=22\n") == ()
    assert notes("firewall --enabled --trust=eth0\n") == ()
    assert notes("firewall --disabled\n") == ()
    (note,) = notes("firewall --disabled --ssh\n")
    assert "no effect beside --disabled" in note
    (note,) = notes("firewall --use-system-defaults --ssh\n")
    assert "no effect beside --use-system-defaults" in note


def test_every_service_comes_to_rules() -> None:
    for name in SERVICES:
        found = entries(name)
        assert found, name
        for owner, entry in found:
            numbers, slash, protocol = entry.partition("/")
            assert owner in SERVICES
            assert entry in PROTOCOLS or protocol in ("tcp", "udp", "sctp"), name
            if slash:
                first, _, last = numbers.partition("-")
                assert 0 < int(first) <= int(last or first) < 65536, name
    assert set(DESTINATIONS) <= set(SERVICES)
    assert port_number("ssh") == 22
    assert port_number("www") == 80
    assert port_number("samba") is None


# ----- the tree -----------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Guest:
    modules = "usr/lib/modules/6.1.0/kernel/net/netfilter"
    written(
        tmp_path / "root", {"usr/sbin/nft": "", f"{modules}/nf_conntrack_ftp.ko": "", "etc/x": ""}
    )
    return Guest(root=tmp_path / "root", log=tmp_path / "log", epoch=0)


def test_a_ruleset_is_written_and_loaded_at_boot(tree: Guest, kickstart_of: Parsed) -> None:
    firewall.configure(tree, kickstart_of("firewall --enabled --ftp\n").commands)
    text = tree.read("/etc/nftables.conf")
    for line in (
        "flush ruleset",
        "type filter hook input priority filter; policy drop;",
        "ct state established,related accept",
        'meta l4proto { 1, 58 } accept comment "ICMP, ICMPv6"',
        "ct helper ftp {",
        'tcp dport 21 ct helper set "ftp"',
    ):
        assert line in text
    assert tree.path("/etc/nftables.conf").stat().st_mode & 0o111
    assert tree.calls() == ["systemctl enable nftables.service"]
    firewall.configure(tree, kickstart_of("firewall --enabled --ssh\n").commands)
    assert "ct helper" not in tree.read("/etc/nftables.conf")


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("firewall --enabled --ssh\nfirewall --disabled\n", ["systemctl disable nftables.service"]),
        ("firewall --enabled --ssh\nfirewall --use-system-defaults\n", []),
        ("lang C\n", []),
    ],
)
def test_no_ruleset(tree: Guest, kickstart_of: Parsed, text: str, calls: list[str]) -> None:
    firewall.configure(tree, kickstart_of(text).all("firewall"))
    assert not tree.exists("/etc/nftables.conf")
    assert tree.calls() == calls


def test_a_later_line_switches_it_on_again(tree: Guest, kickstart_of: Parsed) -> None:
    text = "firewall --disabled\nfirewall --port=9:udp\n"
    firewall.configure(tree, kickstart_of(text).commands)
    assert "udp dport 9 accept" in tree.read("/etc/nftables.conf")


def test_what_the_image_lacks(tree: Guest, kickstart_of: Parsed) -> None:
    tree.remove("/usr/lib/modules/6.1.0/kernel/net/netfilter/nf_conntrack_ftp.ko")
    with pytest.raises(StepError, match="FTP"):
        firewall.configure(tree, kickstart_of("firewall --ftp\n").commands)
    tree.remove("/usr/sbin/nft")
    with pytest.raises(StepError) as caught:
        firewall.configure(tree, kickstart_of("lang C\nfirewall --ssh\n").all("firewall"))
    assert "add the package nftables" in caught.value.fix
    assert caught.value.where
    assert caught.value.where.line == 2
    firewall.configure(tree, kickstart_of("firewall --disabled\n").commands)
    assert tree.calls() == []
