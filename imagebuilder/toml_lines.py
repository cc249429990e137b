"""Where in a TOML file each key stands.

``tomllib`` gives values without lines.  This reads the layout only (headers, keys, and the
extent of values) of a text that ``tomllib`` has already accepted.
"""

from __future__ import annotations

import re
from collections import Counter

_HEADER = re.compile(r"\s*(\[\[?)\s*(?P<key>[^\]]+?)\s*\]\]?")
_KEY = re.compile(r"""\s*(?P<key>(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+|\s*\.\s*)+?)\s*=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")
# Strings (so that brackets and hashes inside them do not count), comments, brackets, commas.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|\#[^\n]*|[\[\]{},\n]',
    re.DOTALL,
)


def key_lines(text: str) -> dict[str, int]:
    """Return the line (from 1) of each key and each item of a list.

    Keys are joined by dots, the items of lists numbered from 0: ``kernel.args.1``,
    ``checks.0.unit``.
    """
    lines: dict[str, int] = {}
    tables: Counter[str] = Counter()
    prefix = ""
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        row = text[position:end]
        number = text.count("\n", 0, position) + 1
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
            end = _read_value(text, position + key.end(), path, lines)
        position = end + 1
    return lines


def _join(prefix: str, dotted: str) -> str:
    parts = ["".join(found) for found in _PART.findall(dotted)]
    return ".".join([prefix, *parts] if prefix else parts)


def _read_value(text: str, start: int, path: str, lines: dict[str, int]) -> int:
    """Note the items of a list; return where the line ends on which the value ends."""
    depth = item = 0
    fresh = False  # an item may start here
    last = start
    for token in _TOKEN.finditer(text, start):
        between = text[last : token.start()].strip()
        sign = token.group()
        if depth == 1 and fresh and (between or sign[0] in "\"'[{"):
            place = (
                token.start()
                if not between
                else last + len(text[last:]) - len(text[last:].lstrip())
            )
            lines[f"{path}.{item}"] = text.count("\n", 0, place) + 1
            item += 1
            fresh = False
        last = token.end()
        if sign in "[{":
            depth += 1
            fresh = fresh or (depth == 1 and sign == "[")
        elif sign in "]}":
            depth -= 1
        elif sign == "," and depth == 1:
            fresh = True
        elif sign == "\n" and depth == 0:
            return token.start()
    return len(text)
