"""The expressions of GitHub's workflows, ``${{ … }}``: as much of them as our pipelines use.

An unknown function or sign is an error, never a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<sign>==|!=|&&|\|\||[!.,()\[\]]))"
)
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}

Functions = Mapping[str, Callable[..., Any]]

PLAIN: Functions = {
    "format": lambda text, *values: re.sub(r"\{(\d+)\}", lambda m: shown(values[int(m[1])]), text),
    "fromJSON": lambda text: json.loads(text),
    "contains": lambda whole, part: part in whole,
    "startsWith": lambda text, head: shown(text).lower().startswith(shown(head).lower()),
}


def value(text: str, contexts: Mapping[str, Any], functions: Functions = PLAIN) -> Any:
    """Return what an expression, without its braces, comes to."""
    reader = _Reader(text, contexts, functions)
    found = reader.either()
    assert reader.peek() == "", f"{text!r}: what is {reader.peek()!r}?"
    return found


def filled(text: Any, contexts: Mapping[str, Any], functions: Functions = PLAIN) -> Any:
    """Return a value of a workflow with the expressions in it filled in."""
    if not isinstance(text, str):
        return text
    whole = _EXPRESSION.fullmatch(text.strip())
    if whole:
        return value(whole[1], contexts, functions)
    return _EXPRESSION.sub(lambda found: shown(value(found[1], contexts, functions)), text)


def is_true(value: Any) -> bool:
    """Return whether a value counts as true: empty texts, 0, false and null do not."""
    return value not in ("", 0, False, None)


def shown(value: Any) -> str:
    """Return a value as a text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


class _Reader:
    def __init__(self, text: str, contexts: Mapping[str, Any], functions: Functions) -> None:
        self._contexts = contexts
        self._functions = functions
        self._tokens: list[str] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            assert found, f"{text!r}: what is {text[at:]!r}?"
            self._tokens.append(found[0].strip())
            at = found.end()

    def peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _take(self, wanted: str = "") -> str:
        token = self._tokens.pop(0)
        assert not wanted or token == wanted, f"{token!r} where {wanted!r} is wanted"
        return token

    def either(self) -> Any:
        found = self._both()
        while self.peek() == "||":
            self._take()
            other = self._both()
            found = found if is_true(found) else other
        return found

    def _both(self) -> Any:
        found = self._same()
        while self.peek() == "&&":
            self._take()
            other = self._same()
            found = other if is_true(found) else found
        return found

    def _same(self) -> Any:
        found = self._not()
        while self.peek() in ("==", "!="):
            sign = self._take()
            other = self._not()
            pair = [each.lower() if isinstance(each, str) else each for each in (found, other)]
            assert all(isinstance(each, str | bool | None) for each in pair), "not compared here"
            found = (pair[0] == pair[1]) == (sign == "==")
        return found

    def _not(self) -> Any:
        if self.peek() == "!":
            self._take()
            return not is_true(self._not())
        return self._path()

    def _path(self) -> Any:
        found = self._atom()
        while self.peek() in (".", "["):
            if self._take() == ".":
                key: Any = self._take()
            else:
                key = self.either()
                self._take("]")
            if isinstance(found, list):
                found = found[key] if isinstance(key, int) and key < len(found) else None
            else:
                found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def _atom(self) -> Any:
        token = self._take()
        if token == "(":
            found = self.either()
            self._take(")")
            return found
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token[0].isdigit():
            return float(token) if "." in token else int(token)
        if self.peek() == "(":
            return self._call(token)
        if token in _WORDS:
            return _WORDS[token]
        assert token in self._contexts, f"there is no context {token!r}"
        return self._contexts[token]

    def _call(self, name: str) -> Any:
        assert name in self._functions, f"there is no function {name!r}"
        self._take("(")
        values: list[Any] = []
        while self.peek() != ")":
            values.append(self.either())
            if self.peek() == ",":
                self._take()
        self._take(")")
        return self._functions[name](*values)
