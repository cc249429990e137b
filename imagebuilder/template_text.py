"""The text around the tags of a template: lines are counted, other programs' braces kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2 import TemplateSyntaxError
from jinja2.environment import Environment

# What stands in a tag of Go, up to a word that begins with a dot; strings may hold anything.
_QUOTED = r"""(?:[^{}\n"'`]|"[^"\n]*"|'[^'\n]*'|`[^`\n]*`)*?"""
_GO = re.compile(rf"\{{\{{(?=-?\s*\.|-?{_QUOTED}[\s(]\.)[^{{}}\n]*\}}\}}")
_GO_END = re.compile(r"\{\{-?\s*(?:end|else)\s*-?\}\}")
_BRACE = re.compile(r"[{}]")
_QUOTE = re.compile("[\"']")

_MARK = re.compile("\x01(\\d+)([tx])\x02")
_DEPTH_LIMIT = 16  # blocks in blocks, and brackets in brackets
_TOKEN_LIMIT = 50_000  # words and signs of all tags of a template


def is_plain(text: str) -> bool:
    """Return whether a text has nothing to render."""
    return "{{" not in text and "{% " not in text and "<#--" not in text


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, without their newlines."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def protected(source: str) -> str:
    """Hide the braces of other programs from Jinja2; :func:`unmarked` undoes it."""
    source, count = _GO.subn(_hidden, source)
    if count:
        source = _GO_END.sub(_hidden, source)
    return "\n".join(map(_without_expansions, source.split("\n")))


def _hidden(found: re.Match[str]) -> str:
    return "\x03" + found.group()[2:-2] + "\x04"


def _without_expansions(line: str) -> str:
    """Hide two braces that open together, as in a shell's ``{{a,b}/c,d}``, and close apart."""
    if "{{" not in line:
        return line
    opened: list[int] = []
    closed: dict[int, int] = {}
    for found in _BRACE.finditer(line):
        if found.group() == "{":
            opened.append(found.start())
        elif opened:
            closed[opened.pop()] = found.start()
    made: list[str] = []
    last = 0
    for found in re.finditer(r"\{\{", line):
        outer, inner = found.start(), found.start() + 1
        if inner not in closed or closed.get(outer) == closed[inner] + 1:
            continue
        # A brace in quotes may belong to a template: Jinja2 is to say what is wrong with it.
        if not _QUOTE.search(line, inner, closed[inner]):
            made += (line[last:outer], "\x03")
            last = outer + 2
    return "".join(made) + line[last:]


def marked(source: str, environment: Environment) -> str:
    """Put a mark before each newline of plain text: the line's number, and whether it is tags.

    Raises:
        TemplateSyntaxError: it is not a template, or is out of bounds.
    """
    line = 1
    made: list[str] = []
    has_tag = has_text = False
    bounds = _Bounds()
    for number, kind, value in environment.lex(source):
        if number > line:  # white space before a tag that trims it: kept, to be counted
            made.append("\n" * (number - line))
            line = number
        if kind == "data":
            pieces = value.split("\n")
            for n, piece in enumerate(pieces):
                has_text = has_text or bool(piece.strip())
                made.append(piece)
                if n < len(pieces) - 1:
                    mark = "t" if has_tag and not has_text else "x"
                    made.append(f"\x01{line}{mark}\x02\n")
                    has_tag = has_text = False
                    line += 1
            continue
        bounds.take(line, kind, value)
        has_tag = has_tag or kind in ("block_begin", "raw_begin", "raw_end", "comment_begin")
        has_text = has_text or kind == "variable_begin"
        made.append(value)
        line += value.count("\n")
    made.append(f"\x01{line}x\x02")
    return "".join(made)


class _Bounds:
    """Refuses what Jinja2 or Python would need much time or stack for."""

    def __init__(self) -> None:
        self.tokens = self.blocks = self.brackets = 0
        self.is_first = False

    def take(self, line: int, kind: str, value: str) -> None:
        self.tokens += 1
        if kind == "name" and self.is_first:
            self.blocks += -1 if value.startswith("end") else value not in ("else", "elif")
        if kind != "whitespace":
            self.is_first = kind == "block_begin"
        if kind == "operator":
            self.brackets += (value in "([{") - (value in ")]}")
        elif kind in ("variable_begin", "block_begin"):
            self.brackets = 0
        if self.tokens > _TOKEN_LIMIT:
            raise TemplateSyntaxError("there are too many tags in it", line)
        if max(self.blocks, self.brackets) > _DEPTH_LIMIT:
            raise TemplateSyntaxError("it is nested too deeply", line)


def unmarked(text: str) -> Iterator[tuple[str, int]]:
    """Give the lines of what was rendered, each with the line of its template."""
    waiting: list[str] = []
    lines = text.split("\n")
    if not _MARK.sub("", lines[-1]):
        lines.pop()
    for raw in lines:
        marks = _MARK.findall(raw)
        bare = _MARK.sub("", raw).replace("\x03", "{{").replace("\x04", "}}")
        if not marks:  # inside a value of several lines: its mark is still to come
            waiting.append(bare)
            continue
        number, kind = marks[-1]
        for each in waiting:
            yield each, int(number)
        waiting.clear()
        if kind == "t" and not bare.strip():
            continue
        yield bare, int(number)
    for each in waiting:
        yield each, 1
