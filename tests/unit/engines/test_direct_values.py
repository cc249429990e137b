"""Values that cannot be applied, and packages that are missing, are refused before all work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagebuilder.engines.direct import needs, package_options, selinux, values
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Kickstart

Parsed = Callable[[str], Kickstart]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("lang 'de DE'", "no locale"),
        ("lang de_DE.UTF-8 --addsupport='fr;x'", "no locale"),
        ("keyboard 'a\"b'", "no layout"),
        ("keyboard us --switch='$(x)'", "no option"),
        ("timezone ../../etc/passwd", "no time zone"),
        ("timesource --ntp-server='a b'", "no time server"),
        ("rootpw --iscrypted geheim", "is no hash"),
        ("user --name=kim --password=geheim --iscrypted", "is no hash"),
        ("user --name=0kim", "no name of a user"),
        ("user --name=kim --groups='a(x)'", "no group"),
        ("user --name=kim --homedir=home", "no absolute path"),
        ("user --name=kim --gecos='a:b'", "--gecos"),
        ("group --name=-x", "no name of a group"),
        ("sshkey --username=kim 'AAAA'", "no public key"),
        ("services --enabled='a;b'", "no name of a unit"),
        ("xconfig --defaultdesktop=CDE", "--defaultdesktop=CDE is unknown"),
    ],
)
def test_bad_values_have_their_line(kickstart_of: Parsed, line: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        values.check(kickstart_of(f"reboot\n{line}\n"))
    assert what in caught.value.what
    assert caught.value.where
    assert caught.value.where.line == 2


GOOD = f"""
lang de_DE@euro --addsupport=C.UTF-8,fr_FR.utf8
keyboard --vckeymap=de-latin1 --xlayouts='de (nodeadkeys)',us --switch=grp:alt_shift_toggle
timezone America/Argentina/Buenos_Aires --utc --ntpservers=192.0.2.1,ntp.example.org
timesource --ntp-server=2001:db8::1
rootpw --iscrypted $y$j9T$abc$def
user --name=kim_1 --groups=a,b(12) --homedir=/srv/kim --gecos="Kim, Room 1"
user --name=lee --iscrypted --password=!
sshkey --username=kim_1 'from="192.0.2.0/24",no-pty {KEY} kim@home'
services --enabled=ssh,getty@ttyS1.service --disabled=a\\\\x2db.mount
xconfig --defaultdesktop=Gnome
%packages --inst-langs=de:fr_FR
%end
%certificate --filename=a.pem --dir=/etc/pki
{CERTIFICATE}%end
"""


def test_good_values_pass(kickstart_of: Parsed) -> None:
    values.check(kickstart_of(GOOD))


@pytest.mark.parametrize(
    ("header", "body", "what"),
    [
        ("--filename=a/b --dir=/x", CERTIFICATE, "no name of a file"),
        ("--filename=a --dir=x", CERTIFICATE, "no absolute path"),
        ("--filename=a --dir=/x/../y", CERTIFICATE, "no absolute path"),
        ("--filename=a --type=other", CERTIFICATE, "unknown"),
        ("--filename=a --dir=/x", "text\n", "no certificate"),
    ],
)
def test_bad_certificates(kickstart_of: Parsed, header: str, body: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        values.check(kickstart_of(f"lang C\n%certificate {header}\n{body}%end\n"))
    assert str(caught.value.where) == "kickstarts/f.ks:2"


def test_a_user_is_made_once(kickstart_of: Parsed) -> None:
    with pytest.raises(InputError, match="made twice") as caught:
        values.check(kickstart_of("user --name=kim\nuser --name=lee\nuser --name=kim\n"))
    assert str(caught.value.where) == "kickstarts/f.ks:3"
    assert "kickstarts/f.ks:1" in caught.value.what


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("lang de_DE.UTF-8", "locales"),
        ("timezone Europe/Berlin", "tzdata"),
        ("timesource --ntp-server=a", "systemd-timesyncd"),
        ("timezone UTC --ntpservers=a", "systemd-timesyncd"),
        ("timesource --ntp-server=a --nts", "chrony"),
        ("rootpw --allow-ssh --lock", "openssh-server"),
        ("selinux --permissive", "selinux-basics"),
        ("xconfig --startxonboot", "gdm3"),
        ("xconfig --defaultdesktop=KDE", "plasma-workspace"),
        (f"%certificate --filename=a --type=anchor\n{CERTIFICATE}%end", "ca-certificates"),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_needs_it(
    kickstart_of: Parsed, line: str, missing: str
) -> None:
    kickstart = kickstart_of(f"reboot\n{line}\n")
    with pytest.raises(InputError) as caught:
        needs.check(kickstart, {"bash": "5"})
    assert str(caught.value.where) == "kickstarts/f.ks:2"
    assert f"add {missing} to %packages" == caught.value.fix
    names = ("locales", "tzdata", "chrony", "openssh-server", "gdm3", "plasma-workspace")
    more = ("systemd-timesyncd", "ca-certificates", *selinux.PACKAGES)
    needs.check(kickstart, dict.fromkeys((*names, *more), "1"))


@pytest.mark.parametrize(
    "line",
    [
        "lang C.UTF-8",
        "lang POSIX --addsupport=C.utf8",
        "timezone Etc/UTC --nontp",
        "timesource --ntp-server=a\ntimesource --ntp-disable",
        "xconfig --startxonboot\nskipx",
        "selinux --disabled",
    ],
)
def test_what_needs_nothing(kickstart_of: Parsed, line: str) -> None:
    needs.check(kickstart_of(f"{line}\n"), {})


def test_selinux_needs_a_mode_and_an_argument(kickstart_of: Parsed) -> None:
    permissive = kickstart_of("selinux --permissive\n")
    error = selinux.problem(permissive, ("quiet",))
    assert error
    assert "security=selinux" in error.fix
    assert selinux.problem(permissive, ("security=selinux",)) is None
    assert selinux.problem(kickstart_of("selinux --disabled\n"), ()) is None
    assert selinux.problem(kickstart_of("lang C\n"), ()) is None
    assert selinux.problem(kickstart_of("selinux\n"), ())


def test_options_of_packages(kickstart_of: Parsed) -> None:
    text = """
        %packages --inst-langs=de:pt_BR --retries=5
        %end
        %packages --excludedocs --timeout=9
        %end
        """
    kickstart = kickstart_of(text)
    assert package_options.apt_options(kickstart) == (
        'Acquire::Retries "5";',
        'Acquire::http::Timeout "9";',
        'Acquire::https::Timeout "9";',
    )
    made = package_options.left_out(kickstart)
    for kept in ("de", "de_*", "pt", "pt_BR*"):
        assert f"path-include=/usr/share/locale/{kept}/*" in made
    # The last that fits holds: manuals go, in whatever language; licences stay.
    assert made[-5:] == (
        "path-exclude=/usr/share/doc/*",
        "path-include=/usr/share/doc/*/copyright",
        "path-exclude=/usr/share/info/*",
        "path-exclude=/usr/share/lintian/*",
        "path-exclude=/usr/share/man/*",
    )
    none = package_options.left_out(kickstart_of("%packages --inst-langs=none\n%end\n"))
    assert not any("locale/n" in each for each in none)
    assert package_options.left_out(kickstart_of("%packages\n%end\n")) == ()


def test_options_of_a_section_may_be_cut_short(kickstart_of: Parsed) -> None:
    def made(header: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        kickstart = kickstart_of(f"%packages {header}\n%end\n")
        values.check(kickstart)
        return package_options.apt_options(kickstart), package_options.left_out(kickstart)

    assert made("--inst-l=de --retr 5 --timeo=9") == made("--inst-langs=de --retries=5 --timeout=9")
    assert made("--inst-langs=") == made("--inst-langs=none") != made("")
    assert made("--inst-langs=all") == made("")
    text = "-----BEGIN CERTIFICATE-----\n%end\n"
    values.check(kickstart_of(f"%certificate --file=a.pem --di /etc/pki\n{text}"))
