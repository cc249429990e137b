"""What mirrors have of what is locked: gone, another file, a security update."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuilder import command
from imagebuilder.debversion import DebianVersion
from imagebuilder.engines.direct.index import Index, environment
from imagebuilder.engines.direct.locked import files, preferences, told
from imagebuilder.engines.direct.simulate import LINES, simulate
from imagebuilder.errors import InputError, Location, StepError, joined, listed
from imagebuilder.kickstart import Kickstart
from imagebuilder.lockfile import Change, LockedPackage, LockFile, place_of
from imagebuilder.progress import Reporter

# A line of apt-cache madison: a package, a version, and where it is: URL SUITE/COMPONENT …
_ROW = re.compile(r"^\s*(?P<name>\S+) \|\s*(?P<version>\S+) \| (?P<where>.*)$", re.MULTILINE)
_NAMED = 20  # packages that an error names; more are counted


def check_there(index: Index, lock: LockFile, kickstart: Kickstart, reporter: Reporter) -> None:
    """Refuse a lock file of which the mirrors no longer have every file.

    Args:
        index: what the mirrors have.
        lock: what is to be installed.
        kickstart: where the wishes stand.
        reporter: has the request to stop.

    Raises:
        StepError: naming each package that is missing, and what there is of it now.
    """
    try:
        with told(preferences(lock.packages, alone=True)) as file:
            there = files(index, lock.asked, kickstart, reporter, file).of
    except StepError as error:
        problems = _gone(index, lock, reporter)
        raise joined(problems or [_broken(index, lock, kickstart, reporter)]) from error
    wanted_files = {each.name: (each.arch, each.sha256) for each in lock.packages}
    if {each.name: (each.arch, each.sha256) for each in there.values()} != wanted_files:
        problems = _gone(index, lock, reporter)
        raise joined(problems or [_differs(lock, there)])


def _gone(index: Index, lock: LockFile, reporter: Reporter) -> list[StepError]:
    """Return an error for each package whose file is not there; the last counts the rest."""
    rows = _versions(index, [each.name for each in lock.packages], reporter)
    gone = [
        each
        for each in lock.packages
        if each.version not in [version for version, _ in rows.get(each.name, ())]
    ]
    errors = []
    for each in gone[:_NAMED]:
        now = listed(dict.fromkeys(version for version, _ in rows.get(each.name, ())))
        errors.append(
            StepError(
                f"the mirrors no longer have {each.name} {each.version}; they have: {now}",
                where=_where(lock),
            )
        )
    if len(gone) > _NAMED:
        errors.append(StepError(f"and {len(gone) - _NAMED} more", where=_where(lock)))
    if errors:
        errors[0].fix = (
            f"see what would change: imagebuilder outdated {lock.recipe}; take it over: "
            f"imagebuilder lock {lock.recipe} --update; or name a mirror that keeps all versions, "
            "with a snapshot: docs/builds.md"
        )
    return errors


def _differs(lock: LockFile, there: Mapping[str, LockedPackage]) -> StepError:
    """Return the error for files of the right versions that are not those that are locked."""
    locked = {each.name: each.sha256 for each in lock.packages}
    other = [
        name
        for name in sorted({*locked, *there})
        if name not in there or locked.get(name) != there[name].sha256
    ]
    return StepError(
        "the mirrors have other files than those that are locked, of the same versions: "
        + listed(other),
        where=_where(lock),
        fix="ask who made them why; take them over: "
        f"imagebuilder lock {lock.recipe} --update {' '.join(other[:_NAMED])}",
    )


def _broken(index: Index, lock: LockFile, kickstart: Kickstart, reporter: Reporter) -> StepError:
    """Return the error for versions that are all there, and cannot be installed together."""
    reason = ""
    try:
        with told(preferences(lock.packages, alone=True)) as file:
            simulate(index, lock.asked, kickstart, reporter, preferences=file)
    except InputError as error:  # which has apt's reason: it is not said with the files
        reason = error.excerpt
    return StepError(
        "the locked packages cannot be installed together",
        where=_where(lock),
        excerpt=reason,
        fix="it was not made so: take it from version control again, or make it anew: "
        f"imagebuilder lock {lock.recipe} --update",
    )


def _where(lock: LockFile) -> Location:
    return place_of(Path(), lock.recipe)[1]


def security_of(index: Index, changes: Sequence[Change], reporter: Reporter) -> frozenset[str]:
    """Return the packages of which a security update is among the versions that a change passes.

    By the name of the suite, ``SUITE-security``, as Debian has it; a later version that is not
    of that suite holds the update too.
    """
    moved = [each for each in changes if each.old and each.new]
    rows = _versions(index, [each.name for each in moved], reporter) if moved else {}
    return frozenset(
        each.name
        for each in moved
        if any(
            _is_security(where) and _is_between(each.old, version, each.new)
            for version, where in rows.get(each.name, ())
        )
    )


def _is_security(where: str) -> bool:
    return any("security" in word.partition("/")[0] for word in where.split()[1:2])


def _is_between(old: str, version: str, new: str) -> bool:
    return DebianVersion(old) < DebianVersion(version) <= DebianVersion(new)


def _versions(
    index: Index, names: Sequence[str], reporter: Reporter
) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return the versions that there are of some packages, each with where it is."""
    result = command.run(
        ["apt-cache", "madison", *names],
        timeout=120,
        cancel=reporter.cancel,
        env=environment(index.folder),
        keep=LINES,
        check=False,  # of one that nobody has, apt says so
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for each in _ROW.finditer(result.stdout):
        found.setdefault(each["name"], []).append((each["version"], each["where"]))
    return found
