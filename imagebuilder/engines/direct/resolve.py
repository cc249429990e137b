"""What a kickstart's ``%packages`` come to: the packages, with versions, of an index."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder.engines.base import digest_of
from imagebuilder.engines.direct import groups
from imagebuilder.engines.direct.available import Available, available
from imagebuilder.engines.direct.index import Index, write
from imagebuilder.engines.direct.simulate import simulate
from imagebuilder.errors import InputError, joined
from imagebuilder.kickstart import Kickstart, PackageWish
from imagebuilder.memo import Memo
from imagebuilder.progress import Reporter

_REMEMBERED = 64  # answers: recipes that are planned together share most of their wishes


class _Stored(BaseModel):
    """``resolved/DIGEST.json``: what a wish came to, in one state of the index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str
    asked: tuple[str, ...]
    versions: dict[str, str]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolution:
    """What the ``%packages`` of a kickstart come to; one object for the same wish.

    Attributes:
        asked: what apt is asked to install: names in order; ``NAME-`` for what must stay out.
        versions: all packages that this comes to, with versions.
        missing: lines of ``%packages`` that were passed over, since nobody knows them.
    """

    asked: tuple[str, ...]
    versions: Mapping[str, str]
    missing: tuple[str, ...]


_answers: Memo[Resolution] = Memo(_REMEMBERED)


def check(kickstart: Kickstart) -> None:
    """Look at the lines of ``%packages`` as they stand.

    Raises:
        InputError: a line is not the name of a package, a group or a pattern.
    """
    problems = [each for each in map(groups.problem, kickstart.packages) if each]
    if problems:
        raise joined(problems)


def wanted(
    kickstart: Kickstart, known: Available | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what apt is asked to install, and the lines that are passed over.

    Args:
        kickstart: whose ``%packages``.
        known: what the index has; needed for groups, patterns and ``--ignoremissing``.

    Raises:
        InputError: a group or pattern stands for nothing.
    """
    asked: dict[str, str] = {_bare(name): name for name in _default(kickstart, known)}
    missing: dict[str, None] = {}
    problems: list[InputError] = []
    for wish in kickstart.packages:
        try:
            names = _expanded(wish, known)
        except InputError as error:
            if not kickstart.ignore_missing and (wish.is_group or not wish.excluded):
                problems.append(error)
            missing[wish.name] = None
            continue
        if known and kickstart.ignore_missing and not known.has(re.split("[:=]", names[0])[0]):
            missing[wish.name] = None
            continue
        # The later line holds: a child can take out what its parent put in, and back in again.
        for name in names:
            asked.pop(_bare(name), None)
            if not wish.excluded:
                asked[_bare(name)] = name
            elif not wish.is_group:  # a group's packages may still come as others need them
                asked[_bare(name)] = f"{_bare(name)}-"
    if problems:
        raise joined(problems)
    return tuple(asked.values()), tuple(missing)


def _expanded(wish: PackageWish, known: Available | None) -> Sequence[str]:
    if known and (wish.is_group or groups.is_pattern(wish.name)):
        return groups.expand(wish, known)
    return (wish.name,)


def _default(kickstart: Kickstart, known: Available | None) -> Sequence[str]:
    if known is None or not asks_for_default(kickstart):
        return ()
    return [
        name for group in groups.DEFAULT for name in groups.members(groups.Group(name=group), known)
    ]


def asks_for_default(kickstart: Kickstart) -> bool:
    """Return whether ``%packages --default`` stands in a kickstart."""
    return any(
        each.name == "%packages" and "--default" in each.options for each in kickstart.sections
    )


def needs_index(kickstart: Kickstart) -> bool:
    """Return whether what ``%packages`` ask for can only be said by who knows all packages."""
    return (
        kickstart.ignore_missing
        or asks_for_default(kickstart)
        or any(each.is_group or groups.is_pattern(each.name) for each in kickstart.packages)
    )


def _bare(name: str) -> str:
    """Return a name without the version that may follow it."""
    return name.partition("=")[0]


def resolve(index: Index, kickstart: Kickstart, reporter: Reporter) -> Resolution:
    """Return the packages that the ``%packages`` of a kickstart come to.

    Raises:
        InputError: a package or group is unknown, or they cannot be installed together.
    """
    path = _place(index, kickstart)
    key = (str(path), index.digest)
    return (
        _answers.get(key)
        or _stored(path, index, key)
        or _answers.put(key, _asked(index, kickstart, path, reporter))
    )


def is_resolved(index: Index, kickstart: Kickstart) -> bool:
    """Return whether :func:`resolve` has the answer without asking apt."""
    path = _place(index, kickstart)
    key = (str(path), index.digest)
    return bool(_answers.get(key) or _stored(path, index, key))


def _place(index: Index, kickstart: Kickstart) -> Path:
    """Return the file with what a kickstart's wish came to."""
    name = _named(
        index.required,
        tuple((each.name, each.excluded, each.options) for each in kickstart.packages),
        kickstart.weak_dependencies,
        kickstart.ignore_missing,
        asks_for_default(kickstart),
    )
    return index.folder / "resolved" / name


def resolve_names(
    index: Index, asked: Sequence[str], kickstart: Kickstart, reporter: Reporter
) -> Resolution:
    """Return the packages that some names come to, with a kickstart's way of choosing.

    Args:
        index: what there is.
        asked: what apt is asked to install; ``NAME-`` for what must stay out.
        kickstart: whether recommended packages come along.
        reporter: has the request to stop.

    Raises:
        InputError: a package is unknown, or they cannot be installed together.
    """
    name = _named(index.required, tuple(asked), kickstart.weak_dependencies)
    path = index.folder / "resolved" / name
    key = (str(path), index.digest)
    known = _answers.get(key) or _stored(path, index, key)
    if known:
        return known
    return _answers.put(key, _simulated(index, tuple(asked), (), kickstart, path, reporter))


@lru_cache(maxsize=256)
def _named(*question: Hashable) -> str:
    """Return the name of the file with what a wish came to."""
    return f"{digest_of(json.dumps(question))}.json"


def _stored(path: Path, index: Index, key: tuple[str, str]) -> Resolution | None:
    try:
        stored = _Stored.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return _answers.put(key, _resolution(stored)) if stored.index == index.digest else None


def _resolution(stored: _Stored) -> Resolution:
    return Resolution(asked=stored.asked, versions=stored.versions, missing=stored.missing)


def _asked(index: Index, kickstart: Kickstart, path: Path, reporter: Reporter) -> Resolution:
    check(kickstart)
    known = available(index, reporter) if needs_index(kickstart) else None
    asked, missing = wanted(kickstart, known)
    for name in missing:
        reporter.note("index", f"package {name} is missing and passed over")
    return _simulated(index, asked, missing, kickstart, path, reporter)


def _simulated(
    index: Index,
    asked: tuple[str, ...],
    missing: tuple[str, ...],
    kickstart: Kickstart,
    path: Path,
    reporter: Reporter,
) -> Resolution:
    """Ask apt, and keep what it says."""
    found = simulate(index, asked, kickstart, reporter)
    stored = _Stored(
        index=index.digest,
        asked=asked,
        versions={name: each.version for name, each in found.items()},
        missing=missing,
    )
    path.parent.mkdir(exist_ok=True)
    write(path, stored.model_dump_json())
    return _resolution(stored)
