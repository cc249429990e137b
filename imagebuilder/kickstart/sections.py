"""The sections of a flat kickstart: what their headers say, and what stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pykickstart.constants import (
    KS_SCRIPT_ONERROR,
    KS_SCRIPT_POST,
    KS_SCRIPT_PRE,
    KS_SCRIPT_PREINSTALL,
    KS_SCRIPT_TRACEBACK,
)
from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser, Packages, PutBackIterator

from imagebuilder.kickstart.document import ScriptKind
from imagebuilder.kickstart.syntax import Problem, Syntax, message, options, split
from imagebuilder.memo import Memo

_KINDS: dict[int, ScriptKind] = {
    KS_SCRIPT_PRE: "pre",
    KS_SCRIPT_PREINSTALL: "pre-install",
    KS_SCRIPT_POST: "post",
    KS_SCRIPT_ONERROR: "onerror",
    KS_SCRIPT_TRACEBACK: "traceback",
}
_KEPT = 64 << 20  # characters of sections that are kept
_GROUP_OPTIONS = ("--nodefaults", "--optional")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadHeader:
    """The header of a section, read alone.

    Attributes:
        words: as a shell would cut it.
        options: those that were given, in full.
        script: pykickstart's script, if it is the header of one.
        problems: what is wrong with it.
        warned: what pykickstart warns of.
    """

    words: tuple[str, ...]
    options: tuple[str, ...] = ()
    script: Any = None
    problems: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()

    @property
    def kind(self) -> ScriptKind | None:
        """Which kind of script it opens, if it does."""
        return _KINDS[self.script.type] if self.script else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a section stands: the index of its header, and that of its ``%end``."""

    start: int
    end: int
    header: ReadHeader


@dataclass(slots=True)
class Split:
    """A kickstart in its parts.

    Attributes:
        sections: in order.
        commands: the indices of the lines outside of sections.
        includes: the indices of the lines that the installer includes.
        problems: what is wrong.
    """

    sections: list[Found] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)
    includes: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class Sections:
    """Reads the sections of one version."""

    def __init__(self, syntax: Syntax) -> None:
        self._syntax = syntax
        self._headers: Memo[ReadHeader] = Memo(10_000)
        self._bodies: Memo[list[Problem]] = Memo(_KEPT)
        self.names = frozenset(KickstartParser(syntax.handler)._sections)

    def split(self, texts: Sequence[str]) -> Split:
        """Cut a kickstart into its parts, by the rules of pykickstart's parser.

        In a section only ``%end``, ``%include`` and the headers of sections are special; what
        else begins with a percent sign belongs to it.
        """
        made = Split()
        signs = [n for n, text in enumerate(texts) if "%" in text and text.lstrip()[0] == "%"]
        last = 0  # the first line that no section has taken
        start = -1
        header: ReadHeader | None = None
        for n in signs:
            word = texts[n].split()[0]
            if header is None:
                if word == "%include":
                    made.includes.append(n)
                    continue
                made.commands += range(last, n)
                header, start, last = self.header(texts[n]), n, n + 1
                made.problems += [Problem(n, each) for each in header.problems]
                if not header.words or header.words[0] not in self.names:
                    return made  # what follows could be anything
            elif word == "%end":
                made.sections.append(Found(start=start, end=n, header=header))
                header, last = None, n + 1
            elif word == "%include":
                made.includes.append(n)
            elif word in self.names:
                made.problems.append(Problem(n, _not_ended(header)))
                return made
        if header:
            made.problems.append(Problem(len(texts) - 1, _not_ended(header)))
        else:
            made.commands += range(last, len(texts))
        left_out = set(made.includes)
        if left_out:
            made.commands = [n for n in made.commands if n not in left_out]
        return made

    def header(self, text: str) -> ReadHeader:
        """Read a section's header.  Inside of the syntax' ``in_use``."""
        known = self._headers.get(text)
        return known or self._headers.put(text, self._header(text))

    def _header(self, text: str) -> ReadHeader:
        try:
            words = split(text)
        except ValueError as error:
            return ReadHeader(words=(), problems=(str(error),))
        if words[0] not in self.names:
            problem = f"Unknown kickstart section: {words[0]}"
            return ReadHeader(words=words, problems=(problem,))
        handler = self._syntax.handler
        handler.scripts = []
        parser = KickstartParser(handler)
        section = parser.getSection(words[0])
        problems: list[str] = []
        try:
            section.handleHeader(1, list(words))
            section.handleLine("true\n")
            section.finalize()
        except KickstartError as error:
            problems.append(message(error))
        make = getattr(section, "_getParser", None)
        return ReadHeader(
            words=words,
            options=options(words, make() if make and len(words) > 1 else None),
            script=handler.scripts[0] if handler.scripts else None,
            problems=tuple(problems),
            warned=tuple(self._syntax.take_warnings()),
        )

    def problems(self, texts: Sequence[str], found: Found) -> list[Problem]:
        """Return what is wrong inside of a section, by index from its header on."""
        name = found.header.words[0]
        if found.header.script or found.header.problems:
            return []
        body = tuple(texts[found.start : found.end])
        known = self._bodies.get(body)
        if known is None:
            check = _wrong_packages if name == "%packages" else self._wrong_section
            known = self._bodies.put(body, check(body), sum(map(len, body)) + 1)
        return known

    def _wrong_section(self, body: Sequence[str]) -> list[Problem]:
        parser = KickstartParser(self._syntax.handler, followIncludes=False)
        try:
            lines = [*(f"{text}\n" for text in body), "%end\n", ""]
            parser._stateMachine(PutBackIterator(lines))
        except KickstartError as error:
            return [Problem(max((error.lineno or 1) - 1, 0), message(error))]
        except (ValueError, IndexError) as error:
            return [Problem(0, str(error))]
        finally:
            self._syntax.handler.scripts = []
            self._syntax.handler.certificates = []
            self._syntax.handler._null_section_strings = []
        return []


def _not_ended(header: ReadHeader) -> str:
    return f"Section {header.words[0]} does not end with %end."


def _wrong_packages(body: Sequence[str]) -> list[Problem]:
    wrong: list[Problem] = []
    for n, text in enumerate(body[1:], 1):
        line = text.partition("#")[0].strip()
        if line[:1] not in ("-", "@"):
            continue
        if line == "-":
            wrong.append(Problem(n, "a '-' stands alone, without a package"))
        elif "--" in line:
            try:
                split(line)
                Packages().add([line])
            except KickstartError as error:
                wrong.append(Problem(n, message(error)))
            except ValueError as error:
                wrong.append(Problem(n, str(error)))
    return wrong


@lru_cache(maxsize=10_000)
def wish(text: str) -> tuple[str, bool, tuple[str, ...]] | None:
    """Return what a line of ``%packages`` asks for: a name, whether it is excluded, options."""
    name = text.partition("#")[0].strip()
    excluded = name.startswith("-")
    name = name.removeprefix("-").strip()
    if not name or name.startswith("%include"):
        return None
    if not name.startswith("@") or "--" not in name:
        return name, excluded, ()
    words = name.split()
    given = [word for word in words[1:] if _group_option(word)]
    name = " ".join(word for word in words if word not in given)
    return name, excluded, tuple(map(_group_option, given))


def _group_option(word: str) -> str:
    fitting = [each for each in _GROUP_OPTIONS if each.startswith(word)]
    return fitting[0] if len(word) > 2 and len(fitting) == 1 else ""
