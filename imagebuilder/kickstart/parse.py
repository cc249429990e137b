"""Flat lines to a validated document, by pykickstart."""

from __future__ import annotations

import re
import shlex
import threading
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from pykickstart.base import KickstartCommand
from pykickstart.constants import (
    KS_SCRIPT_ONERROR,
    KS_SCRIPT_POST,
    KS_SCRIPT_PRE,
    KS_SCRIPT_PREINSTALL,
    KS_SCRIPT_TRACEBACK,
)
from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser, PutBackIterator
from pykickstart.version import makeVersion

from imagebuilder.errors import InputError, Location, joined
from imagebuilder.kickstart.document import (
    Command,
    Kickstart,
    PackageWish,
    Script,
    ScriptKind,
    Section,
)
from imagebuilder.kickstart.flatten import Line

_KINDS: dict[int, ScriptKind] = {
    KS_SCRIPT_PRE: "pre",
    KS_SCRIPT_PREINSTALL: "pre-install",
    KS_SCRIPT_POST: "post",
    KS_SCRIPT_ONERROR: "onerror",
    KS_SCRIPT_TRACEBACK: "traceback",
}
_LOCK = threading.Lock()  # pykickstart keeps the version on its classes; so do warnings


class _Parser(KickstartParser):  # type: ignore[misc]
    """pykickstart's parser, noting each command and going on after an error."""

    def __init__(self, handler: Any, caught: list[warnings.WarningMessage]) -> None:
        super().__init__(handler, followIncludes=False)
        self.caught = caught
        self.warned: list[tuple[int | None, str]] = []
        self.found: list[tuple[int, list[str], Any]] = []
        self.errors: list[tuple[int | None, str]] = []

    def read(self, lines: tuple[Line, ...]) -> None:
        """Read lines as :class:`Line` has them.

        pykickstart's own reader also cuts where a form feed or U+2028 stands: its numbers would
        not be ours.
        """
        self._reset()
        self._stateMachine(PutBackIterator([*(f"{line.text}\n" for line in lines), ""]))

    def handleCommand(self, lineno: int, args: list[str]) -> Any:  # noqa: N802
        data = super().handleCommand(lineno, args)
        self.take_warnings(lineno)
        # Commands that can be given once share one object, which holds the last line's values:
        # each line gets one of its own, so that fragments can add to each other.
        own = data
        if isinstance(data, KickstartCommand):
            own = type(data)()
            own.handler, own.currentCmd, own.lineno = self.handler, args[0], lineno
            own.parse(args[1:])
            self.caught.clear()  # the same warnings again
        self.found.append((lineno, args, own))
        return data

    def take_warnings(self, lineno: int | None = None) -> None:
        """Note the warnings since the last call, as those of a line."""
        for each in self.caught:
            text = re.sub(r"\s+", " ", str(each.message))
            found = re.search(r" on line (\d+)", text)
            number = lineno or (int(found[1]) if found else None)
            self.warned.append((number, text.replace(found[0], "") if found else text))
        self.caught.clear()

    def _tryFunc(self, fn: Callable[[], None]) -> None:  # noqa: N802
        try:
            fn()
        except KickstartError as error:
            self.errors.append((error.lineno, _message(error)))


def parse(lines: tuple[Line, ...], version: str) -> Kickstart:
    """Validate flat lines as a kickstart.

    Args:
        lines: the text; templates rendered, includes followed.
        version: pykickstart's name of the syntax.

    Raises:
        InputError: with the fragment's file and line of everything that is wrong.
    """

    def where(number: int | None) -> Location:
        if number is None or not 0 < number <= len(lines):
            return lines[-1].where if lines else Location(file="kickstart")
        return lines[number - 1].where

    with _LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parser = _Parser(makeVersion(version), caught)
        try:
            parser.read(lines)
        except KickstartError as error:
            parser.errors.append((error.lineno, _message(error)))
        except (ValueError, IndexError) as error:  # from shlex: an open quote; an empty word
            parser.errors.append((_line_of(parser, lines), str(error)))
        parser.take_warnings()
    if parser.errors:
        raise joined(
            [
                InputError(
                    f"not a valid kickstart ({version}): {message}",
                    where=where(number),
                    fix=_hint(message),
                )
                for number, message in parser.errors
            ]
        )
    sections = _sections(lines)
    # pykickstart keeps the options of the last %packages alone: those of each fragment's hold.
    options = {option for each in sections if each.name == "%packages" for option in each.options}
    return Kickstart(
        version=version,
        lines=lines,
        commands=tuple(
            Command(
                name=args[0],
                text=lines[number - 1].text,
                options=tuple(word.split("=")[0] for word in args[1:] if word.startswith("--")),
                data=data,
                where=where(number),
            )
            for number, args, data in parser.found
        ),
        packages=_wishes(lines),
        weak_dependencies=not options & {"--exclude-weakdeps", "--excludeWeakdeps"},
        ignore_missing="--ignoremissing" in options,
        scripts=tuple(
            Script(
                kind=_KINDS[each.type],
                body=each.script,
                interpreter=each.interp,
                in_chroot=bool(each.inChroot),
                error_on_fail=bool(each.errorOnFail),
                log=each.logfile or "",
                where=where(each.lineno),
            )
            for each in parser.handler.scripts
        ),
        sections=sections,
        warnings=tuple(f"{where(number)}: {text}" for number, text in parser.warned),
    )


def _message(error: KickstartError) -> str:
    # pykickstart puts its own idea of the line before the message: it is that of the flat text.
    return re.sub(r"\s+", " ", str(getattr(error, "message", "") or error)).strip()


def _hint(message: str) -> str:
    if "Unknown command" in message:
        return "a program that is to run in the image goes into a %post section"
    if "does not end with %end" in message:
        return "each section ends with a line %end"
    return ""


def _line_of(parser: _Parser, lines: tuple[Line, ...]) -> int | None:
    bad = parser._line.rstrip("\n")
    return next((n for n, line in enumerate(lines, 1) if line.text == bad), None)


def _headers(lines: tuple[Line, ...]) -> list[tuple[int, list[str]]]:
    """Return the index and the words of each section's header, and of each ``%end``."""
    headers: list[tuple[int, list[str]]] = []
    inside = False
    for n, line in enumerate(lines):
        text = line.text.lstrip()
        if not text.startswith("%"):
            continue
        word = text.split()[0]
        if inside and word != "%end":
            continue
        inside = word != "%end"
        headers.append((n, shlex.split(text, comments=True)))
    return headers


def _sections(lines: tuple[Line, ...]) -> tuple[Section, ...]:
    return tuple(
        Section(
            name=words[0],
            options=tuple(word.split("=")[0] for word in words[1:] if word.startswith("--")),
            where=lines[n].where,
        )
        for n, words in _headers(lines)
        if words[0] != "%end"
    )


def _wishes(lines: tuple[Line, ...]) -> tuple[PackageWish, ...]:
    headers = _headers(lines)
    wishes: list[PackageWish] = []
    for (start, words), (end, _) in pairwise(headers):
        if words[0] != "%packages":
            continue
        for line in lines[start + 1 : end]:
            name = line.text.partition("#")[0].strip()
            excluded = name.startswith("-")
            name = name.removeprefix("-").strip()
            if name:
                wishes.append(PackageWish(name=name, excluded=excluded, where=line.where))
    return tuple(wishes)
