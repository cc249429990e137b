from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.errors import InputError, Location
from imagebuilder.template import render, render_value


def lines(source: str, **values: Any) -> list[tuple[str, int]]:
    return [(each.text, each.line) for each in render(source, values, "f.ks")]


def text(source: str, **values: Any) -> str:
    return "\n".join(each.text for each in render(source, values, "f.ks"))


def refusal(source: str, **values: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        render(source, values, "f.ks")
    return caught.value


@pytest.mark.parametrize(
    "shell",
    [
        "echo ${#a[@]} ${#a}",
        "name=${a%%.*} ${a##*/} ${a%}",
        "printf '{%s}' x",
        "curl -w '%{http_code}' -o /dev/null",
        "docker ps --format '{{.Names}} {{ .ID }} {{- .Size -}}'",
        "awk '{print $1}' {} ; find -exec rm {} +",
        "a=([1]=x) # {# no comment #}",
        "jq '{a: {b: 1}}'",
        "echo } }} %} #}",
    ],
)
@pytest.mark.parametrize("tail", ["", " # {{ x }}"])
def test_shell_passes_through(shell: str, tail: str) -> None:
    # With a variable on the line the text goes through Jinja; without, it does not.
    assert text(shell + tail, x=1) == shell + tail.replace("{{ x }}", "1")


def test_variables_and_their_attributes() -> None:
    assert text("{{ x }} {{ d.id }} {{ l | join(',') }}", x=1, d={"id": "a"}, l=[1, 2]) == "1 a 1,2"


def test_a_line_of_tags_alone_leaves_nothing_and_others_keep_their_newline() -> None:
    source = "a\n{% if x %}\nb\n  {% endif %}\nc {% if x %}d{% endif %}\n"
    source += "{% if not x %}\ne\n{% endif %}\nf\n"
    assert lines(source, x=True) == [("a", 1), ("b", 3), ("c d", 5), ("f", 9)]


def test_an_empty_value_leaves_its_line() -> None:
    assert lines("a\n{{ x }}\nb", x="") == [("a", 1), ("", 2), ("b", 3)]


def test_empty_lines_stay() -> None:
    assert lines("a\n\n{{ x }}\n\n", x=1) == [("a", 1), ("", 2), ("1", 3), ("", 4)]


def test_each_turn_of_a_loop_has_the_line_of_its_template() -> None:
    source = "{% for n in l %}\nx{{ n }}\ny\n{% endfor %}\nz\n"
    assert lines(source, l=[1, 2]) == [("x1", 2), ("y", 3), ("x2", 2), ("y", 3), ("z", 5)]


def test_all_lines_of_a_value_have_the_line_where_it_stands() -> None:
    assert lines("a\n<{{ x }}>\nb", x="1\n2\n3") == [
        ("a", 1),
        ("<1", 2),
        ("2", 2),
        ("3>", 2),
        ("b", 3),
    ]


def test_comments_vanish_and_are_counted() -> None:
    source = "a\n<#-- one\ntwo {{ undefined }}\n--#>\nb <#-- c --#>{{ x }}\n"
    assert lines(source, x=1) == [("a", 1), ("b 1", 5)]


def test_raw_blocks() -> None:
    source = "{% raw %}\n{{ a }} {% if %}\n{% endraw %}\n{{ x }}\n"
    assert lines(source, x=1) == [("{{ a }} {% if %}", 2), ("1", 4)]


def test_lines_after_trimmed_white_space() -> None:
    assert lines("{% if x -%}\n\n  a\n{% endif %}\nb\n", x=1) == [("a", 3), ("b", 5)]
    assert lines("a\n\n{{- x }}\nb\n{{ x }}\n", x=1) == [("a1", 3), ("b", 4), ("1", 5)]
    assert lines("{{ x -}}\n\na\nb\n", x=1) == [("1a", 3), ("b", 4)]


def test_a_value_is_not_a_template() -> None:
    value = "{{ y }} {% if %} <#-- {{.Z}}"
    assert text("{{ x }}", x=value) == value


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a\n{{ y }}\n", 2),
        ("{% for n in [1, 2] %}\n{{ n }}\n{% endfor %}\n\n{{ y }}\n", 5),
        ("{{ x }}\n<#-- a\nb --#>\nc {{ y }}\n", 4),
        ("a\n\n{{- x }}\nb\n{{ y }}\n", 5),
        ("{% raw %}\n{{ z }}\n{% endraw %}\n{{ y.a.b }}\n", 4),
        ("{{ x }}\n{{\n x\n}}\n{{ y }}", 5),
        ("{{ d.nothing }}", 1),
    ],
)
def test_an_undefined_variable_has_its_file_and_line(source: str, line: int) -> None:
    error = refusal(source, x="1\n2", d={"id": 1})
    assert error.where == Location(file="f.ks", line=line)
    assert "undefined" in error.what or "no attribute" in error.what
    assert error.fix.endswith("d, x")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a\n{% if x %}\n", 2),
        ("a\n\n{{ x", 3),
        ("{{ }}", 1),
        ("\n{% nosuch %}", 2),
        ("{{ x y }}", 1),
    ],
)
def test_not_a_template(source: str, line: int) -> None:
    error = refusal(source, x=1)
    assert error.where == Location(file="f.ks", line=line)
    assert "raw" in error.fix


@pytest.mark.parametrize("tag", ["{%- if x %}a{% endif %}", "{%+ if x %}a{% endif %}"])
def test_trimming_tags_are_refused(tag: str) -> None:
    error = refusal(f"a {{{{ x }}}}\n{tag}\n", x=1)
    assert error.where == Location(file="f.ks", line=2)
    assert "{% " in error.fix


@pytest.mark.parametrize("sign", "\x00\x01\x02\x03\x04")
def test_control_characters_are_refused_in_text_and_in_values(sign: str) -> None:
    assert refusal(f"a\nb{sign}\n").where == Location(file="f.ks", line=2)
    assert refusal("a\n{{ x }}\n", x=f"1{sign}").where == Location(file="f.ks", line=2)
    assert refusal("{{ x }}", x="\x0199x\x02")


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(9000) %}{{ big }}{% endfor %}",
        "{{ 'x' * 10 ** 11 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ n ** n ** n }}",
        "{{ [0] * n ** 3 * n }}",
    ],
)
def test_what_is_far_too_large_ends_soon(source: str) -> None:
    began = time.process_time()
    refusal(source, big="y" * 10_000, n=1000)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "source",
    [
        "{{ x.__class__.__mro__ }}",
        "{{ l.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{{ 1 // 0 }}",
        "{{ 'a' + 1 }}",
        "{{ x | nosuch }}",
    ],
)
def test_what_a_template_may_not_do_is_an_error_with_a_place(source: str) -> None:
    assert refusal(f"a\n{source}\n", x="", l=[]).where == Location(file="f.ks", line=2)


def test_arithmetic_within_bounds() -> None:
    assert text("{{ 2 ** 10 }} {{ '-' * 3 }} {{ n * 2 }} {{ 2 ** -1 }}", n=4) == "1024 --- 8 0.5"


def test_a_param_may_be_called_range() -> None:
    assert text("{{ range }}", range="10-20") == "10-20"


def test_a_value_of_a_recipe() -> None:
    where = Location(file="recipes/a.toml", line=9, key="checks.0.command")
    assert render_value("ovs-vsctl br-exists {{ b }}", {"b": "br0"}, where) == (
        "ovs-vsctl br-exists br0"
    )
    with pytest.raises(InputError) as caught:
        render_value("a\nb {{ c }}", {}, where)
    assert caught.value.where == where


plain = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda text: (
        not any(each in text for each in ("{{", "{% ", "<#--", "{%\n"))
        and not any(sign in text for sign in "\x00\x01\x02\x03\x04\r")
    )
)
shellish = st.lists(
    st.sampled_from(["{", "}", "%}", "#", "${#a[@]}", "{#", "#}", "{%s}", "\n", " ", "a", "--#>"]),
    max_size=30,
).map("".join)


@settings(deadline=None, max_examples=100)
@given(st.one_of(plain, shellish.filter(lambda t: "{% " not in t and "{{" not in t)))
def test_text_without_openers_is_unchanged_with_its_line_numbers(source: str) -> None:
    expected = source.split("\n")
    if expected[-1] == "":
        expected.pop()
    assert lines(source) == [(each, n) for n, each in enumerate(expected, 1)]
    # The same below a template's own lines: now Jinja reads it.
    below = lines("{{ x }}\n{% if x %}\n" + source + "\n{% endif %}\nend", x=1)
    shown = [(each, n) for n, each in enumerate(source.split("\n"), 3)]
    assert below == [("1", 1), *shown, ("end", 4 + len(shown))]
