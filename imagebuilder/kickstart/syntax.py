"""pykickstart's syntax of one version, made once, and what it read remembered.

pykickstart makes all of a version's hundred commands for each file, which takes 30 ms, and an
option parser takes most of the rest.  Here a command is made when it is first met, and put back
into its first state for the next file; what the option parser made of words is remembered.  All
else runs each time: how lines of different commands go together is checked as ever.
"""

from __future__ import annotations

import re
import shlex
import threading
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from pykickstart.base import BaseHandler, KickstartCommand
from pykickstart.errors import KickstartError, KickstartParseError
from pykickstart.handlers.control import commandMap, dataMap
from pykickstart.version import stringToVersion

from imagebuilder.memo import Memo

_KEPT_LINES = 20_000  # that are remembered of one version
_LOCK = threading.Lock()  # the state is one; so is Python's of warnings


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line, or what pykickstart warns of: its index and the reason."""

    n: int
    text: str


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A command line, read alone.

    Attributes:
        words: as a shell would cut it.
        options: those that were given, in full.
        data: pykickstart's object, or None if it has none for this line alone.
        problem: why it could not be cut into words, or "".
    """

    words: tuple[str, ...]
    options: tuple[str, ...] = ()
    data: Any = None
    problem: str = ""


class _Commands(dict[str, Any]):
    """The commands of a handler, each made when it is first asked for."""

    def __init__(self, classes: Mapping[str, Any], make: Callable[[str], None]) -> None:
        super().__init__()
        self._classes = classes
        self._make = make

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __missing__(self, name: str) -> Any:
        if name not in self._classes:
            raise KeyError(name)
        self._make(name)
        return self[name]


class _Lazy:
    """Mixed into a version's handler, makes its commands late; keeps the first state of each."""

    version: int
    commands: dict[str, Any]
    registerCommand: Callable[[str, Any], None]  # noqa: N815
    registerData: Callable[[str, Any], None]  # noqa: N815

    def _registerCommands(self, *_: Any) -> None:  # noqa: N802
        classes = commandMap[self.version]
        self.first: dict[int, tuple[Any, dict[str, Any]]] = {}
        self.attributes = {_attribute(each): name for name, each in classes.items()}
        self.commands = _Commands(classes, self._make)
        for name, each in dataMap[self.version].items():
            self.registerData(name, each)

    def _make(self, name: str) -> None:
        self.registerCommand(name, commandMap[self.version][name])
        command = self.commands[name]
        if id(command) not in self.first:
            self.remember(getattr(command, "op", None))
            self.first[id(command)] = (command, _copied(vars(command)))

    def remember(self, parser: Any) -> None:
        """Put a memory before an option parser."""

    def __getattr__(self, name: str) -> Any:
        # Commands look at each other: self.handler.autopart
        known = self.__dict__.get("attributes", {}).get(name)
        if known is None:
            raise AttributeError(name)
        return self.commands[known]

    def restart(self) -> None:
        """Put all commands into their first state."""
        for command, state in self.first.values():
            now = vars(command)
            now.clear()
            now.update(_copied(state))


def _attribute(kind: type) -> str:
    """Return the attribute that a handler has for a command class, as ``_setCommand`` does."""
    _, has_version, name = kind.__name__.partition("_")
    return (name if has_version else kind.__name__).lower()


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value[:] if type(value) is list else value.copy() if type(value) is dict else value
        for name, value in state.items()
    }


class Syntax:
    """What pykickstart knows of one version."""

    def __init__(self, version: str) -> None:
        stringToVersion(version)  # refuses one that there is not
        module = import_module(f"pykickstart.handlers.{version.lower()}")
        plain: type[BaseHandler] = getattr(module, f"{version.upper()}Handler")
        self._parsed: Memo[tuple[Any, ...]] = Memo(_KEPT_LINES)
        self._lines: Memo[ReadLine] = Memo(_KEPT_LINES)
        self._caught: list[warnings.WarningMessage] = []
        self._noted: list[str] = []
        syntax = self

        class Handler(_Lazy, plain):  # type: ignore[misc]
            def remember(self, parser: Any) -> None:
                syntax._remember(parser)

        self.handler = Handler()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep other threads out, and catch what pykickstart warns of."""
        with _LOCK, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._caught = caught
            self._noted = []
            yield

    def take_warnings(self) -> list[str]:
        """Return what pykickstart has warned of since the last call, without line numbers."""
        self._note()
        noted, self._noted = self._noted, []
        return noted

    def _note(self) -> None:
        for each in self._caught:
            text = re.sub(r"\s+", " ", str(each.message))
            self._noted.append(re.sub(r" (?:on|at) line (?:\d+|None)", "", text))
        self._caught.clear()

    def read(self, text: str) -> ReadLine:
        """Return a command line as it reads alone.  Inside of :meth:`in_use`."""
        known = self._lines.get(text)
        return known or self._lines.put(text, self._read(text))

    def _read(self, text: str) -> ReadLine:
        try:
            words = tuple(shlex.split(text, comments=True))
        except ValueError as error:  # an open quote
            return ReadLine((), problem=str(error))
        if not words or not words[0]:
            return ReadLine((), problem="an empty word is no command")
        self.handler.restart()
        data = None
        try:
            data = self.handler.dispatcher(list(words), 1)
        except KickstartError:
            pass  # said where the line stands among the others
        self.take_warnings()
        if isinstance(data, KickstartCommand):
            data = copy(data)  # the command itself is put back into its first state
        return ReadLine(words, options=self._options(words), data=data)

    def _options(self, words: Sequence[str]) -> tuple[str, ...]:
        if words[0] not in self.handler.commands:
            return options(words, None)
        return options(words, getattr(self.handler.commands[words[0]], "op", None))

    def restart(self) -> None:
        """Begin another kickstart."""
        self.handler.restart()

    def check(self, line: ReadLine, text: str, n: int) -> Any:
        """Read a command line after those before it; return what pykickstart makes of it.

        Args:
            line: how it reads alone.
            text: the line.
            n: its index.

        Returns:
            pykickstart's object, or a :class:`Problem`.
        """
        if line.problem:
            return Problem(n, line.problem)
        self.handler.currentLine = f"{text}\n"
        try:
            return self.handler.dispatcher(list(line.words), n + 1)
        except KickstartError as error:
            return Problem(n, message(error))

    def _remember(self, parser: Any) -> None:
        if parser is None:
            return
        plain = parser.parse_known_args  # parse_args calls it

        def parse_known_args(
            args: Sequence[str], namespace: None = None, lineno: int | None = None
        ) -> tuple[Namespace, list[str]]:
            key = (id(parser), tuple(args))
            known = self._parsed.get(key)
            if lineno is not None:
                parser.lineno = lineno
            if known is None:
                self._note()
                count = len(self._noted)
                made: dict[str, Any] = {}
                rest: list[str] = []
                wrong = ""
                try:
                    namespace, rest = plain(args)
                    made = vars(namespace)
                except KickstartParseError as error:
                    wrong = message(error)
                self._note()
                warned = self._noted[count:]
                del self._noted[count:]
                known = self._parsed.put(key, (made, rest, wrong, warned))
            made, rest, wrong, warned = known
            self._noted += warned
            if wrong:
                raise KickstartParseError(wrong, lineno=parser.lineno)
            return Namespace(**_copied(made)), list(rest)

        parser.parse_known_args = parse_known_args


@cache
def syntax(version: str) -> Syntax:
    """Return the syntax of a version, such as ``RHEL9``; one for the whole process."""
    return Syntax(version)


def options(words: Sequence[str], parser: Any) -> tuple[str, ...]:
    """Return the options among the words of a line, in full: argparse takes their beginnings."""
    known: Mapping[str, Any] = getattr(parser, "_option_string_actions", {})
    given: list[str] = []
    for word in words[1:]:
        if word == "--":
            break
        if not word.startswith("--"):
            continue
        name = word.partition("=")[0]
        longer = [each for each in known if each.startswith(name)] if name not in known else []
        given.append(longer[0] if len(longer) == 1 else name)
    return tuple(given)


def message(error: KickstartError) -> str:
    """Return what pykickstart says is wrong, without its idea of the line."""
    text = str(getattr(error, "message", "") or error)
    return re.sub(r"\s+", " ", text).strip()
