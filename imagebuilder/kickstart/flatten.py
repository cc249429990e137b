"""Fragments to lines: find them, render them, follow ``%include``."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from imagebuilder import template
from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import fragment as fragments
from imagebuilder.kickstart.fragment import Fragment
from imagebuilder.kickstart.lines import Block, Line, Lines
from imagebuilder.memo import Memo
from imagebuilder.secrets import check_whole

__all__ = ["Line", "Lines", "at_install_time", "flatten", "included"]

_PATH_LIMIT = 4096  # PATH_MAX, limits.h
_TOTAL_LIMIT = 32 << 20  # characters of all lines together
_DEPTH_LIMIT = 64  # fragments that include one another
_COUNT_LIMIT = 2_000  # %include lines that are followed
_KEPT = 64 << 20  # characters of rendered fragments that are kept
# Where a %pre script writes what the installer is to include.
_INSTALL_TIME = ("/tmp/", "/var/tmp/", "/run/")  # noqa: S108 - nothing is read there


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """A part of a rendered fragment: lines, or one that includes another.

    Attributes:
        texts: the lines.
        numbers: for each the fragment's line.
        size: their characters.
        wanted: what is included in place of them, or "".
    """

    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    size: int
    wanted: str = ""


_pieces: Memo[tuple[_Piece, ...]] = Memo(_KEPT)
_blocks: Memo[Block] = Memo(20_000)


def forget() -> None:
    """Forget all that is kept of fragments: only time tells the difference."""
    _pieces.clear()
    _blocks.clear()
    fragments.forget()
    template.forget()


def flatten(
    names: Sequence[tuple[str, Location]],
    folders: Sequence[Path],
    values: Mapping[str, Any],
    plain: Sequence[str] = (),
) -> Lines:
    """Return all lines of the named fragments, included ones in their places.

    Args:
        names: the fragments, each with the place that asks for it.
        folders: where fragments are looked for, the first match wins.
        values: the variables of the templates.
        plain: patterns of the fragments that are no templates.

    Raises:
        InputError: a fragment is missing, outside its folder, not a template, includes itself,
            or all of them together are out of bounds.
    """
    walk = _Walk([str(folder) for folder in folders], values, plain)
    for name, where in names:
        found = fragments.find(name, walk.folders, None, where)
        walk.add(found, (where,), (found.path,))
    return Lines(walk.blocks)


class _Walk:
    """One way through all fragments of a recipe."""

    def __init__(
        self, folders: Sequence[str], values: Mapping[str, Any], plain: Sequence[str]
    ) -> None:
        self.folders = folders
        self.plain = plain
        self.values = values
        self.blocks: list[Block] = []
        self.size = 0
        self.count = 0
        self.seen: dict[str, Hashable] = {}

    def add(self, found: Fragment, via: tuple[Location, ...], stack: tuple[str, ...]) -> None:
        """Add a fragment's lines, and those of all that it includes."""
        shown = found.shown_as
        for piece in _cut(self._rendered(found, via), shown):
            if piece.wanted:
                where = Location(file=shown, line=piece.numbers[0])
                self._include(piece.wanted, found, where, via, stack)
                continue
            self.size += piece.size
            if self.size > _TOTAL_LIMIT:
                raise InputError(
                    f"the kickstart is larger than {_TOTAL_LIMIT >> 20} MiB",
                    where=Location(file=shown, line=piece.numbers[0]),
                    fix="look for a loop over too much, or an %include that repeats",
                )
            self.blocks.append(_block(piece, shown, via))

    def _rendered(self, found: Fragment, via: tuple[Location, ...]) -> template.Rendered:
        name = found.shown_as.removeprefix("kickstarts/")
        text = fragments.read(found, via[-1])
        if any(fnmatchcase(name, pattern) for pattern in self.plain):
            return template.verbatim(text, found.shown_as)
        return template.rendered(text, self.values, found.shown_as, self.seen)

    def _include(
        self,
        name: str,
        includer: Fragment,
        where: Location,
        via: tuple[Location, ...],
        stack: tuple[str, ...],
    ) -> None:
        found = fragments.find(name, self.folders, includer, where)
        if found.path in stack:
            circle = " → ".join(Path(path).name for path in (*stack, found.path))
            raise InputError(f"fragments include each other in a circle: {circle}", where=where)
        if len(stack) >= _DEPTH_LIMIT:
            raise InputError(
                f"more than {_DEPTH_LIMIT} fragments include one another",
                where=where,
                fix="name some of them in the recipe, beside each other",
            )
        self.count += 1
        if self.count > _COUNT_LIMIT:
            raise InputError(
                f"more than {_COUNT_LIMIT} fragments are included",
                where=where,
                fix="look for an %include that repeats",
            )
        self.add(found, (*via, where), (*stack, found.path))


def _block(piece: _Piece, shown: str, via: tuple[Location, ...]) -> Block:
    known = _blocks.get((piece, shown, via))
    if known is None:
        known = Block(file=shown, texts=piece.texts, numbers=piece.numbers, via=via)
        _blocks.put((piece, shown, via), known)
    return known


def _cut(rendered: template.Rendered, shown: str) -> tuple[_Piece, ...]:
    """Return the parts of a fragment between its ``%include`` lines, and these."""
    known = _pieces.get(rendered)
    if known is not None:
        return known
    pieces: list[_Piece] = []
    start = 0

    def close(end: int) -> None:
        texts = rendered.texts[start:end]
        if texts:
            size = sum(map(len, texts)) + len(texts)
            numbers = rendered.numbers[start:end]
            pieces.append(_Piece(texts=texts, numbers=numbers, size=size))

    for n, text in enumerate(rendered.texts):
        if "@" in text:
            check_whole(text, Location(file=shown, line=rendered.numbers[n]))
        if "%" not in text:
            continue
        wanted = included(text, Location(file=shown, line=rendered.numbers[n]))
        if not wanted or at_install_time(wanted):
            continue
        close(n)
        number = rendered.numbers[n : n + 1]
        pieces.append(_Piece(texts=(text,), numbers=number, size=len(text), wanted=wanted))
        start = n + 1
    close(len(rendered.texts))
    weight = sum(each.size for each in pieces) + 1
    return _pieces.put(rendered, tuple(pieces), weight)


def included(text: str, where: Location) -> str:
    """Return what a line includes, or "" if it is another kind of line.

    ``%ksappend`` is what pykickstart's tools put in place before anything else is read; its
    effect is the same.

    Raises:
        InputError: it names nothing, or several things.
    """
    if not text.lstrip().startswith(("%include", "%ksappend")):
        return ""
    word = text.split()[0]
    if word not in ("%include", "%ksappend"):
        return ""
    try:
        # No path is longer, and shlex copies a word for each sign that it adds to it.
        words = shlex.split(text, comments=True) if len(text) <= _PATH_LIMIT else []
    except ValueError as error:
        raise InputError(f"{word}: {error}", where=where) from error
    if len(words) != 2 or not words[1]:
        raise InputError(f"{word} takes one fragment", where=where)
    return words[1]


def at_install_time(name: str) -> bool:
    """Return whether a ``%pre`` script writes what is included, on the machine."""
    return name.startswith(_INSTALL_TIME) and posixpath.normpath(name).startswith(_INSTALL_TIME)
