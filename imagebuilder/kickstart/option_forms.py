"""What an option parser makes of words, remembered by their form.

The lines of many machines differ in a name or an address alone: ``network --hostname=…``.  An
option that only stores its value is read the same whatever the value is, so the words are read
once with marks in place of such values, and the values put where the marks come out.
"""

from __future__ import annotations

from argparse import ArgumentParser, _StoreAction
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imagebuilder.memo import Memo

_MARK = "\0"  # stands in no kickstart


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an option parser makes of words.

    Attributes:
        made: the values of its namespace.
        rest: the words that it does not know.
        wrong: what is wrong with the words, or "".
        warned: what it warns of.
    """

    made: dict[str, Any]
    rest: list[str]
    wrong: str
    warned: list[str]


class Forms:
    """Remembers what the option parsers of one version make of words."""

    def __init__(self, limit: int) -> None:
        self._known: Memo[Parsed] = Memo(limit)

    def parsed(
        self,
        parser: ArgumentParser,
        words: Sequence[str],
        read: Callable[[Sequence[str]], Parsed],
    ) -> Parsed:
        """Return what a parser makes of words, which is read if it is not known."""
        exact = (id(parser), tuple(words))
        known = self._known.get(exact)
        if known is not None:
            return known
        form, values = _form(parser, words)
        if not values:
            return self._known.put(exact, read(words))
        of_form = self._known.get((id(parser), form))
        if of_form is not None:
            return self._known.put(exact, _filled(of_form, values))
        made = read(words)
        self._known.put(exact, made)
        if not made.wrong:
            of_form = read(form)
            if _filled(of_form, values) == made:
                self._known.put((id(parser), form), of_form)
        return made


def _form(parser: ArgumentParser, words: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return words with marks in place of values, and the value of each mark."""
    if "--" in words:  # what follows is no option, however it looks
        return tuple(words), {}
    form: list[str] = []
    values: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if value and _only_stores(parser, name) and _MARK not in value:
            mark = f"{_MARK}{len(values)}"
            values[mark] = value
            word = f"{name}={mark}"
        form.append(word)
    return tuple(form), values


def _only_stores(parser: ArgumentParser, option: str) -> bool:
    action = parser._option_string_actions.get(option)
    return (
        type(action) is _StoreAction
        and action.type is None
        and action.choices is None
        and action.nargs is None
    )


def _filled(of_form: Parsed, values: dict[str, str]) -> Parsed:
    made = {
        name: values.get(value, value) if type(value) is str else value
        for name, value in of_form.made.items()
    }
    return replace(of_form, made=made)
