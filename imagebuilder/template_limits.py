"""Jinja's sandbox with a budget: whatever a template says, it comes to an end soon.

The sandbox keeps a template from the machine's files, but neither from its time nor from its
memory: loops in loops, macros that call themselves, ``"x" | center(10 ** 9)``, a text that is
doubled forty times.  Here each turn of a loop, each call, filter, operator and value counts,
a value by its size; when too much has been counted, rendering ends with an error.  What makes
something large out of something small at one stroke is counted before it is done.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import GeneratorType
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes, pass_context
from jinja2.environment import Environment
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

_BUDGET = 1_000_000  # steps of one rendering
_PER_STEP = 16  # characters, or items of lists, that count as one step
_BITS_LIMIT = 1 << 14  # of a number
_DIGITS_LIMIT = 100  # that a number is rounded to
_RESERVED = re.compile("[\x00-\x04]")

# Chance would make each build another; the last three have no use in text for a machine.
_LEFT_OUT = ("random", "pprint", "urlize", "xmlattr")
_NO_METHODS: dict[type, frozenset[str]] = {
    str: frozenset({"encode", "expandtabs", "format_map", "maketrans", "translate"}),
    int: frozenset({"to_bytes"}),
}
_WIDE = re.compile(r"\d{5}|\*|\{[^}]*\{")  # a width in a format that is large, or computed


class _Meter:
    """Counts what one rendering does."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = float(_BUDGET)

    def charge(self, size: float = 0) -> None:
        self.left -= 1 + size / _PER_STEP
        if self.left < 0:
            raise SecurityError("the template does far too much, or makes far too large a text")


_meter: ContextVar[_Meter] = ContextVar("_meter")


@contextmanager
def metered() -> Iterator[None]:
    """Give what is rendered inside a budget."""
    token = _meter.set(_Meter())
    try:
        yield
    finally:
        _meter.reset(token)


def _weight(value: Any) -> float:
    """Return how large a value is: characters, items, bytes of a number."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, int):
        return value.bit_length() / 8
    if not isinstance(value, list | tuple | dict | set | frozenset):
        return 1
    total = 0.0
    waiting: list[Any] = [value]
    while waiting and total <= _BUDGET * _PER_STEP:
        each = waiting.pop()
        if isinstance(each, dict):
            total += 2 * len(each)
            waiting += each
            waiting += each.values()
        elif isinstance(each, list | tuple | set | frozenset):
            total += 1 + len(each)
            waiting += each
        elif isinstance(each, str | bytes):
            total += len(each)
        elif isinstance(each, int):
            total += each.bit_length() / 8
    return total


def _weighed(value: Any) -> Any:
    """Count a value by its size; the items of a generator as they come."""
    if isinstance(value, GeneratorType):
        return _counted(value)
    _meter.get().charge(_weight(value))
    return value


def _counted(items: Iterable[Any], cost: float = 0) -> Iterator[Any]:
    charge = _meter.get().charge
    for item in items:
        charge(cost + _weight(item))
        yield item


def _each(items: Any, cost: int) -> Any:
    """Count the turns of a loop, each with the plain text that it holds."""
    if isinstance(items, Sized):
        _meter.get().charge(len(items) * (_PER_STEP + cost))
        return items
    return _counted(items, cost)


def _settled(value: Any) -> Any:
    """Count a value, and make a list of a generator: nobody knows the length of one."""
    return list(_counted(value)) if isinstance(value, GeneratorType) else _weighed(value)


def _joined(parts: list[Any]) -> str:
    texts = [str(_weighed(part)) for part in parts]
    return str(_weighed("".join(texts)))


# ----- what makes large things of small ones ------------------------------------------------------


def _count(value: Any) -> float:
    return value if isinstance(value, int | float) else 0


def _replaced(text: Any, old: Any = "", new: Any = "", *_: Any) -> float:
    return str(text).count(str(old)) * len(str(new)) if str(old) else math.inf


def _padded(_text: Any, width: Any = 80, *_: Any) -> float:
    return _count(width)


def _indented(text: Any, width: Any = 4, *_: Any) -> float:
    return str(text).count("\n") * (len(width) if isinstance(width, str) else _count(width))


def _wrapped(text: Any, width: Any = 79, _long: Any = True, mark: Any = None, *_: Any) -> float:
    # It cuts a long word piece by piece, and copies the rest each time.
    pieces = len(str(text)) / max(_count(width), 1)
    return pieces * (len(str(text)) + len(str(mark or "")))


def _listed(items: Any, between: Any = "", *_: Any) -> float:
    return (len(items) if isinstance(items, Sized) else 0) * len(str(between))


def _formatted(text: Any, *values: Any) -> float:
    if _WIDE.search(str(text)):
        return math.inf
    return (str(text).count("%") + str(text).count("{")) * (1e4 + _weight(values))


def _summed(items: Any, _attribute: Any = None, start: Any = 0, *_: Any) -> float:
    if isinstance(start, int | float):
        return 0
    return _weight(items) * (len(items) if isinstance(items, Sized) else _BUDGET)


def _rounded(_value: Any, digits: Any = 0, *_: Any) -> float:
    return math.inf if abs(_count(digits)) > _DIGITS_LIMIT else 0


_Size = Callable[..., float]
_NAMES = {  # of the arguments, where they are given by name
    "attribute": 1, "break_long_words": 2, "d": 1, "fill_with": 2, "indent": 1, "linecount": 1,
    "new": 2, "old": 1, "precision": 1, "slices": 1, "start": 2, "width": 1, "wrapstring": 3,
}  # fmt: skip
_FILTERS: dict[str, _Size] = {
    "batch": _padded,
    "center": _padded,
    "format": _formatted,
    "indent": _indented,
    "join": _listed,
    "replace": _replaced,
    "round": _rounded,
    "slice": _padded,
    "sum": _summed,
    "tojson": lambda value, indent=0, *_: _weight(value) * _count(indent or 0),
    "wordwrap": _wrapped,
}
_METHODS: dict[str, _Size] = {
    "center": _padded,
    "format": _formatted,
    "join": lambda between, items=(), *_: _listed(items, between),
    "ljust": _padded,
    "replace": _replaced,
    "rjust": _padded,
    "zfill": _padded,
}


def _check(size: _Size, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    given = list(args)
    for name, value in named.items():
        at = _NAMES.get(name, len(given))
        given += [None] * (at + 1 - len(given))
        given[at] = value
    # What was left out before a named one has its default, which is small.
    _meter.get().charge(size(*(0 if each is None else each for each in given)))


def _limited(name: str, function: Callable[..., Any], *, is_filter: bool) -> Callable[..., Any]:
    size = _FILTERS.get(name) if is_filter else None
    count = _settled if size else _weighed

    @wraps(function)
    def limited(*args: Any, **named: Any) -> Any:
        given = tuple(each if _is_jinja(each) else count(each) for each in args)
        named = {key: count(each) for key, each in named.items()}
        if size:
            _check(size, tuple(each for each in given if not _is_jinja(each)), named)
        return _weighed(function(*given, **named))

    return limited


def _is_jinja(value: Any) -> bool:
    return isinstance(value, Context | Environment | nodes.EvalContext)


# ----- Jinja --------------------------------------------------------------------------------------


class _Counting(NodeTransformer):
    """Puts the counting into the tree of a template."""

    def __init__(self, name: str | None) -> None:
        self.name = name

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        if node.recursive:
            self._refuse(node, "a loop cannot call itself")
        cost = sum(len(each.data) for each in node.find_all(nodes.TemplateData))
        self.generic_visit(node)
        node.iter = _filter(node.iter, "(each)", nodes.Const(cost, lineno=node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "(joined)")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filter(node.expr, "(weighed)")
        for each in node.ops:
            each.expr = _filter(each.expr, "(weighed)")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "(weighed)") if isinstance(node.arg, nodes.Slice) else node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "(weighed)") if node.ctx == "load" else node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "(weighed)")

    visit_Dict = visit_List  # noqa: N815

    def visit_Include(self, node: nodes.Node) -> nodes.Node:  # noqa: N802
        return self._refuse(node, "a template cannot load another: %include does that")

    visit_Import = visit_FromImport = visit_Extends = visit_Include  # noqa: N815

    def visit_Block(self, node: nodes.Node) -> nodes.Node:  # noqa: N802
        return self._refuse(node, "there are no blocks: no template extends another")

    def _refuse(self, node: nodes.Node, why: str) -> nodes.Node:
        raise TemplateSyntaxError(why, node.lineno, self.name)


def _filter(node: nodes.Node, name: str, *args: nodes.Expr) -> nodes.Filter:
    fields: list[Any] = [node, name, list(args), [], None, None]
    return nodes.Filter(*fields, lineno=node.lineno)


@pass_context  # so that Jinja does not make texts already when it compiles
def _finalize(_context: Context, value: Any) -> Any:
    if isinstance(value, str) and _RESERVED.search(value):
        raise SecurityError("a value holds control characters")
    if callable(value) and not isinstance(value, StrictUndefined):
        raise SecurityError("a function is not called: its arguments are missing")
    return _weighed(value)


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, whose templates are rendered inside of :func:`metered`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(undefined=StrictUndefined, finalize=_finalize, optimized=False, **options)
        del self.globals["lipsum"]  # it makes another text each time
        for name in _LEFT_OUT:
            del self.filters[name]
        filters: dict[str, Any] = self.filters
        tests: dict[str, Any] = self.tests
        self.filters = {key: _limited(key, each, is_filter=True) for key, each in filters.items()}
        self.tests = {key: _limited(key, each, is_filter=False) for key, each in tests.items()}
        self.filters |= {"(each)": _each, "(joined)": _joined, "(weighed)": _weighed}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Counting(name).visit(super()._parse(source, name, filename))
        return tree.set_environment(self)  # type: ignore[return-value]

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may look at an attribute."""
        refused = any(isinstance(obj, each) and attr in _NO_METHODS[each] for each in _NO_METHODS)
        safe = not refused and not isinstance(obj, bytes)
        return safe and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do what an operator says, if the result is not too large."""
        numbers = isinstance(left, int) and isinstance(right, int)
        size = _weight(left) + _weight(right)
        if operator == "**" and numbers:
            size = left.bit_length() * abs(right)
        elif operator == "*" and numbers:
            size = left.bit_length() + right.bit_length()
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(times, int):
                    size = max(size, _weight(many) * times)
        elif operator == "%" and isinstance(left, str):
            size = _formatted(left, right)
        if numbers and size > _BITS_LIMIT:
            size = math.inf
        _meter.get().charge(size)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **named: Any) -> Any:  # noqa: N805
        """Call something, if it does not make too much of its arguments."""
        args = tuple(_settled(each) for each in args)
        named = {key: _settled(each) for key, each in named.items()}
        method = getattr(__obj, "__wrapped__", __obj)
        text = getattr(method, "__self__", None)
        if isinstance(text, str):
            size = _METHODS.get(method.__name__)
            _check(size or (lambda *_: len(text)), (text, *args), named)
        return _weighed(super().call(__context, __obj, *args, **named))
