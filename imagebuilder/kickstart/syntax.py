"""pykickstart's syntax of one version, made once, and what it read remembered.

pykickstart makes all of a version's hundred commands for each file, which takes 30 ms, and an
option parser takes most of the rest.  Here a command is made when it is first met, and put back
into its first state for the next file; what the option parser made of words is remembered, and
what pykickstart said of lines that go together.
"""

from __future__ import annotations

import re
import shlex
import threading
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import Any

from pykickstart.base import BaseHandler, KickstartCommand
from pykickstart.errors import KickstartError, KickstartParseError
from pykickstart.handlers.control import commandMap, dataMap
from pykickstart.version import stringToVersion

from imagebuilder.kickstart.option_forms import Forms, Parsed
from imagebuilder.memo import Memo

_LINE_LIMIT = 16 << 10  # characters
_KEPT_LINES = 20_000  # that are remembered of one version
# A line that shlex cuts at its spaces alone: no quote, no backslash, no comment.
_UNQUOTED = re.compile(r"[ \t!$-&(-\[\]-~]*")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What pykickstart says of a line among others.

    Attributes:
        wrong: what is wrong with it, or "".
        warned: what it warns of.
        data: its object, with what lines before it may have put in.
    """

    wrong: str = ""
    warned: tuple[str, ...] = ()
    data: Any = None


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
        self.read: set[str] = set()
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

    def restart(self, social: frozenset[str]) -> None:
        """Put the commands that were read since the last call into their first state.

        Args:
            social: the commands that may have changed others, too.
        """
        read, self.read = self.read, set()
        if read & social:
            stale = [*self.first.values()]
        else:
            known = (id(self.commands[name]) for name in read if name in self.commands)
            stale = [self.first[each] for each in known if each in self.first]
        for command, state in stale:
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
        self._forms = Forms(_KEPT_LINES)
        self._lines: Memo[ReadLine] = Memo(_KEPT_LINES)
        self._verdicts: Memo[tuple[Verdict, ...]] = Memo(_KEPT_LINES)
        self._caught: list[warnings.WarningMessage] = []
        self._noted: list[str] = []
        syntax = self

        class Handler(_Lazy, plain):  # type: ignore[misc]
            def remember(self, parser: Any) -> None:
                syntax._remember(parser)

        self.handler = Handler()
        self._social = _social(commandMap[self.handler.version])

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
            words = split(text)
        except ValueError as error:  # an open quote
            return ReadLine((), problem=str(error))
        if not words or not words[0]:
            return ReadLine((), problem="an empty word is no command")
        self.handler.restart(self._social)
        data = None
        try:
            data = self._dispatch(words, 1)
        except KickstartError:
            pass  # said where the line stands among the others
        self.take_warnings()
        if isinstance(data, KickstartCommand):
            data = copy(data)  # the command itself is put back into its first state
        return ReadLine(words, options=self._options(words), data=data)

    def _dispatch(self, words: Sequence[str], lineno: int) -> Any:
        self.handler.read.add(words[0])
        return self.handler.dispatcher(list(words), lineno)

    def _options(self, words: Sequence[str]) -> tuple[str, ...]:
        if words[0] not in self.handler.commands:
            return options(words, None)
        return options(words, getattr(self.handler.commands[words[0]], "op", None))

    def check(self, lines: Sequence[tuple[str, ReadLine]]) -> tuple[Verdict, ...]:
        """Read command lines after each other, as those of one kickstart.

        Only lines that could see each other are read in one go: those of one command, and those
        of all commands that look at others.

        Args:
            lines: the text of each, and how it reads alone.

        Returns:
            what pykickstart says of each.
        """
        families: dict[str, list[int]] = {}
        for n, (_, line) in enumerate(lines):
            if line.words:
                families.setdefault(self._family(line.words[0]), []).append(n)
        made = [Verdict(wrong=line.problem) for _, line in lines]
        for members in families.values():
            key = tuple(lines[n][0] for n in members)
            known = self._verdicts.get(key)
            if known is None:
                known = self._together([lines[n] for n in members])
                self._verdicts.put(key, known, len(key))
            for n, verdict in zip(members, known, strict=True):
                made[n] = verdict
        return tuple(made)

    def _together(self, lines: Sequence[tuple[str, ReadLine]]) -> tuple[Verdict, ...]:
        self.handler.restart(self._social)
        made: list[Verdict] = []
        for n, (text, line) in enumerate(lines, 1):
            self.handler.currentLine = f"{text}\n"
            data, wrong = None, ""
            try:
                data = self._dispatch(line.words, n)
            except KickstartError as error:
                wrong = message(error)
            # A command that can be given once is one object for all its lines: not for keeps.
            data = copy(data) if isinstance(data, KickstartCommand) else data
            made.append(Verdict(wrong=wrong, warned=tuple(self.take_warnings()), data=data))
        return tuple(made)

    def _family(self, name: str) -> str:
        kind = commandMap[self.handler.version].get(name)
        if kind is None or name in self._social:
            return ""
        return str(kind.__name__)

    def _remember(self, parser: Any) -> None:
        if parser is None:
            return
        plain = parser.parse_known_args  # parse_args calls it

        def parse_known_args(
            args: Sequence[str], _namespace: None = None, lineno: int | None = None
        ) -> tuple[Namespace, list[str]]:
            if lineno is not None:
                parser.lineno = lineno
            known = self._forms.parsed(parser, args, lambda words: self._read_words(plain, words))
            self._noted += known.warned
            if known.wrong:
                raise KickstartParseError(known.wrong, lineno=parser.lineno)
            return Namespace(**_copied(known.made)), list(known.rest)

        parser.parse_known_args = parse_known_args

    def _read_words(
        self, plain: Callable[[Sequence[str]], tuple[Namespace, list[str]]], words: Sequence[str]
    ) -> Parsed:
        self._note()
        count = len(self._noted)
        made: dict[str, Any] = {}
        rest: list[str] = []
        wrong = ""
        try:
            namespace, rest = plain(words)
            made = vars(namespace)
        except KickstartParseError as error:
            wrong = message(error)
        self._note()
        warned = self._noted[count:]
        del self._noted[count:]
        return Parsed(made, rest, wrong, warned)


def _social(classes: Mapping[str, Any]) -> frozenset[str]:
    """Return the commands that look at others, by way of their handler, and those looked at."""
    by_attribute = {_attribute(kind): name for name, kind in classes.items()}
    found: set[str] = set()
    for name, kind in classes.items():
        rivals = [each for each in kind.conflictingCommands if each in classes]
        if rivals:
            found |= {name, *rivals}
        for function in _functions(kind):
            names: Iterable[str] = function.__code__.co_names
            if "handler" not in names:
                continue
            if "getattr" in names:  # the names stand in a list of the class
                names = [*names, *_listed(kind)]
            found |= {name, *(by_attribute[each] for each in names if each in by_attribute)}
    kinds = {classes[name] for name in found}
    return frozenset(name for name, kind in classes.items() if kind in kinds)


def _listed(kind: type) -> Iterator[str]:
    for each in kind.__mro__:
        for value in vars(each).values():
            if isinstance(value, list | tuple):
                yield from (word for word in value if isinstance(word, str))


def _functions(kind: type) -> Iterator[FunctionType]:
    for each in kind.__mro__:
        if each.__module__.startswith("pykickstart.commands."):
            yield from (value for value in vars(each).values() if isinstance(value, FunctionType))


@cache
def syntax(version: str) -> Syntax:
    """Return the syntax of a version, such as ``RHEL9``; one for the whole process."""
    return Syntax(version)


def split(text: str) -> tuple[str, ...]:
    """Return the words of a line, as a shell would cut it.

    Raises:
        ValueError: a quote is open, or the line is too long: shlex copies a word for each sign
            that it adds to it.
    """
    if len(text) > _LINE_LIMIT:
        raise ValueError(f"the line has more than {_LINE_LIMIT >> 10} KiB")
    if _UNQUOTED.fullmatch(text):
        return tuple(text.split())  # the same, in a thirtieth of the time
    return tuple(shlex.split(text, comments=True))


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
