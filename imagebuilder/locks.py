"""Locks: the lock files of a project's recipes, made, brought up to date, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuilder import engines, lockfile
from imagebuilder.engines import LockingEngine, Request
from imagebuilder.errors import InputError, StepError, listed
from imagebuilder.kickstart import compose
from imagebuilder.lockfile import Change, LockFile
from imagebuilder.options import Options
from imagebuilder.pipeline import see_that_cache_can_be_written
from imagebuilder.progress import Reporter
from imagebuilder.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """What a recipe's lock file is, or would be.

    Attributes:
        lock: the lock file.
        path: where it stands.
        changes: how its packages differ from those of the one that was there before.
        is_new: whether there was none.
        is_other: whether anything in it differs from the one that was there, packages or not.
    """

    lock: LockFile
    path: Path
    changes: tuple[Change, ...]
    is_new: bool
    is_other: bool


def lock_recipe(
    project: Project,
    name: str,
    options: Options | None = None,
    *,
    update: Sequence[str] | None = None,
    dry_run: bool = False,
) -> Locking:
    """Write the exact packages of a recipe beside it, in ``recipes/NAME.lock.json``.

    Packages that are locked already stay as they are for as long as the mirrors have them, so
    that a wish that is added changes no others.  A file that would say the same stays as it is.

    Args:
        project: where it belongs.
        name: its name.
        options: how.
        update: packages that are not to stay as they are; empty: all of them; None: none.
        dry_run: only find out, and write nothing.

    Raises:
        InputError: the recipe is wrong, a package is unknown or not locked, or they cannot be
            installed together.
        StepError: the mirrors cannot be reached, or the file cannot be written.
    """
    options = options or Options.make()
    see_that_cache_can_be_written(options.cache_dir)
    resolved = project.resolve(name)
    engine = engines.find(resolved.recipe.engine, resolved.place("engine"))
    if resolved.recipe.abstract or not isinstance(engine, LockingEngine):
        raise InputError(
            f"{name!r} is abstract: no packages follow from it"
            if resolved.recipe.abstract
            else f"the engine {resolved.recipe.engine!r} has no lock files",
            where=resolved.place("abstract" if resolved.recipe.abstract else "engine"),
        )
    reporter = Reporter(subject=name, observer=options.observer, cancel=options.cancel)
    request = Request(
        resolved=resolved,
        kickstart=compose(resolved),
        cache_dir=options.cache_dir,
        reporter=reporter,
        refresh=options.refresh,
        offline=options.offline,
        vault=resolved.vault(reporter.cancel),
    )
    engine.check(request)
    path, where = lockfile.place_of(project.root, name)
    everything = update is not None and not update
    try:
        old = lockfile.read(project.root, name)
    except InputError:
        if not everything:
            raise
        old = None  # whatever stands there: it is made again
    locked = old.packages if old else ()
    unknown = sorted(set(update or ()) - {each.name for each in locked})
    if unknown:
        raise InputError(
            f"not in the lock file of {name!r}: {listed(unknown)}",
            where=where,
            fix=f"to take in what the recipe now asks for: imagebuilder lock {name}",
        )
    keep = () if everything else [each for each in locked if each.name not in (update or ())]
    new = engine.make_lock(request, keep)
    changes = lockfile.changes(old, new)
    safer = engine.security_of(request, changes)
    result = Locking(
        lock=new,
        path=path,
        changes=tuple(replace(each, security=each.name in safer) for each in changes),
        is_new=old is None,
        is_other=_content(old) != _content(new),
    )
    if result.is_other and not dry_run:
        try:
            lockfile.write(project.root, new)
        except OSError as error:
            raise StepError(
                f"{where} cannot be written: {error.strerror}", fix="see that there is room"
            ) from error
    return result


def outdated(project: Project, name: str, options: Options | None = None) -> tuple[Change, ...]:
    """Return what ``lock --update`` would change in the lock file of a recipe.

    Raises:
        InputError: there is none, or as for :func:`lock_recipe`.
        StepError: the mirrors cannot be reached.
    """
    if lockfile.read(project.root, project.resolve(name).name) is None:
        raise InputError(
            f"{name!r} has no lock file",
            where=lockfile.place_of(project.root, name)[1],
            fix=f"run: imagebuilder lock {name}",
        )
    return lock_recipe(project, name, options, update=(), dry_run=True).changes


def _content(lock: LockFile | None) -> object:
    """Return what counts of a lock file: not when it was made, nor what the mirrors were then."""
    if lock is None:
        return None
    packages = tuple((each.name, each.version, each.arch, each.sha256) for each in lock.packages)
    wishes = (lock.wishes, lock.asked, lock.missing)
    return lock.distro, lock.arch, wishes, lock.layers, packages
