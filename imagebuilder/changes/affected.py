"""Which images a change affects: what was rendered before is compared with what is now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from imagebuilder.changes import compare as comparison
from imagebuilder.changes import reach, reasons
from imagebuilder.changes.difference import Difference
from imagebuilder.changes.git import Moved, Repository
from imagebuilder.changes.locked import with_locks
from imagebuilder.changes.model import Affected, Changes, Effect
from imagebuilder.changes.reasons import Both
from imagebuilder.changes.rendered import TESTS, Rendered, rendered
from imagebuilder.changes.sides import Sides, laid_out
from imagebuilder.errors import ImageBuilderError, InputError
from imagebuilder.names import PROJECT_FILE
from imagebuilder.progress import Cancel
from imagebuilder.project import Project
from imagebuilder.steady import steady

_SHOWN = 5  # changed paths that are named where none is known to be to blame


def find_changes(
    project: Project,
    *,
    since: str = "HEAD",
    to: str = "",
    files: Sequence[str] | None = None,
    in_detail: bool = False,
    cancel: Cancel | None = None,
) -> Changes:
    """Find out which images a change affects.

    An image is affected if what its recipe is rendered to differs, or a file that is copied into
    it.  A change that leaves all that as it was affects nothing.

    Args:
        project: the project, in a git repository.
        since: the revision that the change starts from: what both sides have in common with it
            is compared, so that what others did to it meanwhile does not count.
        to: the revision that the change ends with; "" is the work tree, with what is not
            committed, and files that git does not know yet.
        files: the change is one of these paths (below the project's folder), and git is not
            asked.  There is nothing to compare then: each image that is made of one is affected.
        in_detail: also say how each image differs: :mod:`imagebuilder.changes.compare`.
        cancel: the caller's wish to stop.

    Raises:
        InputError: git knows a revision not, or has not enough of the history.
        HostError: there is no git.
    """
    if files is not None:
        moved = tuple(Moved(path=_inside(project, each)) for each in files)
        return _changes(Sides(None, project, moved), cancel)
    repository = Repository(project.root, cancel)
    before = repository.base(since, to or "HEAD")
    after = repository.commit(to) if to else ""
    moved = repository.moved(before, after or None)
    if not moved:
        return Changes(before=before, after=after, paths=(), images=(), removed=())
    with laid_out(repository, before) as old:
        if not after:
            sides = Sides(old, project, moved, before, after, repository if in_detail else None)
            return _changes(sides, cancel)
        with laid_out(repository, after) as folder:
            new = Project.open(folder)
            sides = Sides(old, new, moved, before, after, repository if in_detail else None)
            return _changes(sides, cancel)


def _changes(sides: Sides, cancel: Cancel | None) -> Changes:
    with steady():
        return _compared(sides, cancel)


def _compared(sides: Sides, cancel: Cancel | None) -> Changes:
    old, broken = _opened(sides.old)
    moved = sides.moved
    if old and not _settings_matter(old, sides.new):
        moved = tuple(each for each in moved if each.path != PROJECT_FILE)
    paths = [path for each in moved for path in (each.path, each.before) if path]
    folders = [sides.new.root, *([old.root] if old else [])]
    texts = [reach.Texts.read(folder) for folder in folders]
    paths += [each for side in texts for each in side.linked(paths)]
    files = reach.reached(texts, paths)
    if broken:
        files = None
    after = _names(sides.new, files)
    # With the same recipes and project file there is but one thing to resolve.
    is_same = bool(old) and not any(
        path.startswith(reach.RECIPES) or path == PROJECT_FILE for path in paths
    )
    before = after if is_same else _names(old, files) if old else ()
    images: list[Affected] = []
    removed: list[str] = []
    for name in sorted({*before, *after}):
        if cancel:
            cancel.check()
        now = rendered(sides.new, name) if name in after else None
        was = None
        if old and name in before:
            was = now.in_project(old) if is_same and now else rendered(old, name)
        if broken and was is None:
            was = Rendered(parts={}, wrong=broken)
        if was and not was.is_image:
            was = None
        if now and not now.is_image:
            now = None
        if now is None:
            removed += [name] if was and not broken else []
            continue
        found = _affected(
            name,
            Both(old=was, new=now),
            moved,
            compare=sides.old is not None,
            sides=sides,
        )
        if found:
            images.append(found)
    return Changes(
        before=sides.before,
        after=sides.after,
        paths=tuple(dict.fromkeys(each.path for each in sides.moved)),
        images=tuple(images),
        removed=tuple(removed),
    )


def _opened(folder: Path | None) -> tuple[Project | None, ImageBuilderError | None]:
    """Return the project that was there before; if its project file was wrong, the error."""
    if folder is None:
        return None, None
    try:
        return Project.open(folder), None
    except InputError as error:
        return None, error


def _settings_matter(old: Project, new: Project) -> bool:
    """Return whether project files differ in something that images follow from."""
    keys = ("secrets", "plain", "locked", "snapshot")
    mirrors = [
        {key: each for key, each in side.settings.mirrors.items() if each} for side in (old, new)
    ]
    return mirrors[0] != mirrors[1] or any(
        getattr(old.settings, key) != getattr(new.settings, key) for key in keys
    )


def _names(project: Project, files: frozenset[str] | None) -> tuple[str, ...]:
    """Return the recipes that files stand for; of all files if these are not told."""
    if files is None:
        return project.names()
    found: list[str] = []
    for name in sorted(files):
        if not (project.root / "recipes" / f"{name}.toml").is_file():
            continue
        try:
            found += project.select([name])
        except InputError:
            found.append(name)  # what is wrong with it is said where it is rendered
    return tuple(dict.fromkeys(found))


def _affected(
    name: str, both: Both, moved: Sequence[Moved], *, compare: bool, sides: Sides
) -> Affected | None:
    old, new = both.old, both.new
    assert new
    if compare:
        effect = _effect(name, both, moved)
        found = reasons.find(name, both, moved) if effect else ()
    else:
        found = reasons.find(name, both, moved)
        effect = ("broken" if new.error else "image") if found else None
    if effect is None:
        return None
    if not found:
        found = tuple(reasons.Reason(path=each.path, kind=each.kind) for each in moved[:_SHOWN])
    before = next(
        (each.before for each in moved if each.before and each.path == f"recipes/{name}.toml"), ""
    )
    return Affected(
        name=name,
        effect=effect,
        reasons=found,
        renamed_from=Path(before).stem if before and not old else "",
        error=new.error,
        differences=_differences(both, sides) if sides.repository and not new.error else (),
    )


def _differences(both: Both, sides: Sides) -> tuple[Difference, ...]:
    old, new = both.old, both.new
    assert new
    if old and old.error:
        old = None  # it cannot be told what it was
    try:
        found = comparison.compare(old or Rendered(parts={}), new, sides.copied)
        return with_locks(found, old, new)
    except InputError:
        return ()  # not valid as a kickstart: lint and plan say why


def _effect(name: str, both: Both, moved: Sequence[Moved]) -> Effect | None:
    old, new = both.old, both.new
    assert new
    if old is None:
        return "broken" if new.error else "new"
    # With the same fragments and all that they ask for, there is but one thing to render.
    if old.has_inputs_of(new) and not any(
        path.startswith(reach.KICKSTARTS) for each in moved for path in (each.path, each.before)
    ):
        old.share_kickstart(new)
    if new.error:
        # What was wrong in the same way before is no effect of this change.
        return None if _said(old.error) == _said(new.error) else "broken"
    if old.error:
        return "image"
    other: set[str] = set()
    if old.parts is not new.parts:
        keys = {*old.parts, *new.parts}
        other = {key for key in keys if old.parts.get(key) != new.parts.get(key)}
    if (
        old.text != new.text
        or old.mirrors != new.mirrors
        or other - set(TESTS)
        or any(reasons.is_copied(both, each) for each in moved)
        or any(reasons.is_lock(name, both, each.path) for each in moved)
    ):
        return "image"
    return "tests" if other or any(reasons.is_script(both, each) for each in moved) else None


def _said(error: ImageBuilderError | None) -> tuple[str, str]:
    """Return what an error says that does not depend on the folder that the project is in."""
    return (str(error.where), error.what) if error else ("", "")


def _inside(project: Project, path: str) -> str:
    """Return a path below the project's folder."""
    whole = Path(path)
    if whole.is_absolute():
        try:
            return whole.relative_to(project.root).as_posix()
        except ValueError:
            raise InputError(
                f"{path} is not below the project's folder",
                fix=f"name paths below {project.root}, or relative to it",
            ) from None
    return Path(os.path.normpath(path)).as_posix()
