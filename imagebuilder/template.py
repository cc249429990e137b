"""Jinja2 for kickstart fragments and recipe values, made safe for shell text.

What differs from plain Jinja2, and why:

* Comments are ``<#-- … --#>``: Jinja's own ``{#`` opens in every ``${#array[@]}``.
* A block opens with ``{%`` *and a space*, so that ``printf '{%s}'`` stays as it is.
* ``{{.Names}}`` and ``{{json .}}``, the templates of docker, podman and Go, stay as they are,
  and beside them ``{{end}}`` and ``{{else}}``.
* ``/usr/{{lib,share}/locale,bin}``, where the braces do not close together, is the shell's.
* A line that holds block tags alone leaves nothing behind, not even an empty line (which
  would matter in a here-document); every other line keeps its newline.
* Each line of the result knows the line of the template that it came from.
* ``{{ fail("why") }}`` refuses the recipe, at its line.

Templates are run in Jinja's sandbox with a budget (:mod:`imagebuilder.template_limits`), and
cannot load other templates: ``%include`` does that.

A template gives the same text wherever what it asks for has the same values: results are kept
by these, so that recipes which share a fragment share its lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Template, TemplateSyntaxError, meta
from jinja2.runtime import Context

from imagebuilder.errors import ImageBuilderError, InputError, Location
from imagebuilder.memo import Memo
from imagebuilder.template_limits import LimitedEnvironment, metered
from imagebuilder.template_text import is_plain, lines_of, marked, protected, unmarked

_TRIMMING_TAG = re.compile(r"\{%[-+]\s")
_RESERVED = re.compile("[\x00-\x04]")  # of these the marks are made
_KEPT = 64 << 20  # characters of templates, and of their results, that are kept

_RAW = (
    "text that is not meant for Jinja2 goes between {% raw %} and {% endraw %}; a fragment that "
    "is no template is named in imagebuilder.toml: plain = [...]"
)


@dataclass(frozen=True, slots=True)
class RenderedLine:
    """A line of output (no newline) and the template's line that it came from, from 1."""

    text: str
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """All lines of output; one object for one result, so that others can keep what follows.

    Attributes:
        texts: the lines, without newlines.
        numbers: for each the template's line that it came from, from 1.
    """

    texts: tuple[str, ...]
    numbers: tuple[int, ...]


class _Compiled:
    """A template, and the names that it has asked for."""

    __slots__ = ("names", "plain", "template")

    def __init__(self, template: Template | None, plain: Rendered | None) -> None:
        self.template = template
        self.plain = plain  # what it gives, if there is nothing to render
        self.names: tuple[str, ...] = ()


class _Context(Context):
    """Jinja's variables, noting which are asked for."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.asked: set[str] = set()

    def resolve_or_missing(self, key: str) -> Any:
        self.asked.add(key)
        return super().resolve_or_missing(key)


class _RefusedError(Exception):
    """A template called ``fail``."""


def _fail(why: object) -> None:
    raise _RefusedError(str(why))


_compiled: Memo[_Compiled] = Memo(_KEPT)
_results: Memo[Rendered] = Memo(_KEPT)
_verbatim: Memo[Rendered] = Memo(_KEPT)


@cache
def _environment() -> LimitedEnvironment:
    environment = LimitedEnvironment(
        block_start_string="{% ",
        block_end_string="%}",
        variable_start_string="{{",
        variable_end_string="}}",
        comment_start_string="<#--",
        comment_end_string="--#>",
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.context_class = _Context
    environment.globals["fail"] = _fail
    return environment


def is_template(text: str) -> bool:
    """Return whether a text has something to render."""
    return not is_plain(text)


def forget() -> None:
    """Forget all results that are kept: only time tells the difference."""
    _compiled.clear()
    _results.clear()
    _verbatim.clear()


def variables(source: str) -> frozenset[str]:
    """Return the names of the variables that a template uses and does not set itself.

    Raises:
        InputError: it is not a template.
    """
    if is_plain(source):
        return frozenset()
    environment = _environment()

    def found() -> set[str]:
        with metered():
            text = marked(protected(source), environment)
            return meta.find_undeclared_variables(environment.parse(text))

    return frozenset(_tried(found, {}, "template"))


def render(source: str, values: Mapping[str, Any], file: str) -> tuple[RenderedLine, ...]:
    """Render a template, line by line.

    Args:
        source: the template.
        values: the variables that it may use; any other is an error.
        file: what to call it in errors.

    Raises:
        InputError: it is not a template, uses an undefined variable, or is out of bounds.
    """
    made = rendered(source, values, file)
    return tuple(map(RenderedLine, made.texts, made.numbers))


def render_value(
    source: str,
    values: Mapping[str, Any],
    where: Location,
    seen: dict[str, Hashable] | None = None,
) -> str:
    """Render one value of a recipe, such as the command of a check.

    Args:
        source: the template.
        values: the variables that it may use; any other is an error.
        where: where it stands.
        seen: as :func:`rendered` has it.

    Raises:
        InputError: as :func:`render`, at ``where``.
    """
    try:
        return "\n".join(rendered(source, values, where.file, seen).texts)
    except InputError as error:
        raise InputError(error.what, where=where, fix=error.fix) from error


def rendered(
    source: str,
    values: Mapping[str, Any],
    file: str,
    seen: dict[str, Hashable] | None = None,
) -> Rendered:
    """Render a template: what :func:`render` does, in a form that is cheap to keep.

    Args:
        source: the template.
        values: the variables that it may use; any other is an error.
        file: what to call it in errors.
        seen: one dict for all calls with the same values makes them quicker.

    Raises:
        InputError: as :func:`render`.
    """
    known = _compiled.get(source)
    if known is None:
        known = _compiled.put(source, _compile(source, values, file), len(source) + 1)
    if known.plain is not None:
        return known.plain
    seen = {} if seen is None else seen
    key = _key(source, known.names, values, seen)
    found = _results.get(key) if key else None
    if found is not None:
        return found

    def run() -> Rendered:
        with metered():
            return _run(known, values)

    result: Rendered = _tried(run, values, file)
    key = _key(source, known.names, values, seen)  # it may have asked for names that are new
    if key:
        _results.put(key, result, len(source) + sum(map(len, result.texts)))
    return result


def verbatim(source: str, file: str) -> Rendered:
    """Return a text as it stands, in the form of a template that was rendered.

    Raises:
        InputError: it holds control characters.
    """
    known = _verbatim.get(source)
    if known is None:
        _refuse(_RESERVED, source, file, "control characters are not allowed in a fragment")
        texts = tuple(lines_of(source))
        made = Rendered(texts, tuple(range(1, len(texts) + 1)))
        known = _verbatim.put(source, made, len(source) + 1)
    return known


def _refuse(pattern: re.Pattern[str], source: str, file: str, what: str, fix: str = "") -> None:
    hostile = pattern.search(source)
    if hostile:
        line = source.count("\n", 0, hostile.start()) + 1
        fix = fix or "remove them; printf '\\001' makes one at run time"
        raise InputError(what, where=Location(file=file, line=line), fix=fix)


def _compile(source: str, values: Mapping[str, Any], file: str) -> _Compiled:
    if is_plain(source):
        return _Compiled(None, verbatim(source, file))
    _refuse(_RESERVED, source, file, "control characters are not allowed in a fragment")
    _refuse(
        _TRIMMING_TAG,
        source,
        file,
        "a tag that trims white space is not used here",
        "write '{% ': a line that holds tags alone leaves no empty line anyway",
    )
    environment = _environment()

    def compiled() -> Template:
        with metered():
            return environment.from_string(marked(protected(source), environment))

    return _Compiled(_tried(compiled, values, file), None)


def _run(known: _Compiled, values: Mapping[str, Any]) -> Rendered:
    assert known.template
    context = known.template.new_context(dict(values))
    assert isinstance(context, _Context)
    try:
        text = "".join(known.template.root_render_func(context))
    except Exception:
        known.template.environment.handle_exception()  # gives the lines of the template
    if not context.asked.issubset(known.names):
        known.names = tuple(sorted({*known.names, *context.asked}))
    lines = tuple(unmarked(text))
    return Rendered(tuple(each for each, _ in lines), tuple(number for _, number in lines))


def _tried(make: Callable[[], Any], values: Mapping[str, Any], file: str) -> Any:
    """Do something with a template; whatever goes wrong is an error of its author."""
    try:
        return make()
    except ImageBuilderError:
        raise
    except TemplateSyntaxError as error:
        raise InputError(
            f"not a valid template: {error.message}",
            where=Location(file=file, line=error.lineno),
            fix=_RAW,
        ) from error
    except _RefusedError as error:
        raise InputError(str(error), where=Location(file=file, line=_line_of(error))) from error
    except (RecursionError, MemoryError, SyntaxError) as error:  # Python's, not Jinja's
        raise InputError(
            "the template is nested too deeply, or a macro calls itself for ever",
            where=Location(file=file, line=_line_of(error) or 1),
            fix=_RAW,
        ) from error
    except Exception as error:
        names = ", ".join(sorted(values)) or "none"
        raise InputError(
            str(error) or type(error).__name__,
            where=Location(file=file, line=_line_of(error)),
            fix=f"the variables that are set: {names}",
        ) from error


def _line_of(error: BaseException) -> int | None:
    """Return the template's line in which a run-time error arose (Jinja rewrites tracebacks)."""
    line = None
    frame = error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


# ----- what a result depends on -------------------------------------------------------------------


def _key(
    source: str, names: tuple[str, ...], values: Mapping[str, Any], seen: dict[str, Hashable]
) -> Hashable | None:
    """Return what a result follows from, or None if that cannot be told."""
    try:
        for name in names:
            if name not in seen:
                seen[name] = _frozen(values[name]) if name in values else None
    except TypeError:
        return None
    return (source, *(seen[name] for name in names))


def _frozen(value: Any) -> Hashable:
    """Return something that is equal only where templates see no difference.

    Raises:
        TypeError: there may be a difference that cannot be seen.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is list or kind is tuple:
        return (kind, *map(_frozen, value))
    if kind is dict:
        return (kind, *((_frozen(key), _frozen(each)) for key, each in value.items()))
    if value is None or kind is bool or kind is int:
        return (kind, value)  # 1, 1.0 and True are equal, and look different
    if kind is float:
        return (kind, repr(value))
    if callable(value):
        return (callable, id(value))
    raise TypeError(kind)
