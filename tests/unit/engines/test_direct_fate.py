from __future__ import annotations

from collections.abc import Callable

import pytest
from pykickstart.version import makeVersion

from imagebuilder import distro
from imagebuilder.engines.direct import fate
from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Command, Kickstart

Parsed = Callable[[str], Kickstart]


def refusals(kickstart: Kickstart) -> list[InputError]:
    with pytest.raises(InputError) as caught:
        fate.check(kickstart)
    return [caught.value, *(each for each in caught.value.also if isinstance(each, InputError))]


def outcome(command: Command) -> tuple[tuple[str, ...], InputError | None]:
    """Return the notes on a command, and what it is refused with."""
    try:
        return fate.check(only(command)), None
    except InputError as error:
        return (), error


def only(command: Command) -> Kickstart:
    return Kickstart(
        version="RHEL9",
        lines=(),
        commands=(command,),
        packages=(),
        weak_dependencies=True,
        ignore_missing=False,
        scripts=(),
        sections=(),
        warnings=(),
    )


VERSIONS = sorted({distro.find(name).kickstart_version for name in distro.names()})
COMMANDS = sorted(
    name for name, made in makeVersion(VERSIONS[0]).commands.items() if made is not None
)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_of_kickstart_is_dropped_in_silence(name: str) -> None:
    where = Location(file="kickstarts/a.ks", line=3)
    command = Command(name=name, text=name, options=(), data=None, where=where)
    notes, error = outcome(command)
    if error:
        assert error.where == where
        assert f"'{name}'" in error.what
        assert error.fix
        assert name not in fate.HONOURED
        return
    if name in fate.HONOURED:
        assert notes == ()
    else:
        (note,) = notes
        assert note.startswith(f"kickstarts/a.ks:3: {name} has no effect: ")


def options() -> list[tuple[str, str]]:
    found = set()
    for name, command in makeVersion(VERSIONS[0]).commands.items():
        parser = getattr(command, "op", None)
        if name in fate.HONOURED and parser:
            found |= {(name, each) for action in parser._actions for each in action.option_strings}
    return sorted(each for each in found if each[1] not in ("-h", "--help"))


@pytest.mark.parametrize(("name", "option"), options())
def test_no_option_of_an_honoured_command_is_dropped_in_silence(name: str, option: str) -> None:
    where = Location(file="kickstarts/a.ks", line=3)
    command = Command(name=name, text=name, options=(option,), data=None, where=where)
    notes, error = outcome(command)
    if error:
        assert error.where == where
        assert f"{name} {option}" in error.what
        assert "honoured are: " in error.fix
        return
    assert notes or option in fate.HONOURED[name]


def test_the_tables_name_commands_and_options_that_there_are() -> None:
    versions = ("RHEL7", "RHEL8", "RHEL9", "RHEL10")
    known = {name for version in versions for name in makeVersion(version).commands}
    named = {*fate.HONOURED, *fate.WITHOUT_EFFECT, *fate.WITHOUT_EFFECT_WITH}
    assert named <= known
    assert set(fate.OPTIONS_WITHOUT_EFFECT) <= set(fate.HONOURED)
    there = set(options())
    for name, honoured in fate.HONOURED.items():
        assert {each for each in honoured if (name, each) not in there} == set(), name


def test_notes_and_refusals_with_their_lines(kickstart_of: Parsed) -> None:
    text = "clearpart --all\nlang C\nselinux --disabled\nreboot --eject\n"
    notes = fate.check(kickstart_of(text))
    assert [note.partition(" has")[0] for note in notes] == [
        "kickstarts/f.ks:1: clearpart",
        "kickstarts/f.ks:3: selinux",
        "kickstarts/f.ks:4: reboot",
    ]
    found = refusals(
        kickstart_of("""
            lang C
            selinux --enforcing
            network --device=eth0 --bootproto=dhcp --teamslaves=eth1
            bootloader --append=x --password=y
            user --name=a --passw=b
            firstboot --enable
            """)
    )
    said = [(each.where, each.what.partition("honour ")[2]) for each in found]
    assert [(where.line, what) for where, what in said if where] == [
        (2, "command 'selinux'"),
        (3, "network --teamslaves"),
        (4, "bootloader --password"),
        (5, "user --passw"),
        (6, "command 'firstboot'"),
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("%pre\ntrue\n%end\n", "section %pre"),
        ("%pre\n%end\n", "section %pre"),
        ("%pre-install\ntrue\n%end\n", "section %pre-install"),
        ("%onerror\ntrue\n%end\n", "section %onerror"),
        ("%traceback\ntrue\n%end\n", "section %traceback"),
        ("%anaconda\n%end\n", "section %anaconda"),
        ("%addon org_fedora_oscap\n%end\n", "section %addon"),
        ("%packages --multilib\n%end\n", "%packages --multilib"),
        ("%packages --nocore\n%end\n", "%packages --nocore"),
        ("%packages\n\n@core\n%end\n", "package group @core"),
        ("%packages\n@^minimal\n%end\n", "package group @^minimal"),
        ("%packages\n-@core\n%end\n", "package group @core"),
    ],
)
def test_sections_and_groups_that_are_refused(kickstart_of: Parsed, text: str, what: str) -> None:
    (error,) = refusals(kickstart_of(text))
    assert error.what.endswith(f"does not honour {what}")
    assert error.fix
    assert error.where
    assert error.where.line == (3 if "\n\n@" in text else 2 if "@" in text else 1)


def test_sections_that_are_honoured(kickstart_of: Parsed) -> None:
    text = """
        %packages --exclude-weakdeps --ignoremissing
        bash
        -nano
        %end
        %post --nochroot --interpreter=/bin/bash --erroronfail --log=/root/x
        true
        %end
        """
    assert fate.check(kickstart_of(text)) == ()
