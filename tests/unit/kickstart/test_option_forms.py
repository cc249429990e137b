"""Words read by their form come to what the option parser itself makes of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pykickstart.errors import KickstartParseError
from pykickstart.handlers.rhel9 import RHEL9Handler

from imagebuilder.kickstart.option_forms import Forms, Parsed
from imagebuilder.kickstart.syntax import split

HANDLER: Any = RHEL9Handler()
OPTIONS = {
    "network": (
        "--device",
        "--ip",
        "--hostname",
        "--bootproto",
        "--mtu",
        "--vlanid",
        "--bondslaves",
        "--noipv6",
        "--host",
        "--nosuch",
    ),
    "user": ("--name", "--groups", "--uid", "--password", "--iscrypted", "--gecos"),
    "repo": ("--name", "--baseurl", "--cost", "--excludepkgs", "--install"),
    "rootpw": ("--iscrypted", "--lock", "--"),
}
VALUES = ("eth0", "eth1", "1500", "no", "a,b", "--ip=1", "x=y", "'q'", "a b", "", "\u00e9", "-1")


def read_by(parser: Any, words: Sequence[str]) -> Parsed:
    try:
        made, rest = parser.parse_known_args(list(words), lineno=1)
    except KickstartParseError as error:
        return Parsed({}, [], str(error), [])
    return Parsed(vars(made), rest, "", [])


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, list[list[str]]]:
    """Several lines of one command, many of which differ in values alone."""
    command = draw(st.sampled_from(sorted(OPTIONS)))
    forms = draw(
        st.lists(
            st.lists(
                st.tuples(st.sampled_from(OPTIONS[command]), st.sampled_from(("=", "", "word"))),
                max_size=4,
            ),
            min_size=1,
            max_size=3,
        )
    )
    made = []
    for form in [*forms, *forms, *forms]:
        words = []
        for option, how in form:
            value = draw(st.sampled_from(VALUES))
            words += [f"{option}={value}"] if how == "=" else [option]
            words += [value] if how == "word" else []
        made.append(words)
    return command, made


@given(lines())
@settings(max_examples=150, deadline=None)
def test_any_words(case: tuple[str, list[list[str]]]) -> None:
    command, all_words = case
    parser = HANDLER.commands[command].op
    forms = Forms(1000)
    for words in all_words:
        found = forms.parsed(parser, words, lambda each: read_by(parser, each))
        assert found == read_by(parser, words)


def test_a_form_is_read_once() -> None:
    parser = HANDLER.commands["network"].op
    forms = Forms(1000)
    read: list[Sequence[str]] = []

    def reading(words: Sequence[str]) -> Parsed:
        read.append(words)
        return read_by(parser, words)

    for n in range(50):
        words = ["--device=link", f"--hostname=node{n}"]
        assert forms.parsed(parser, words, reading).made["hostname"] == f"node{n}"
    assert len(read) == 2  # the first line, and its form


@pytest.mark.parametrize(
    "words",
    [
        ["--mtu=many"],  # is to be a number
        ["--wpakey"],  # lacks its value
        ["--hostname=a", "--nosuch=b"],
    ],
)
def test_what_is_wrong_names_the_line_s_own_words(words: list[str]) -> None:
    parser = HANDLER.commands["network"].op
    forms = Forms(1000)
    other = [each.replace("many", "more").replace("=b", "=c") for each in words]
    for each in (other, words, other):
        assert forms.parsed(parser, each, lambda w: read_by(parser, w)) == read_by(parser, each)


@given(st.text(st.sampled_from(" \t\n\r\x0b\x1c\xa0#'\"\\$!a-=[]~{}|\x7f"), max_size=12))
@settings(deadline=None)
def test_words_are_a_shell_s(text: str) -> None:
    def cut(how: Any) -> Any:
        try:
            return list(how(text))
        except ValueError as error:
            return str(error)

    assert cut(split) == cut(lambda each: shlex.split(each, comments=True))
