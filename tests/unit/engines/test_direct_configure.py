from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import written

from imagebuilder import sandbox
from imagebuilder.engines.direct import firewall, network, scripts
from imagebuilder.engines.direct.configure import configure
from imagebuilder.engines.direct.network import network_file
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Kickstart
from imagebuilder.progress import Event, Reporter

Parsed = Callable[[str], Kickstart]


class Guest(Tree):
    """A tree in which programs are noted, not run."""

    def calls(self) -> list[str]:
        path = self.log.with_name("calls")
        return path.read_text().splitlines() if path.exists() else []

    def run(self, argv: Any, *, stdin: str | None = None, **_: Any) -> Any:
        with self.log.with_name("calls").open("a") as file:
            file.write(" ".join(argv) + (f" < {stdin.strip()}" if stdin else "") + "\n")


@pytest.fixture
def tree(tmp_path: Path) -> Guest:
    root = tmp_path / "root"
    written(
        root,
        {
            "etc/passwd": "root:x:0:0::/root:/bin/bash\nop:x:1000:1001::/home/op:/bin/sh\n",
            "etc/group": "root:x:0:\nsudo:x:27:\n",
            "etc/services": "ssh\t\t22/tcp\t\t\t# SSH\nntp\t123/udp\nssh2 23/tcp\n",
            "usr/lib/systemd/system/systemd-networkd.service": "",
            "usr/lib/systemd/system/ssh.service": "",
            "usr/lib/systemd/system/getty@.service": "",
            "usr/sbin/nft": "",
            "usr/sbin/locale-gen": "",
            "usr/share/i18n/SUPPORTED": "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\n",
            "usr/share/zoneinfo/Europe/Berlin": "",
            "usr/share/zoneinfo/UTC": "",
        },
    )
    return Guest(root=root, log=tmp_path / "log", epoch=0)


@pytest.fixture
def configured(tree: Guest, kickstart_of: Parsed) -> Callable[[str], Guest]:
    def make(text: str) -> Guest:
        configure(tree, kickstart_of(text))
        return tree

    return make


@pytest.fixture
def refused(configured: Callable[[str], Guest]) -> Callable[[str], StepError]:
    def make(text: str) -> StepError:
        with pytest.raises(StepError) as caught:
            configured(text)
        assert caught.value.where
        assert caught.value.where.file == "kickstarts/f.ks"
        return caught.value

    return make


# ----- network ------------------------------------------------------------------------------------


@pytest.fixture
def networked(kickstart_of: Parsed) -> Callable[[str], list[str]]:
    def make(line: str) -> list[str]:
        text = network_file(kickstart_of(f"network {line}\n").commands[0])
        return [each for each in text.splitlines() if each and not each.startswith("#")]

    return make


STATIC = "--bootproto=static --ip=192.0.2.5 --netmask=255.255.255.0"


@pytest.mark.parametrize(
    ("line", "wanted", "unwanted"),
    [
        ("--device=eth0 --bootproto=dhcp", ["Name=eth0", "DHCP=ipv4", "IPv6AcceptRA=yes"], []),
        ("--device=link --bootproto=dhcp", ["Type=ether", "Kind=!*"], ["Name=link"]),
        ("--bootproto=dhcp", ["Type=ether"], []),
        ("--device=eth0 --ipv6=dhcp", ["DHCP=yes", "IPv6AcceptRA=yes"], []),
        ("--device=eth0 --noipv4 --ipv6=dhcp", ["DHCP=ipv6"], []),
        (
            "--device=eth0 --noipv6",
            ["DHCP=ipv4", "IPv6AcceptRA=no", "LinkLocalAddressing=no"],
            [],
        ),
        (
            f"--device=eth0 {STATIC} --gateway=192.0.2.1 --nameserver=192.0.2.2,2001:db8::2",
            ["Address=192.0.2.5/24", "Gateway=192.0.2.1", "DNS=192.0.2.2", "DNS=2001:db8::2"],
            ["DHCP=ipv4", "DHCP=yes"],
        ),
        (
            f"--device=eth0 {STATIC} --ipv6=2001:db8::5/64 --ipv6gateway=2001:db8::1",
            ["Address=192.0.2.5/24", "Address=2001:db8::5/64", "Gateway=2001:db8::1", "DHCP=no"],
            ["IPv6AcceptRA=yes"],
        ),
        ("--device=52:54:00:12:34:56", ["MACAddress=52:54:00:12:34:56"], []),
        ("--device=eth0 --mtu=9000", ["[Link]", "MTUBytes=9000"], []),
        ("--device=en*", ["Name=en*"], ["[Link]"]),
    ],
)
def test_network_files(
    networked: Callable[[str], list[str]], line: str, wanted: list[str], unwanted: list[str]
) -> None:
    made = networked(line)
    assert {each for each in wanted if each not in made} == set()
    assert {each for each in unwanted if each in made} == set()
    assert made.count("[Network]") == made.count("[Match]") == 1


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("--device=eth0 --bootproto=static --ip=192.0.2.5", "needs --netmask"),
        ("--device=eth0 --bootproto=static --ip=192.0.2 --netmask=255.255.255.0", "192.0.2"),
        ("--device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=255.0.255.0", "255.0.255.0"),
        (f"--device=eth0 {STATIC} --gateway=gw", "gw is no address"),
        (f"--device=eth0 {STATIC} --nameserver=192.0.2.2,dns", "dns is no address"),
        ("--device=eth0 --ipv6=2001:db8::zz/64", "2001:db8::zz/64"),
        ("--device=eth0/../x", "is no interface"),
        ("--device=averyveryverylongname", "is no interface"),
        # What has no effect where it stands is not dropped in silence.
        ("--device=eth0 --ip=192.0.2.5 --netmask=255.255.255.0", "needs --bootproto=static"),
        ("--device=eth0 --bootproto=dhcp --gateway=192.0.2.1", "needs --bootproto=static"),
        ("--device=eth0 --mtu=jumbo", "--mtu=jumbo"),
        ("--device=eth0 --bootproto=ibft", "ibft"),
    ],
)
def test_bad_network_lines_are_refused(
    refused: Callable[[str], StepError], line: str, what: str
) -> None:
    error = refused(f"lang C\nnetwork {line}\n")
    assert what in error.what
    assert error.where
    assert error.where.line == 2


def names(tree: Tree) -> list[str]:
    return sorted(path.name for path in (tree.root / "etc/systemd/network").iterdir())


def test_a_later_and_a_more_exact_line_is_found_first(configured: Callable[[str], Guest]) -> None:
    tree = configured("""
        network --device=eth0 --bootproto=dhcp --mtu=1001
        network --device=link --bootproto=dhcp --mtu=1002
        network --device=eth1 --bootproto=dhcp --mtu=1003
        network --device=eth0 --bootproto=dhcp --mtu=1004
        network --device=en* --bootproto=dhcp --mtu=1005
        """)
    files = [(tree.root / "etc/systemd/network" / each).read_text() for each in names(tree)]
    found = [text.partition("MTUBytes=")[2].splitlines()[0] for text in files]
    assert found == ["1004", "1003", "1001", "1005", "1002"]
    assert tree.calls().count("systemctl enable systemd-networkd.service") == 1


def test_host_names(
    configured: Callable[[str], Guest], refused: Callable[[str], StepError]
) -> None:
    tree = configured("network --hostname=a.example.org\n")
    assert tree.read("/etc/hostname") == "a.example.org\n"
    assert not tree.exists("/etc/systemd/network")
    for name in ("-a", "a_b", "a/b", "a" * 70):
        assert "host name" in refused(f"network --hostname={name}\n").what


def test_no_networkd(tree: Guest, refused: Callable[[str], StepError]) -> None:
    tree.remove("/usr/lib/systemd/system/systemd-networkd.service")
    assert "no systemd-networkd" in refused("network --device=eth0\n").what
    assert network.configure(tree, ()) is None  # type: ignore[func-returns-value]


# ----- firewall -----------------------------------------------------------------------------------


def test_a_ruleset_adds_up(configured: Callable[[str], Guest]) -> None:
    tree = configured("""
        firewall --enabled --ssh --port=5900-5999:tcp,53:udp
        firewall --service=ntp,libvirt --trust=br0
        firewall --enabled --port=8080:tcp --ssh
        """)
    rules = [line.strip() for line in tree.read("/etc/nftables.conf").splitlines()]
    for rule in (
        "type filter hook input priority filter; policy drop;",
        "tcp dport 22 accept",
        "tcp dport 5900-5999 accept",
        "udp dport 53 accept",
        "udp dport 123 accept",
        "tcp dport 16509 accept",
        'iifname "br0" accept',
        "tcp dport 8080 accept",
        "iif lo accept",
    ):
        assert rules.count(rule) == 1, rule
    assert (tree.root / "etc/nftables.conf").stat().st_mode & 0o111
    assert "systemctl enable nftables.service" in tree.calls()


def test_a_last_line_switches_it_off(configured: Callable[[str], Guest]) -> None:
    tree = configured("firewall --enabled --ssh\nfirewall --disabled\n")
    assert not tree.exists("/etc/nftables.conf")
    assert tree.calls() == ["systemctl disable nftables.service"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("--port=70000:tcp", "70000"),
        ("--port=0:tcp", "0"),
        ("--port=90-80:tcp", "90-80"),
        ("--port=imap:tcp", "imap"),
        ("--port=22:sctp", "sctp"),
        ("--service=nosuch", "nosuch"),
        ("--service=ss.", "ss."),
        ('--trust="br0 x"', "br0 x"),
        ("--trust=eth0;accept", "eth0;accept"),
    ],
)
def test_bad_firewall_lines_are_refused(
    refused: Callable[[str], StepError], line: str, what: str
) -> None:
    error = refused(f"lang C\nfirewall --enabled {line}\n")
    assert what in error.what
    assert error.where
    assert error.where.line == 2


def test_no_nftables(tree: Guest, refused: Callable[[str], StepError]) -> None:
    tree.remove("/usr/sbin/nft")
    error = refused("firewall --enabled --ssh\n")
    assert "add the package nftables" in error.fix
    assert firewall.configure(tree, ()) is None  # type: ignore[func-returns-value]


# ----- language, time, services -------------------------------------------------------------------


def test_language(configured: Callable[[str], Guest], refused: Callable[[str], StepError]) -> None:
    tree = configured("lang de_DE.UTF-8\n")
    assert tree.read("/etc/default/locale") == "LANG=de_DE.UTF-8\n"
    assert tree.read("/etc/locale.gen") == "de_DE.UTF-8 UTF-8\n"
    assert tree.calls() == ["locale-gen"]
    assert "no such locale" in refused("lang xx_XX.UTF-8\n").what
    tree.remove("/usr/sbin/locale-gen")
    assert "add the package locales" in refused("lang de_DE.UTF-8\n").fix
    configured("lang C.UTF-8\n")


def test_time(configured: Callable[[str], Guest], refused: Callable[[str], StepError]) -> None:
    tree = configured("timezone Europe/Berlin --utc\n")
    assert (tree.root / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Europe/Berlin")
    assert tree.read("/etc/timezone") == "Europe/Berlin\n"
    assert tree.read("/etc/adjtime").splitlines()[2] == "UTC"
    assert configured("timezone UTC\n").read("/etc/adjtime").splitlines()[2] == "LOCAL"
    assert "no such zone" in refused("timezone Europe/Atlantis\n").what
    tree.remove("/usr/share/zoneinfo/UTC")
    assert "tzdata" in refused("timezone Europe/Atlantis\n").fix
    configured("timezone UTC\n")
    assert not tree.exists("/etc/localtime")


def test_clocks(
    tree: Guest, configured: Callable[[str], Guest], refused: Callable[[str], StepError]
) -> None:
    text = "timesource --ntp-server=a\ntimesource --ntp-pool=b --nts\n"
    assert "nothing that sets the clock" in refused(text).what
    written(tree.root, {"var/lib/dpkg/info/systemd-timesyncd.list": ""})
    assert "NTS" in refused(text).what
    assert "NTP=a\n" in configured("timesource --ntp-server=a\n").read(
        "/etc/systemd/timesyncd.conf.d/kickstart.conf"
    )
    written(tree.root, {"var/lib/dpkg/info/chrony.list": ""})
    assert configured(text).read("/etc/chrony/sources.d/kickstart.sources") == (
        "server a iburst\npool b iburst nts\n"
    )


def test_keyboards(configured: Callable[[str], Guest]) -> None:
    tree = configured("keyboard --vckeymap=de --xlayouts='de (nodeadkeys)','us'\n")
    assert tree.read("/etc/vconsole.conf") == "KEYMAP=de\n"
    text = tree.read("/etc/default/keyboard")
    assert 'XKBLAYOUT="de,us"' in text
    assert 'XKBVARIANT="nodeadkeys,"' in text
    assert 'XKBLAYOUT="de"' in configured("keyboard de-latin1\n").read("/etc/default/keyboard")


def test_services(configured: Callable[[str], Guest], refused: Callable[[str], StepError]) -> None:
    tree = configured("services --enabled=ssh,getty@ttyS1.service --disabled=nosuch,ssh.service\n")
    assert tree.calls() == [
        "systemctl disable ssh.service",
        "systemctl enable ssh.service",
        "systemctl enable getty@ttyS1.service",
    ]
    error = refused("lang C\nservices --enabled=nosuch\n")
    assert "no unit nosuch.service" in error.what
    assert error.where
    assert error.where.line == 2


def test_what_is_written_does_not_tell_where_it_stood(configured: Callable[[str], Guest]) -> None:
    # A plan's ids do not follow from lines: neither may the bytes of the image.
    text = """
        network --device=eth0 --bootproto=dhcp --hostname=x
        firewall --enabled --ssh
        lang C.UTF-8
        timezone UTC
        keyboard us
        """

    def files(tree: Guest) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tree.root.rglob("*") if path.is_file()}

    first = files(configured(text))
    assert files(configured("# moved\n\n" + "\n".join(map(str.strip, text.splitlines())))) == first


# ----- accounts -----------------------------------------------------------------------------------


def test_accounts(configured: Callable[[str], Guest]) -> None:
    tree = configured("""
        rootpw --iscrypted $6$x
        group --name=staff --gid=1500
        user --name=kim --uid=1200 --gid=1600 --groups=sudo,extra(1700) --password=p --lock
        """)
    calls = tree.calls()
    assert "groupadd --gid 1500 -- staff" in calls
    assert "groupadd --gid 1600 -- kim" in calls
    assert "groupadd --gid 1700 -- extra" in calls
    assert not any("sudo" in call for call in calls if call.startswith("groupadd"))
    (useradd,) = [call for call in calls if call.startswith("useradd")]
    assert "--uid 1200" in useradd
    assert "--groups sudo,extra" in useradd
    assert "chpasswd --encrypted < root:$6$x" in calls
    assert "chpasswd < kim:p" in calls
    assert "passwd --lock kim" in calls
    # No password is an argument: those stand in logs and in the list of processes.
    assert not any("$6$x" in call.partition(" < ")[0] for call in calls)


def test_keys(configured: Callable[[str], Guest], refused: Callable[[str], StepError]) -> None:
    tree = configured(
        'sshkey --username=op "ssh-ed25519 AAAA one"\nsshkey --username=op "ssh-ed25519 BBBB"\n'
    )
    file = tree.root / "home/op/.ssh/authorized_keys"
    assert file.read_text() == "ssh-ed25519 AAAA one\nssh-ed25519 BBBB\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "chown -h 1000:1001 /home/op/.ssh /home/op/.ssh/authorized_keys" in tree.calls()
    assert "add: user --name=nosuch" in refused('sshkey --username=nosuch "k"\n').fix


# ----- scripts ------------------------------------------------------------------------------------


@pytest.fixture
def scripted(
    tmp_path: Path, kickstart_of: Parsed, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[tuple[str, ...], Tree, list[Event]]]:
    """Runs scripts in an empty tree as if it held the host's programs."""
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    monkeypatch.setattr(
        sandbox, "in_chroot", lambda folder, argv: [argv[0], f"{folder}{argv[1]}", *argv[2:]]
    )
    project = tmp_path / "project"
    project.mkdir()

    def make(text: str) -> tuple[tuple[str, ...], Tree, list[Event]]:
        events: list[Event] = []
        tree = Tree(root=root, log=tmp_path / "logs/configure.log", epoch=7)
        reporter = Reporter(subject="r", observer=events.append)
        return scripts.run_all(tree, kickstart_of(text), project, reporter), tree, events

    return make


Scripted = Callable[[str], tuple[tuple[str, ...], Tree, list[Event]]]


def test_scripts_run_in_order_with_their_logs(scripted: Scripted) -> None:
    notes, tree, events = scripted("""
        %post --erroronfail --log=/root/x.log
        echo one; echo $SOURCE_DATE_EPOCH
        %end
        %post --interpreter=/usr/bin/python3
        print("two")
        %end
        %post --nochroot
        pwd
        %end
        """)
    assert notes == ()
    logs = tree.log.parent
    assert "\none\n7\n" in (logs / "post-1.log").read_text()
    assert "\ntwo\n" in (logs / "post-2.log").read_text()
    assert "/project\n" in (logs / "post-3.log").read_text()
    assert tree.read("/root/x.log") == "one\n7\n"
    assert [each.done for each in events] == [1, 2, 3]
    assert list((tree.root / "tmp").iterdir()) == []


def test_a_script_that_must_not_fail(scripted: Scripted, tmp_path: Path) -> None:
    text = "%post --erroronfail\necho why >&2\nexit 3\n%end\n%post\ntouch /x\n%end\n"
    with pytest.raises(StepError, match="exit status 3") as caught:
        scripted(text)
    error = caught.value
    assert str(error.where) == "kickstarts/f.ks:1"
    assert error.excerpt.splitlines()[-1] == "why"
    assert error.log
    assert "why" in error.log.read_text()
    assert not (tmp_path / "logs/post-2.log").exists()
    assert list((tmp_path / "root/tmp").iterdir()) == []


def test_a_script_that_may_fail_is_noted(scripted: Scripted) -> None:
    notes, _, events = scripted("lang C\n%post\nexit 4\n%end\n%post\ntrue\n%end\n")
    (note,) = notes
    assert note.startswith("kickstarts/f.ks:2: %post failed with exit status 4")
    assert any(each.kind == "note" for each in events)


def test_a_script_whose_interpreter_is_not_there(scripted: Scripted) -> None:
    with pytest.raises(StepError):
        scripted("%post --erroronfail --interpreter=/no/such\ntrue\n%end\n")
