"""Fragments to lines: find them, render them, follow ``%include``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from imagebuilder import template
from imagebuilder.errors import InputError, Location

_FILE_LIMIT = 1 << 20  # bytes of one fragment
_TOTAL_LIMIT = 32 << 20  # characters of all lines together
_DEPTH_LIMIT = 64  # fragments that include one another
_COUNT_LIMIT = 2_000  # %include lines that are followed


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the flat kickstart, and the line of the fragment that it came from."""

    text: str
    where: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fragment:
    path: Path
    root: Path  # the folder of fragments that it was found in
    shown_as: str


def flatten(
    names: Sequence[tuple[str, Location]], folders: Sequence[Path], values: Mapping[str, Any]
) -> tuple[Line, ...]:
    """Return all lines of the named fragments, included ones in their places.

    Args:
        names: the fragments, each with the place that asks for it.
        folders: where fragments are looked for, the first match wins.
        values: the variables of the templates.

    Raises:
        InputError: a fragment is missing, outside its folder, not a template, includes itself,
            or all of them together are out of bounds.
    """
    lines: list[Line] = []
    size = 0
    counter = count(1)
    for name, where in names:
        fragment = _find(name, folders, None, where)
        for line in _lines(fragment, folders, values, (fragment.path,), counter):
            lines.append(line)
            size += len(line.text) + 1
            if size > _TOTAL_LIMIT:
                raise InputError(
                    f"the kickstart is larger than {_TOTAL_LIMIT >> 20} MiB",
                    where=line.where,
                    fix="look for a loop over too much, or an %include that repeats",
                )
    return tuple(lines)


def _lines(
    fragment: _Fragment,
    folders: Sequence[Path],
    values: Mapping[str, Any],
    stack: tuple[Path, ...],
    counter: Iterator[int],
) -> Iterator[Line]:
    for rendered in template.render(_read(fragment), values, fragment.shown_as):
        where = Location(file=fragment.shown_as, line=rendered.line)
        wanted = _included(rendered.text, where)
        if wanted is None:
            yield Line(rendered.text, where)
            continue
        found = _find(wanted, folders, fragment, where)
        if found.path in stack or len(stack) >= _DEPTH_LIMIT:
            circle = " → ".join(path.name for path in (*stack, found.path))
            raise InputError(f"fragments include each other in a circle: {circle}", where=where)
        if next(counter) > _COUNT_LIMIT:
            raise InputError(
                f"more than {_COUNT_LIMIT} fragments are included",
                where=where,
                fix="look for an %include that repeats",
            )
        yield from _lines(found, folders, values, (*stack, found.path), counter)


def _included(text: str, where: Location) -> str | None:
    """Return what a line includes, or None if it is another kind of line."""
    if not text.lstrip().startswith("%include"):
        return None
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise InputError(f"%include: {error}", where=where) from error
    if words[0] != "%include":
        return None
    if len(words) != 2 or not words[1]:
        raise InputError("%include takes one fragment", where=where)
    return words[1]


def _find(
    name: str, folders: Sequence[Path], includer: _Fragment | None, where: Location
) -> _Fragment:
    if name.startswith("/") or "://" in name:
        raise InputError(
            f"fragment {name!r} lies outside the project",
            where=where,
            fix="include fragments below kickstarts/; one that %pre would write at install time "
            "becomes a template",
        )
    tried: list[tuple[Path, Path]] = []
    if includer:
        tried.append((includer.root, includer.path.parent / name))
    tried += [(folder, folder / name) for folder in folders]
    for root, path in tried:
        try:
            resolved = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            continue
        if not resolved.is_relative_to(root.resolve()):
            raise InputError(
                f"fragment {name!r} lies outside {root.name}/",
                where=where,
                fix="move it below that folder",
            )
        if resolved.is_file():
            shown = resolved.relative_to(root.resolve())
            return _Fragment(path=resolved, root=root, shown_as=f"kickstarts/{shown}")
    raise InputError(
        f"there is no fragment {name!r}",
        where=where,
        fix=f"looked in {', '.join(str(folder) for folder in folders) or 'no folder'}"
        f"{_similar(name, folders)}",
    )


def _similar(name: str, folders: Sequence[Path]) -> str:
    same = sorted(
        str(path.relative_to(folder))
        for folder in folders
        for path in folder.rglob("*.ks")
        if path.name == Path(name).name
    )
    return f"; did you mean {same[0]!r}?" if same else ""


def _read(fragment: _Fragment) -> str:
    where = Location(file=fragment.shown_as)
    try:
        if fragment.path.stat().st_size > _FILE_LIMIT:
            raise InputError(f"a fragment has at most {_FILE_LIMIT >> 20} MiB", where=where)
        return fragment.path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            "not UTF-8 text",
            where=Location(file=fragment.shown_as, line=line),
            fix="save it as UTF-8",
        ) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from error
