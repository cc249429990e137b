from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import Guest, written

from imagebuilder import sandbox
from imagebuilder.engines.direct.configure import configure
from imagebuilder.engines.direct.scripts import Runner
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Kickstart
from imagebuilder.progress import Event, Reporter

Parsed = Callable[[str], Kickstart]


@pytest.fixture
def tree(tmp_path: Path) -> Guest:
    return Guest.make(tmp_path)


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
    old = configured("timezone UTC --ntpservers=c,d\ntimesource --ntp-server=a\n")
    assert "NTP=c d a\n" in old.read("/etc/systemd/timesyncd.conf.d/kickstart.conf")
    written(tree.root, {"var/lib/dpkg/info/chrony.list": ""})
    made = configured(text)
    assert made.read("/etc/chrony/sources.d/kickstart.sources") == (
        "server a iburst\npool b iburst nts\n"
    )
    assert made.read("/etc/chrony/chrony.conf").startswith("# pool 2.debian")


def test_of_servers_and_their_absence_the_later_line_holds(
    configured: Callable[[str], Guest],
) -> None:
    off = configured("timesource --ntp-server=a\ntimesource --ntp-disable\n")
    assert off.calls() == ["systemctl disable chrony.service"]
    written(off.root, {"var/lib/dpkg/info/systemd-timesyncd.list": ""})
    text = "timesource --ntp-server=a\ntimezone UTC --nontp\ntimesource --ntp-server=b\n"
    on = configured(text).read("/etc/systemd/timesyncd.conf.d/kickstart.conf")
    assert on == "[Time]\nNTP=b\n"


def test_keyboards(configured: Callable[[str], Guest]) -> None:
    tree = configured("keyboard --vckeymap=de --xlayouts='de (nodeadkeys)','us'\n")
    assert tree.read("/etc/vconsole.conf") == "KEYMAP=de\n"
    text = tree.read("/etc/default/keyboard")
    assert 'XKBLAYOUT="de,us"' in text
    assert 'XKBVARIANT="nodeadkeys,"' in text
    assert 'XKBLAYOUT="de"' in configured("keyboard de-latin1\n").read("/etc/default/keyboard")
    switch = "keyboard --xlayouts=us,de --switch=grp:alt_shift_toggle\n"
    assert 'XKBOPTIONS="grp:alt_shift_toggle"' in configured(switch).read("/etc/default/keyboard")


def test_what_debian_13_links_at_every_boot_is_linked_that_way(
    tree: Guest, configured: Callable[[str], Guest]
) -> None:
    links = "L+ /etc/default/locale - - - - ../locale.conf\nL+ /etc/vconsole.conf - - - - x\n"
    written(tree.root, {"usr/lib/tmpfiles.d/debian.conf": links})
    configured("lang C.UTF-8\nkeyboard --vckeymap=de --xlayouts=de\n")
    assert tree.read("/etc/locale.conf") == "LANG=C.UTF-8\n"
    assert (tree.root / "etc/default/locale").readlink() == Path("../locale.conf")
    assert (tree.root / "etc/vconsole.conf").readlink() == Path("default/keyboard")
    assert "KEYMAP=de\n" in tree.read("/etc/vconsole.conf")
    assert 'XKBLAYOUT="de"' in tree.read("/etc/default/keyboard")


def test_a_layout_that_the_console_will_not_have_is_noted(
    tree: Guest, kickstart_of: Parsed
) -> None:
    (note,) = configure(tree, kickstart_of("lang C\nkeyboard de\n"))
    assert note.startswith("kickstarts/f.ks:2: the console keeps the layout us")
    assert configure(tree, kickstart_of("keyboard us\n")) == ()
    written(tree.root, {"bin/setupcon": ""})
    assert configure(tree, kickstart_of("keyboard de\n")) == ()


def test_locales_have_the_names_that_glibc_gives_them(configured: Callable[[str], Guest]) -> None:
    tree = configured("lang de_DE --addsupport=de_DE.utf8\n")
    assert tree.read("/etc/default/locale") == "LANG=de_DE.UTF-8\n"
    assert tree.read("/etc/locale.gen") == "de_DE.UTF-8 UTF-8\n"


def test_what_the_machine_boots_to(
    configured: Callable[[str], Guest], refused: Callable[[str], StepError]
) -> None:
    tree = configured("xconfig --startxonboot\nskipx\n")
    assert tree.calls() == ["systemctl set-default multi-user.target"]
    assert configured("skipx\nxconfig --startxonboot\n").calls()[-1:] == [
        "systemctl set-default graphical.target"
    ]
    assert "no gnome-session" in refused("xconfig --defaultdesktop=GNOME\n").what
    written(tree.root, {"usr/bin/startplasma-x11": ""})
    assert configured("xconfig --defaultdesktop=kde\n").calls()[-1] == (
        "update-alternatives --set x-session-manager /usr/bin/startplasma-x11"
    )


def test_nothing_asks_at_the_first_boot(tree: Guest, configured: Callable[[str], Guest]) -> None:
    written(tree.root, {"etc/gdm3/daemon.conf": "[daemon]\nA=b\n"})
    configured("firstboot --disable\n")
    unit = tree.root / "etc/systemd/system/systemd-firstboot.service"
    assert unit.readlink() == Path("/dev/null")
    assert tree.read("/etc/gdm3/daemon.conf") == "[daemon]\nInitialSetupEnable=false\nA=b\n"


def test_selinux(configured: Callable[[str], Guest]) -> None:
    assert "SELINUX=disabled\n" in configured("selinux --disabled\n").read("/etc/selinux/config")
    tree = configured("selinux --disabled\nselinux --permissive\n")
    assert tree.read("/etc/selinux/config").startswith("SELINUX=permissive\n")


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_certificates(configured: Callable[[str], Guest]) -> None:
    tree = configured(
        f"%certificate --filename=a.pem --dir=/etc/pki\n{CERTIFICATE}%end\n"
        f"%certificate --filename=ca.pem --type=anchor\n{CERTIFICATE}%end\n"
    )
    assert tree.read("/etc/pki/a.pem") == CERTIFICATE
    assert tree.read("/usr/local/share/ca-certificates/ca.crt") == CERTIFICATE
    assert tree.calls() == ["update-ca-certificates"]


def test_services(configured: Callable[[str], Guest], refused: Callable[[str], StepError]) -> None:
    tree = configured("services --enabled=ssh,getty@ttyS1.service --disabled=nosuch,ssh.service\n")
    assert tree.calls() == [
        "systemctl disable ssh.service",
        "systemctl enable ssh.service getty@ttyS1.service",
    ]
    error = refused("lang C\nservices --enabled=nosuch\n")
    assert "no unit nosuch.service" in error.what
    assert error.where
    assert error.where.line == 2


def test_what_is_written_does_not_tell_where_it_stood(configured: Callable[[str], Guest]) -> None:
    # A plan's ids do not follow from lines: neither may the bytes of the image.
    text = """
        network --device=eth0 --bootproto=dhcp --hostname=x
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
    (hashed,) = [call for call in calls if call.startswith("chpasswd --encrypted < kim:")]
    assert hashed.startswith("chpasswd --encrypted < kim:$y$j9T$")
    assert hashed.endswith("$hash-of-p")
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


def test_the_same_password_has_the_same_hash_and_each_user_another(
    configured: Callable[[str], Guest],
) -> None:
    text = "rootpw --plaintext geheim\nuser --name=kim --password=geheim --plaintext\n"
    first = [call for call in configured(text).calls() if "chpasswd" in call]
    again = [call for call in configured(text).calls() if "chpasswd" in call]
    assert again == first * 2
    salts = {call.partition(":")[2].split("$")[3] for call in first}
    assert len(salts) == 2
    assert all(len(salt) == 20 for salt in salts)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("group --name=sudo --gid=28\n", "group sudo has the id 27"),
        ("user --name=kim --groups=sudo(28)\n", "group sudo has the id 27"),
        ("user --name=kim --shell=/bin/zsh\n", "no /bin/zsh"),
    ],
)
def test_accounts_that_cannot_be(refused: Callable[[str], StepError], text: str, what: str) -> None:
    error = refused(text)
    assert what in error.what
    assert error.fix


def test_a_group_that_is_there_stays(configured: Callable[[str], Guest]) -> None:
    assert configured("group --name=sudo\ngroup --name=sudo --gid=27\n").calls() == []


# ----- scripts ------------------------------------------------------------------------------------


@pytest.fixture
def scripted(
    tmp_path: Path, kickstart_of: Parsed, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[tuple[str, ...], Tree, list[Event]]]:
    """Runs scripts in an empty tree as if it held the host's programs."""
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    monkeypatch.setattr(
        sandbox, "in_chroot", lambda folder, argv: [argv[0], f"{folder}{argv[1]}", *argv[2:]]
    )
    # As if /tmp were the folder that stands for it; test_sandbox.py has the real thing.
    monkeypatch.setattr(
        sandbox,
        "with_private_tmp",
        lambda argv, tmp, folder: [argv[0], argv[1].replace("/tmp", str(tmp), 1)],
    )
    for name in ("project", "private", "logs"):
        (tmp_path / name).mkdir()

    def make(text: str, *kinds: Any) -> tuple[tuple[str, ...], Tree, list[Event]]:
        events: list[Event] = []
        tree = Tree(root=root, log=tmp_path / "logs/configure.log", epoch=7)
        runner = Runner(
            kickstart=kickstart_of(text),
            project=tmp_path / "project",
            tmp=tmp_path / "private",
            logs=tmp_path / "logs",
            epoch=7,
            reporter=Reporter(subject="r", observer=events.append),
        )
        notes: tuple[str, ...] = ()
        for kind in kinds or ("post",):
            if kind == "onerror":
                runner.after_failure(None)
            else:
                notes += runner.run_all(kind, tree if kind == "post" else None)
        return notes, tree, events

    return make


Scripted = Callable[..., tuple[tuple[str, ...], Tree, list[Event]]]


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


def test_scripts_outside_share_a_folder_for_temporary_files(
    scripted: Scripted, tmp_path: Path
) -> None:
    private = tmp_path / "private"
    _, tree, _ = scripted(
        f"""
        %pre --log=/tmp/logs/pre.log
        echo of pre; touch {private}/by-pre
        %end
        %pre-install --log=/etc/hosts
        ls {private}
        %end
        %post --nochroot --log=/mnt/sysimage/root/post.log
        ls {private}
        %end
        %post --nochroot --log=/tmp/../../outside
        true
        %end
        """,
        "pre",
        "pre-install",
        "post",
    )
    assert (private / "logs/pre.log").read_text() == "of pre\n"
    assert "by-pre" in tree.read("/root/post.log")
    assert "by-pre" in (tree.log.parent / "pre-install-1.log").read_text()
    assert "by-pre" not in Path("/etc/hosts").read_text()
    assert sorted(path.name for path in private.iterdir()) == ["by-pre", "logs"]
    assert not (tmp_path / "outside").exists()


def test_what_is_run_after_a_failure_never_fails(scripted: Scripted) -> None:
    text = "%onerror --erroronfail\necho seen\nexit 9\n%end\n%onerror --interpreter=/no\n%end\n"
    _, tree, events = scripted(text, "onerror")
    assert "seen" in (tree.log.parent / "onerror-1.log").read_text()
    assert "%onerror failed with exit status 9" in "".join(each.text for each in events)
