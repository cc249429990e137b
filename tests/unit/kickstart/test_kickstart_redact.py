from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pykickstart.version import makeVersion

from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.redact import hidden_words, redacted_line, shown_value


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("rootpw geheim", "rootpw ********"),
        ("rootpw --plaintext 'ge heim'", "rootpw --plaintext ********"),
        ("rootpw --iscrypted $6$geheim$x", "rootpw --iscrypted ********"),
        ("  rootpw  --lock  geheim  # why", None),
        ("rootpw 'ge'\"heim\"", "rootpw ********"),
        ('rootpw "a\\" geheim"', "rootpw ********"),
        ("rootpw a\\ geheim", "rootpw ********"),
        ("rootpw -- -geheim", "rootpw -- ********"),
        ("rootpw --lock", "rootpw --lock"),
        ("sshpw --username=root geheim --plaintext", "sshpw --username=root ******** --plaintext"),
        ("user --name=op --password=geheim --lock", "user --name=op --password=******** --lock"),
        ("user --name=op --password geheim --lock", "user --name=op --password ******** --lock"),
        ("user --name=op --password='ge heim'", "user --name=op --password=********"),
        ('user --name=op "--password=ge heim"', "user --name=op --password=********"),
        ("user --name=op --password=ge\\ heim", "user --name=op --password=********"),
        ("user --name=op --pass=geheim", "user --name=op --pass=********"),
        ("user --name=op --passw geheim", "user --name=op --passw ********"),
        ("part / --encrypted --passphrase=geheim", "part / --encrypted --passphrase=********"),
        ("bootloader --password=grub.geheim", "bootloader --password=********"),
        ("auth --winbindjoin=Administrator%geheim -x", "auth --winbindjoin=******** -x"),
        ("network --wpakey=geheim --essid=x", "network --wpakey=******** --essid=x"),
        ("url --url=http://me:geheim@h/x", "url --url=http://h/x"),
        ("url --url=http://me:x@geheim@h/x", "url --url=http://h/x"),
        ('repo --name=a --baseurl="https://geheim@h/x"', 'repo --name=a --baseurl="https://h/x"'),
        ("curl -u x https://me:geheim@h/ | sh", "curl -u x https://h/ | sh"),
        ("su -c 'mysql --password=geheim x'", None),
        ("lang C", "lang C"),
        ("services --enabled=ssh", "services --enabled=ssh"),
        ("sshkey --username=op 'ssh-ed25519 AAAA op@host'", None),
        ("# a comment isn't closed", "# a comment isn't closed"),
        ("", ""),
    ],
)
def test_secrets_are_hidden(line: str, shown: str | None) -> None:
    made = redacted_line(line)
    assert "geheim" not in made
    assert "heim" not in made
    if shown is not None:
        assert made == shown
    assert redacted_line(made) == made


def test_a_whole_kickstart(kickstart_of: Callable[[str], Kickstart]) -> None:
    made = kickstart_of("""
        rootpw --plaintext geheim
        user --name=op --passw=geheim --plaintext
        url --url=http://me:geheim@mirror.example/debian
        %post
        curl https://me:geheim@h/x
        %end
        """)
    shown = made.redacted()
    assert "geheim" in made.text
    assert "geheim" not in shown
    assert shown.count("\n") == made.text.count("\n")
    assert "%post\n" in shown


def secret_options() -> list[tuple[str, str]]:
    found = set()
    for name, command in makeVersion("RHEL9").commands.items():
        parser = getattr(command, "op", None)
        for action in parser._actions if parser else []:
            for option in action.option_strings:
                if re.search(r"pass|secret|token|wpakey|wepkey|activation-?key|pw$", option):
                    found.add((name, option))
    return sorted(found)


@pytest.mark.parametrize(("command", "option"), secret_options())
def test_every_option_of_kickstart_that_holds_a_secret(command: str, option: str) -> None:
    for form in (f"{option}=geheim", f"{option} geheim", f"'{option}=ge heim'"):
        assert "heim" not in redacted_line(f"{command} --x {form} y")


@settings(deadline=None, max_examples=100)
@given(st.text(min_size=3).filter(lambda t: t.isprintable() and t.strip()))
def test_a_password_however_it_is_spelled(secret: str) -> None:
    for line in (f"rootpw -- {shlex.quote(secret)}", f"user --password={shlex.quote(secret)} --n"):
        assert redacted_line(line) in ("rootpw -- ********", "user --password=******** --n")


def test_there_are_such_options() -> None:
    assert ("user", "--password") in secret_options()


def test_values_that_are_hidden_in_the_lines_are_hidden_by_themselves() -> None:
    hidden = hidden_words(
        [
            "rootpw --plaintext hunter2",
            "user --name=x --password='s e c' --iscrypted",
            "url --url=http://me:pass1@host/",
            "lang en_US.UTF-8",
        ]
    )
    values = {"a": "hunter2", "b": ["pass1", 5, True, None, "me"], "c": "en_US.UTF-8", "d": "s e c"}
    assert shown_value(values, hidden) == {
        "a": "********",
        "b": ["********", 5, True, None, "me"],
        "c": "en_US.UTF-8",
        "d": "********",
    }
    assert shown_value("http://me:pass1@elsewhere/", frozenset()) == "********"
