"""How the lock files of a recipe differ: what is installed, package by package."""

from __future__ import annotations

from collections.abc import Sequence

from imagebuilder import lockfile
from imagebuilder.changes.difference import Difference
from imagebuilder.changes.rendered import Rendered
from imagebuilder.debversion import DebianVersion
from imagebuilder.errors import InputError
from imagebuilder.lockfile import LockFile

_PACKAGE = "package"


def with_locks(
    told: Sequence[Difference], old: Rendered | None, new: Rendered
) -> tuple[Difference, ...]:
    """Return differences of a recipe with those of its lock file, if it is built by one.

    A package that the recipe asks for now, and that the file has now, is told of once, with its
    version; what the file has besides came along with it.
    """
    before, after = (_lock(each) if each else None for each in (old, new))
    if before is None or after is None:
        return tuple(told)
    wishes = {each.name for each in told if each.kind == _PACKAGE}
    where = lockfile.place_of(new.resolved.project.root, after.recipe)[1] if new.resolved else None
    origins = {each.name: each.origin for each in after.packages}
    found = [
        Difference(
            kind=_PACKAGE,
            name=each.name,
            old=each.old,
            new=each.new,
            note=_note(each, wishes, origins.get(each.name, "")),
            where=where,
        )
        for each in lockfile.changes(before, after)
    ]
    names = {each.name for each in found}
    found += [each for each in told if each.kind == _PACKAGE and each.name not in names]
    others = [each for each in told if each.kind != _PACKAGE]
    return (*sorted(found, key=lambda each: each.name), *others)


def _lock(side: Rendered) -> LockFile | None:
    """Return the lock file of a recipe that is built by it; None if there is none to read."""
    if not side.resolved or not side.resolved.is_locked:
        return None
    try:
        return lockfile.read(side.resolved.project.root, side.resolved.name)
    except InputError:
        return None  # lint and plan say what is wrong with it


def _note(change: lockfile.Change, wishes: set[str], origin: str) -> str:
    """Return the note of a difference; Debian's suites of security updates say so in their name."""
    if change.old == change.new:
        return ""
    if not (change.old and change.new):
        return "along" if wishes and change.name not in wishes else ""
    try:
        if DebianVersion(change.new) < DebianVersion(change.old):
            return "down"
        return "security" if "security" in origin.rpartition("/")[2] else "up"
    except InputError:
        return ""
