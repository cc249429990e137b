"""What a line of ``%packages`` stands for: a package, a group, or a pattern of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

from imagebuilder.engines.direct.available import TASK, Available
from imagebuilder.errors import InputError, listed
from imagebuilder.kickstart import PackageWish

_NAME = re.compile(r"^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$")
_PATTERN = re.compile(r"^[a-z0-9*?\[][a-z0-9+.*?\[\]!-]*$")
_GROUP = re.compile(r"^@\^?(?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)$")
_MOST = 1000  # packages that one pattern may stand for: more is a mistake, such as a lone *

# Debian has no groups but tasks and priorities (Debian Policy 2.5); kickstarts' own names of
# groups that every EL and Fedora has stand for the same things here.
_PRIORITIES = {
    "core": ("required", "important"),
    "standard": ("required", "important", "standard"),
}
_SAME = {"minimal-environment": "core", "custom-environment": "core"}
DEFAULT = ("core", "standard")  # what Debian's installer puts in unless told otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A line that begins with ``@``.

    Attributes:
        name: of the group or environment.
        optional: whether its optional packages are wanted too.
        defaults: whether its default packages are.
    """

    name: str
    optional: bool = False
    defaults: bool = True


def problem(wish: PackageWish) -> InputError | None:
    """Return what is wrong with a line as it stands, without an index."""
    if _is_well_named(wish.name):
        return None
    if wish.is_group:
        return InputError(
            f"{wish.name!r} is not the name of a group",
            where=wish.where,
            fix="write @NAME or @^NAME, and one of --optional and --nodefaults after it, if any",
        )
    return InputError(
        f"{wish.name!r} is not the name of a package",
        where=wish.where,
        fix="write one name, name:arch, name=version, a pattern such as linux-headers-*, or "
        "@group on each line",
    )


@lru_cache(maxsize=1 << 12)
def _is_well_named(name: str) -> bool:
    if name.startswith("@"):
        return _GROUP.match(name) is not None
    return bool(_NAME.match(name) or (is_pattern(name) and _PATTERN.match(name)))


def is_pattern(name: str) -> bool:
    """Return whether it may stand for several packages."""
    return any(sign in name for sign in "*?[")


def expand(wish: PackageWish, available: Available) -> tuple[str, ...]:
    """Return the packages that a group or pattern stands for.

    Raises:
        InputError: the index knows none, or too many.
    """
    return _of_group(wish, available) if wish.is_group else _of_pattern(wish, available)


def _of_pattern(wish: PackageWish, available: Available) -> tuple[str, ...]:
    try:
        pattern = re.compile(translate(wish.name))
    except re.error as error:
        raise InputError(f"{wish.name!r} is no pattern: {error}", where=wish.where) from error
    found = tuple(name for name in available.names if pattern.match(name))
    if not found:
        raise InputError(
            f"no package fits {wish.name!r}",
            where=wish.where,
            fix="look for the name, or name a repository that has it with repo",
        )
    if len(found) > _MOST:
        raise InputError(
            f"{wish.name!r} stands for {len(found)} packages",
            where=wish.where,
            fix=f"a pattern stands for at most {_MOST}: write more of the name",
        )
    return found


def _of_group(wish: PackageWish, available: Available) -> tuple[str, ...]:
    matched = _GROUP.match(wish.name)
    assert matched  # problem() has looked at it
    group = Group(
        name=_SAME.get(matched["name"], matched["name"]),
        optional="--optional" in wish.options,
        defaults="--nodefaults" not in wish.options,
    )
    names = members(group, available)
    if not names:
        raise InputError(
            f"there is no group {matched['name']!r}",
            where=wish.where,
            fix="groups are Debian's tasks and priorities: "
            + listed(known(available), near=matched["name"], limit=60),
        )
    return names


def members(group: Group, available: Available) -> tuple[str, ...]:
    """Return the packages of a group, or none if it is unknown.

    Of a task what it depends on is mandatory, what it recommends is default, and what it
    suggests is optional.
    """
    names: list[str] = []
    for priority in _PRIORITIES.get(group.name, ()):
        names += available.priorities.get(priority, ())
    if names:
        return tuple(dict.fromkeys(names))
    names += available.fields.get(group.name, ())
    task = available.tasks.get(group.name)
    if task:
        # Without its defaults the task's own package must stay out: it recommends them.
        needed = [each for each in task.depends if each != "tasksel"]
        names += [TASK + group.name] if group.defaults else needed
        further = (
            *(task.recommends if group.defaults else ()),
            *(task.suggests if group.optional else ()),
        )
        # A suggestion need not be in the archive.
        names += [each for each in further if available.has(each)]
    return tuple(dict.fromkeys(names))


def known(available: Available) -> Sequence[str]:
    """Return the names of all groups, sorted."""
    return sorted({*_PRIORITIES, *available.fields, *available.tasks})
