"""Parts of a kickstart that can be read alone, and are kept for all kickstarts that have them.

A fragment most often begins and ends outside of sections.  What it says then depends on its
lines alone; only how its commands go together with those of others is left to be checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from imagebuilder.kickstart.document import Command, PackageWish, Script, Section
from imagebuilder.kickstart.lines import Block, Lines
from imagebuilder.kickstart.sections import Sections, Split, wish
from imagebuilder.kickstart.syntax import Problem, ReadLine, Syntax, syntax
from imagebuilder.memo import Memo

_KEPT = 64 << 20  # characters of parts that are kept
_EACH = 500  # what a part weighs besides its lines


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """What stands in one or more blocks that begin and end outside of sections.

    Attributes:
        lines: the lines; all indices are into these.
        read: each command's index, and how it reads alone.
        commands: the same, for the document.
        sections: in order, then each ``%include`` that is left to the installer.
        scripts: the script sections.
        packages: the lines of all ``%packages``.
        given: the options of all ``%packages``.
        includes: the indices of the lines that are left to the installer.
        problems: what is wrong.
        warned: what pykickstart warns of.
    """

    lines: Lines
    read: tuple[tuple[int, ReadLine], ...]
    commands: tuple[Command, ...]
    sections: tuple[Section, ...]
    scripts: tuple[Script, ...]
    packages: tuple[PackageWish, ...]
    given: frozenset[str]
    includes: tuple[int, ...]
    problems: tuple[Problem, ...]
    warned: tuple[Problem, ...]


class Reader:
    """Reads the parts of kickstarts of one version.  Used inside of the syntax' ``in_use``."""

    def __init__(self, known: Syntax) -> None:
        self._syntax = known
        self._sections = Sections(known)
        self._parts: Memo[Part] = Memo(_KEPT)
        self._open: Memo[tuple[bool, bool]] = Memo(_KEPT)

    def parts(self, lines: Lines) -> Iterator[Part]:
        """Give the parts of a kickstart, in order."""
        together: list[Block] = []
        inside = False
        for block in lines.blocks:
            together.append(block)
            inside = self._ends_inside(block, inside)
            if not inside:
                yield self._part(tuple(together))
                together.clear()
        if together:
            yield self._part(tuple(together))

    def _ends_inside(self, block: Block, inside: bool) -> bool:
        """Return whether a section is open at the end of a block."""
        known = self._open.get(block)
        if known is None:
            ends = []
            words = [each.split()[0] for each in block.texts if each.lstrip()[:1] == "%"]
            for state in (False, True):
                for word in words:
                    if word != "%include":
                        state = word != "%end" if state or word != "%end" else state
                ends.append(state)
            known = self._open.put(block, (ends[0], ends[1]), _EACH)
        return known[inside]

    def _part(self, blocks: tuple[Block, ...]) -> Part:
        known = self._parts.get(blocks)
        if known is None:
            made = self._read(Lines(blocks))
            known = self._parts.put(blocks, made, _EACH + sum(map(len, made.lines.texts)))
        return known

    def _read(self, lines: Lines) -> Part:
        texts = lines.texts
        split = self._sections.split(texts)
        problems = [*split.problems]
        warned: list[Problem] = []
        for found in split.sections:
            warned += [Problem(found.start, text) for text in found.header.warned]
            problems += [
                Problem(found.start + each.n, each.text)
                for each in self._sections.problems(texts, found)
            ]
        numbers = [n for n in split.commands if texts[n].lstrip()[:1] not in ("", "#")]
        read = tuple((n, self._syntax.read(texts[n])) for n in numbers)
        return Part(
            lines=lines,
            read=read,
            commands=tuple(_command(lines, n, line) for n, line in read),
            sections=(*_sections(lines, split), *_includes(lines, split)),
            scripts=tuple(_scripts(lines, split)),
            packages=tuple(_wishes(lines, split)),
            given=frozenset(
                option
                for each in split.sections
                if each.header.words[0] == "%packages"
                for option in each.header.options
            ),
            includes=tuple(split.includes),
            problems=tuple(problems),
            warned=tuple(warned),
        )


@cache
def reader(version: str) -> Reader:
    """Return the reader of a version, such as ``RHEL9``; one for the whole process."""
    return Reader(syntax(version))


def forget() -> None:
    """Forget all parts, and what pykickstart said: only time tells the difference."""
    reader.cache_clear()
    syntax.cache_clear()
    wish.cache_clear()


def _command(lines: Lines, n: int, line: ReadLine) -> Command:
    return Command(
        name=line.words[0] if line.words else "",
        text=lines.texts[n],
        options=line.options,
        data=line.data,
        where=lines.where(n),
        via=lines.via(n),
    )


def _sections(lines: Lines, split: Split) -> Iterator[Section]:
    for found in split.sections:
        yield Section(
            name=found.header.words[0],
            options=found.header.options,
            where=lines.where(found.start),
            words=found.header.words,
            via=lines.via(found.start),
            lines=lines,
            span=(found.start + 1, found.end),
        )


def _includes(lines: Lines, split: Split) -> Iterator[Section]:
    for n in split.includes:
        yield Section(
            name="%include",
            options=(),
            where=lines.where(n),
            words=tuple(lines.texts[n].split()[:2]),
            via=lines.via(n),
        )


def _scripts(lines: Lines, split: Split) -> Iterator[Script]:
    left_out = set(split.includes)
    for found in split.sections:
        kind = found.header.kind
        if kind is None:
            continue
        span = range(found.start + 1, found.end)
        body = "".join(f"{lines.texts[n]}\n" for n in span if n not in left_out)
        if not body.strip():
            continue
        script = found.header.script
        yield Script(
            kind=kind,
            body=body,
            interpreter=script.interp,
            in_chroot=bool(script.inChroot),
            error_on_fail=bool(script.errorOnFail),
            log=script.logfile or "",
            where=lines.where(found.start),
            via=lines.via(found.start),
        )


def _wishes(lines: Lines, split: Split) -> Iterator[PackageWish]:
    for found in split.sections:
        if found.header.words[0] != "%packages":
            continue
        for n in range(found.start + 1, found.end):
            asked = wish(lines.texts[n])
            if asked:
                name, excluded, options = asked
                yield PackageWish(
                    name=name,
                    excluded=excluded,
                    where=lines.where(n),
                    options=options,
                    via=lines.via(n),
                )
