from __future__ import annotations

from collections.abc import Callable

import pytest
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from imagebuilder import distro
from imagebuilder.engines.direct import fate
from imagebuilder.engines.direct.fate_commands import COMMANDS
from imagebuilder.engines.direct.fate_kinds import Fate, Row
from imagebuilder.engines.direct.fate_sections import ADDONS, ANY_ADDON, SECTIONS
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Kickstart

Parsed = Callable[[str], Kickstart]

# Those of all distributions: a fragment of another one can be tried with this engine, too.
VERSIONS = sorted({distro.find(each).kickstart_version for each in distro.names()})
HANDLERS = {version: makeVersion(version) for version in VERSIONS}


def strings(parser: object) -> set[str]:
    found = {each for action in parser._actions for each in action.option_strings}  # type: ignore[attr-defined]
    return found - {"-h", "--help"}


def of_commands() -> list[tuple[str, str, set[str]]]:
    """All commands of all versions that a Debian has, with their options."""
    return [
        (version, name, strings(command.op) if getattr(command, "op", None) else set())
        for version, handler in HANDLERS.items()
        for name, command in handler.commands.items()
        if command is not None
    ]


def of_sections() -> list[tuple[str, str, set[str]]]:
    return [
        (version, name, strings(section._getParser()) if hasattr(section, "_getParser") else set())
        for version, handler in HANDLERS.items()
        for name, section in KickstartParser(handler)._sections.items()
    ]


def has_reason(found: Fate) -> bool:
    return bool(found.text) and bool(found.fix) == (found.kind == "refused")


def test_there_are_versions_to_walk() -> None:
    assert {"RHEL10", "RHEL9"} < set(VERSIONS)
    assert len(of_commands()) > 100
    assert len(of_sections()) > 10


def test_each_command_and_option_and_section_has_a_fate_with_a_reason() -> None:
    for version, name, options in (*of_commands(), *of_sections()):
        if name == "%addon":
            continue
        row = (SECTIONS if name.startswith("%") else COMMANDS)[name]
        assert has_reason(row.fate), (version, name)
        if row.fate.kind != "honoured":
            assert not row.options  # they share the command's fate
            continue
        for option in options:
            assert has_reason(row.options[option]), (version, name, option)


def test_the_tables_name_nothing_that_there_is_not() -> None:
    known: dict[str, set[str]] = {}
    for _, name, options in (*of_commands(), *of_sections()):
        known.setdefault(name, set()).update(options)
    own = {"%include", "%ksappend"}  # which pykickstart follows before it parses
    for name, row in {**COMMANDS, **SECTIONS}.items():
        assert name in known or name in own, name
        assert set(row.options) <= known.get(name, set()), name
    assert all(has_reason(each) and each.kind == "refused" for each in ADDONS.values())
    assert has_reason(ANY_ADDON)


def refusals(kickstart: Kickstart) -> list[InputError]:
    with pytest.raises(InputError) as caught:
        fate.check(kickstart)
    return [caught.value, *(each for each in caught.value.also if isinstance(each, InputError))]


def test_notes_and_refusals_with_their_lines(kickstart_of: Parsed) -> None:
    text = "clearpart --all\nlang C\nbootloader --timeout=1\nreboot --eject\n"
    notes = fate.check(kickstart_of(text))
    assert [note.partition(" has")[0] for note in notes] == [
        "kickstarts/f.ks:1: clearpart",
        "kickstarts/f.ks:3: bootloader --timeout",
        "kickstarts/f.ks:4: reboot",
    ]
    found = refusals(
        kickstart_of("""
            lang C
            selinux --enforcing
            network --device=eth0 --bootproto=dhcp --essid=x
            bootloader --append=x --password=y
            repo --name=a --mirrorlist=http://x/y
            firstboot --enable
            realm join example.org
            """)
    )
    assert [
        (each.where.line, each.what.split(": ")[0].partition("honour ")[2])
        for each in found
        if each.where
    ] == [
        (2, "selinux --enforcing"),
        (3, "network --essid"),
        (4, "bootloader --password"),
        (5, "repo --mirrorlist"),
        (6, "firstboot --enable"),
        (7, "command 'realm'"),
    ]
    assert all(each.fix for each in found)


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("%addon org_fedora_oscap\n%end\n", "OpenSCAP", "openscap"),
        ("%addon com_redhat_kdump --enable\n%end\n", "kdump", "kdump-tools"),
        ("%addon com_example_x\n%end\n", "programs of Anaconda", "%post"),
        ("%packages --multilib\n%end\n", "one architecture", "take it out"),
        ("%pre\ntrue\n%end\n%include /tmp/x\n", "plan must know", "fragment"),
        ("harddrive --dir=x --partition=y\n", "repositories", "file:///"),
        ("liveimg --url=http://x\n", "another image", "url --url"),
        ("authselect select sssd\n", "pam-auth-update", "libpam-sss"),
        ("module --name=a --stream=1\n", "no modules", "NAME=VERSION"),
        ("iscsi --ipaddr=192.0.2.1\n", "has none", "open-iscsi"),
    ],
)
def test_what_is_refused_has_a_reason_of_its_own(
    kickstart_of: Parsed, text: str, what: str, fix: str
) -> None:
    (error,) = refusals(kickstart_of(text))
    assert what in error.what
    assert fix in error.fix
    assert error.where


def test_sections_that_are_honoured(kickstart_of: Parsed) -> None:
    text = """
        %packages --exclude-weakdeps --ignoremissing --excludedocs --inst-langs=de --retries=3
        bash
        @ssh-server --nodefaults
        linux-headers-*
        -nano
        %end
        %pre --erroronfail
        true
        %end
        %post --nochroot --interpreter=/bin/bash --erroronfail --log=/root/x
        true
        %end
        %onerror
        true
        %end
        """
    assert fate.check(kickstart_of(text)) == ()


def test_an_option_cut_short_has_the_fate_of_the_one_that_is_meant() -> None:
    one, other = Fate("honoured", "x"), Fate("without effect", "y")
    options = {"--disable": one, "--disabled": one, "--log": other, "--location": one}
    assert fate.option_fate("--dis", options) is one
    assert fate.option_fate("--log", options) is other
    assert fate.option_fate("--lo", options).kind == "refused"
    assert Row(one).options == {}
