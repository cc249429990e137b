"""Jinja2 for kickstart fragments and recipe values, made safe for shell text.

What differs from plain Jinja2, and why:

* Comments are ``<#-- … --#>``: Jinja's own ``{#`` opens in every ``${#array[@]}``.
* A block opens with ``{%`` *and a space*, so that ``printf '{%s}'`` stays as it is.
* ``{{.Names}}``, the templates of docker, podman and Go, stay as they are.
* A line that holds block tags alone leaves nothing behind, not even an empty line (which
  would matter in a here-document); every other line keeps its newline.
* Each line of the result knows the line of the template that it came from.

Templates are run in Jinja's sandbox, and cannot load other templates: ``%include`` does that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range

from imagebuilder.errors import InputError, Location

_FOREIGN = re.compile(r"\{\{-?\s*\.[^{}\n]*\}\}")
_TRIMMING_TAG = re.compile(r"\{%[-+]\s")
_RESERVED = re.compile("[\x00-\x04]")  # of these the marks below are made
_MARK = re.compile("\x01(\\d+)([tx])\x02")
_SIZE_LIMIT = 32 << 20  # characters of one rendered template
_LOOP_LIMIT = 1_000_000  # what all calls of range in one template may come to
_BITS_LIMIT = 1 << 14  # of a power


@dataclass(frozen=True, slots=True)
class RenderedLine:
    """A line of output (no newline) and the template's line that it came from, from 1."""

    text: str
    line: int


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, that also bounds what a single operator can make."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, Sized) and isinstance(times, int):
                    _bound(len(text) * times, _SIZE_LIMIT)
        elif isinstance(left, int) and isinstance(right, int):
            _bound(left.bit_length() * right, _BITS_LIMIT)
        return super().call_binop(context, operator, left, right)


def _bound(size: int, limit: int) -> None:
    if size > limit:
        raise SecurityError("the result is far too large")


def _bounded_range() -> Callable[..., range]:
    total = 0

    def bounded(*args: int) -> range:
        nonlocal total
        made = safe_range(*args)
        total += len(made)
        _bound(total, _LOOP_LIMIT)
        return made

    return bounded


def _without_marks(value: Any) -> Any:
    if isinstance(value, str) and _RESERVED.search(value):
        raise SecurityError("a value holds control characters")
    return value


@cache
def _environment() -> _Environment:
    return _Environment(
        finalize=_without_marks,
        undefined=StrictUndefined,
        block_start_string="{% ",
        block_end_string="%}",
        variable_start_string="{{",
        variable_end_string="}}",
        comment_start_string="<#--",
        comment_end_string="--#>",
        keep_trailing_newline=True,
        autoescape=False,
    )


def is_template(text: str) -> bool:
    """Return whether a text has something to render."""
    return any(opener in text for opener in ("{{", "{% ", "<#--"))


def render(source: str, values: Mapping[str, Any], file: str) -> tuple[RenderedLine, ...]:
    """Render a template, line by line.

    Args:
        source: the template.
        values: the variables that it may use; any other is an error.
        file: what to call it in errors.

    Raises:
        InputError: it is not a template, uses an undefined variable, or is out of bounds.
    """
    hostile = _RESERVED.search(source)
    if hostile:
        raise InputError(
            "control characters are not allowed in a fragment",
            where=Location(file=file, line=source.count("\n", 0, hostile.start()) + 1),
            fix="remove them; printf '\\001' makes one at run time",
        )
    if not is_template(source):
        return tuple(RenderedLine(text, n) for n, text in enumerate(_lines(source), 1))
    trimming = _TRIMMING_TAG.search(source)
    if trimming:
        raise InputError(
            f"{trimming.group().strip()!r} is not used here",
            where=Location(file=file, line=source.count("\n", 0, trimming.start()) + 1),
            fix="write '{% ': a line that holds tags alone leaves no empty line anyway",
        )
    try:
        text = _rendered(_marked(_protected(source)), values)
    except TemplateSyntaxError as error:
        raise InputError(
            f"not a valid template: {error.message}",
            where=Location(file=file, line=error.lineno),
            fix="text that is not meant for Jinja2 goes between {% raw %} and {% endraw %}",
        ) from error
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise _failure(error, values, Location(file=file, line=_line_of(error))) from error
    if len(text) > _SIZE_LIMIT:
        raise InputError(
            f"the rendered fragment is larger than {_SIZE_LIMIT >> 20} MiB",
            where=Location(file=file),
            fix="look for a loop over too much",
        )
    return tuple(_unmarked(text))


def render_value(source: str, values: Mapping[str, Any], where: Location) -> str:
    """Render one value of a recipe, such as the command of a check.

    Raises:
        InputError: as :func:`render`, at ``where``.
    """
    try:
        return "\n".join(line.text for line in render(source, values, where.file))
    except InputError as error:
        raise InputError(error.what, where=where, fix=error.fix) from error


def _rendered(source: str, values: Mapping[str, Any]) -> str:
    pieces: list[str] = []
    size = 0
    for piece in _environment().from_string(source).generate({"range": _bounded_range(), **values}):
        size += len(piece)
        if size > 2 * _SIZE_LIMIT:
            raise SecurityError("the result is far too large")
        pieces.append(piece)
    return "".join(pieces)


def _failure(error: Exception, values: Mapping[str, Any], where: Location) -> InputError:
    names = ", ".join(sorted(values)) or "none"
    return InputError(str(error), where=where, fix=f"the variables that are set: {names}")


def _line_of(error: BaseException) -> int | None:
    """Return the template's line in which a run-time error arose (Jinja rewrites tracebacks)."""
    line = None
    frame = error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def _protected(source: str) -> str:
    """Hide the braces of other programs' templates from Jinja2; :func:`_unmarked` undoes it."""
    return _FOREIGN.sub(lambda found: "\x03" + found.group()[2:-2] + "\x04", source)


def _marked(source: str) -> str:
    """Put a mark before each newline of plain text: the line's number, and whether it is tags."""
    line = 1
    made: list[str] = []
    has_tag = has_text = False
    for number, kind, value in _environment().lex(source):
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
        has_tag = has_tag or kind in ("block_begin", "raw_begin", "raw_end", "comment_begin")
        has_text = has_text or kind == "variable_begin"
        made.append(value)
        line += value.count("\n")
    made.append(f"\x01{line}x\x02")
    return "".join(made)


def _unmarked(text: str) -> Iterator[RenderedLine]:
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
            yield RenderedLine(each, int(number))
        waiting.clear()
        if kind == "t" and not bare.strip():
            continue
        yield RenderedLine(bare, int(number))
    for each in waiting:
        yield RenderedLine(each, 1)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines
