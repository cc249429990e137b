"""Where in a TOML file each key stands.

``tomllib`` gives values without lines.  This reads the layout only (headers, keys, and the
extent of values) of a text that ``tomllib`` has already accepted.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter

_STRING = r""""(?:\\.|[^"\\\n])*"|'[^'\n]*'"""
_HEADER = re.compile(rf"\s*(\[\[?)(?P<key>(?:{_STRING}|[^\]\"'])+)\]")
_KEY = re.compile(rf"\s*(?P<key>(?:{_STRING}|[A-Za-z0-9_-]++|\s*+\.\s*+)+)\s*=")
_PART = re.compile(rf"{_STRING}|[A-Za-z0-9_-]+")
# Strings (so that brackets and hashes inside them do not count), comments, brackets, commas.
_TOKEN = re.compile(
    rf'"""(?:\\.|[^\\])*?"""(?!")|\'\'\'.*?\'\'\'(?!\')|{_STRING}|\#[^\n]*|[\[\]{{}},\n]', re.DOTALL
)


def key_lines(text: str) -> dict[str, int]:
    """Return the line (from 1) of each key and each item of a list.

    Keys are joined by dots, the items of lists numbered from 0: ``kernel.args.1``,
    ``checks.0.unit``.
    """
    lines: dict[str, int] = {}
    tables: Counter[str] = Counter()
    breaks = [found.start() for found in re.finditer("\n", text)]
    prefix = ""
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        row = text[position:end]
        number = _number(breaks, position)
        header = _HEADER.match(row)
        key = _KEY.match(row)
        if header:
            prefix = _join("", header["key"])
            if header[1] == "[[":
                prefix = f"{prefix}.{tables[prefix]}"
                tables[prefix.rpartition(".")[0]] += 1
            lines.setdefault(prefix, number)
            lines.setdefault(prefix.split(".")[0], number)
        elif key:
            path = _join(prefix, key["key"])
            lines[path] = number
            end = _read_value(text, position + key.end(), path, lines, breaks)
        position = end + 1
    return lines


def error_line(error: Exception, text: str) -> int | None:
    """Return the line that an error of ``tomllib`` names, if it names one."""
    if "at end of document" in str(error):
        return text.rstrip("\n").count("\n") + 1
    found = re.search(r"at line (\d+)", str(error))
    return int(found[1]) if found else None


def _number(breaks: list[int], position: int) -> int:
    return bisect_right(breaks, position - 1) + 1


def _join(prefix: str, dotted: str) -> str:
    parts = [
        part[1:-1] if part[0] in "\"'" else part
        for part in (found.group() for found in _PART.finditer(dotted))
    ]
    return ".".join([prefix, *parts] if prefix else parts)


def _read_value(text: str, start: int, path: str, lines: dict[str, int], breaks: list[int]) -> int:
    """Note the items of a list; return where the line ends on which the value ends."""
    depth = item = 0
    fresh = is_list = False  # fresh: an item may start here
    last = start
    for token in _TOKEN.finditer(text, start):
        between = text[last : token.start()]
        sign = token.group()
        if depth == 1 and fresh and (between.strip() or sign[0] in "\"'[{"):
            place = last + len(between) - len(between.lstrip())
            lines[f"{path}.{item}"] = _number(breaks, place)
            item += 1
            fresh = False
        last = token.end()
        if sign in "[{":
            depth += 1
            if depth == 1:
                fresh = is_list = sign == "["
        elif sign in "]}":
            depth -= 1
        elif sign == "," and depth == 1:
            fresh = is_list
        elif sign == "\n" and depth == 0:
            return token.start()
    return len(text)
