from __future__ import annotations

import textwrap
import time
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.toml_lines import key_lines


def lines(text: str) -> dict[str, int]:
    text = textwrap.dedent(text).removeprefix("\n")
    tomllib.loads(text)
    return key_lines(text)


def test_keys_tables_and_lists() -> None:
    found = lines("""
        # a = 0
        summary = "a # b"
        kickstarts = [ "a.ks", "b.ks" ]

        [kernel]
        args = [
          "quiet",  # a comment, with "signs" ]
          'a[1]#',
          "x", "y",
        ]
        [params]
          deep.er = 1
          "quoted.key" = 2
        [ params . table ]
        z = { a = [1, 2], b = "]" }
        last = true
        """)
    assert found == {
        "summary": 2,
        "kickstarts": 3,
        "kickstarts.0": 3,
        "kickstarts.1": 3,
        "kernel": 5,
        "kernel.args": 6,
        "kernel.args.0": 7,
        "kernel.args.1": 8,
        "kernel.args.2": 9,
        "kernel.args.3": 9,
        "params": 11,
        "params.deep.er": 12,
        "params.quoted.key": 13,
        "params.table": 14,
        "params.table.z": 15,
        "params.table.last": 16,
    }


def test_arrays_of_tables_are_numbered() -> None:
    found = lines("""
        [[checks]]
        unit = "a.service"
        [[checks]]

        command = "x"
        """)
    assert found["checks"] == 1
    assert found["checks.0.unit"] == 2
    assert found["checks.1"] == 3
    assert found["checks.1.command"] == 5


def test_strings_of_several_lines() -> None:
    found = lines('''
        [params]
        a = """
        b = 1
        [c]
        \\"""
        """"
        d = \'\'\'
        ]" # {
        \'\'\'
        e = """x""" # f = 1
        g = 1
        ''')
    assert found == {"params": 1, "params.a": 2, "params.d": 7, "params.e": 10, "params.g": 11}


def test_nested_arrays() -> None:
    found = lines("""
        a = [
          [1, 2], [
            3, "]"
          ],
          { b = [4] },
          1979-05-27T07:32:00Z,
        ]
        c = 1
        """)
    assert {key: line for key, line in found.items() if key.startswith("a.")} == {
        "a.0": 2,
        "a.1": 2,
        "a.2": 5,
        "a.3": 6,
    }
    assert found["c"] == 8


@pytest.mark.parametrize(
    "text",
    [
        '"\\"' + "a" * 50_000 + '" = 1\n',
        "a." * 2000 + "b = 1\n",
        "x = '" + '"' * 50_000 + "'\n",
        "#" + "a" * 500_000 + "\n",
        "a = [" + "1,\n" * 50_000 + "]\n",
        "".join(f"k{n} = [1]\n" for n in range(30_000)),
        " " * 100_000 + "a = 1\n",
    ],
)
def test_long_files_are_read_at_once(text: str) -> None:
    began = time.process_time()
    key_lines(text)
    assert time.process_time() - began < 5


def spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    # Each item on a line of its own, with a comment that looks like more of it.
    return "[\n" + "".join(f"{spelled(each)}, # ], {{ \n" for each in value) + "]"


scalars = st.booleans() | st.integers(0, 99) | st.text("ab\"'\\[]{}#,= .", max_size=8)
tables = st.dictionaries(
    st.text("abcdefg", min_size=1, max_size=3), scalars | st.lists(scalars, max_size=3), max_size=5
)


@settings(deadline=None, max_examples=60)
@given(tables)
def test_each_key_and_item_is_found_where_it_was_written(table: dict[str, Any]) -> None:
    text, expected = "", {}
    for key, value in table.items():
        start = text.count("\n") + 1
        expected[key] = start
        if isinstance(value, list):
            expected |= {f"{key}.{n}": start + 1 + n for n in range(len(value))}
        text += f"{key} = {spelled(value)}\n\n"
    assert tomllib.loads(text) == table
    assert key_lines(text) == expected
