"""``import``: kickstarts become recipes that mean the same."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from imagebuilder import distro, files
from imagebuilder.errors import InputError, Location, StepError, listed
from imagebuilder.importing.imported import Imported
from imagebuilder.importing.sources import Source, gather
from imagebuilder.importing.stage import Stage
from imagebuilder.names import PROJECT_FILE, check_name
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

_NOT_IN_NAMES = re.compile(r"[^a-z0-9._+-]+")
_FOLDER = re.compile(r"[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)*")


def import_kickstarts(
    project: Project,
    paths: Sequence[Path | str],
    *,
    name: str = "",
    distro_id: str = "",
    into: str = "imported",
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> tuple[Imported, ...]:
    """Make recipes of kickstarts, each with all that it includes.

    The fragments keep the numbers of their lines.  Braces that are no template's are marked as
    such; a password in plain text is left behind, and a secret named in its place.  Nothing is
    written unless all of it can be, and nothing that is there is changed.

    Args:
        project: where to.
        paths: the kickstarts.
        name: what to call the recipe; by default as its file.  For one kickstart alone.
        distro_id: what they are for; by default it is looked for in each.
        into: the folder below ``kickstarts/`` for the files.
        dry_run: only say what would be written.
        reporter: asked whether to stop.

    Raises:
        InputError: a kickstart cannot be read, is not valid for its distribution, or would
            overwrite something.
        StepError: the project cannot be written to.
    """
    files_of = [Path(path) for path in paths]
    names = _recipe_names(files_of, name)
    if distro_id:
        distro.find(distro_id)
    if not _FOLDER.fullmatch(into) or ".." in into.split("/"):
        raise InputError(f"{into!r} is no folder below kickstarts/", fix="such as: imported")
    sources = gather(files_of, into)
    _check_templates(project, sources)
    reporter = reporter or Reporter(subject="import")
    with tempfile.TemporaryDirectory(prefix="imagebuilder-import-") as place:
        stage = Stage(Path(place), project, sources)
        made = []
        for path, recipe in zip(files_of, names, strict=True):
            reporter.cancel.check()
            made.append(stage.take(path, recipe, distro_id, reporter))
        texts = stage.texts()
    _write(project.root, texts, dry_run=dry_run)
    return tuple(made)


def _recipe_names(paths: Sequence[Path], name: str) -> list[str]:
    if not paths:
        raise InputError("no kickstart is named", fix="name one, or several")
    if name and len(paths) > 1:
        raise InputError("one name is not for several kickstarts", fix="leave out --name")
    names = [name or _NOT_IN_NAMES.sub("-", path.stem.lower()).strip("-._+") for path in paths]
    for path, each in zip(paths, names, strict=True):
        if names.count(each) > 1:
            raise InputError(
                f"{path}: a second recipe would be called {each!r}",
                fix="import them one by one, with --name and --into",
            )
        check_name(each)
    return names


def _check_templates(project: Project, sources: Mapping[Path, Source]) -> None:
    """Refuse names that the project takes for no templates: they could hold no secrets."""
    for each in sources.values():
        if any(fnmatchcase(each.name, pattern) for pattern in project.settings.plain):
            raise InputError(
                f"kickstarts/{each.name} would be no template",
                where=Location(file=PROJECT_FILE, key="plain"),
                fix="choose another folder with --into",
            )


def _write(root: Path, texts: dict[str, str], *, dry_run: bool) -> None:
    there = [path for path in texts if os.path.lexists(root / path)]
    same = [path for path in there if _holds(root / path, texts[path])]
    other = [path for path in there if path not in same]
    if other:
        raise InputError(
            f"the project has {listed(other)} already; nothing was written",
            fix="choose another folder with --into, or another recipe with --name",
        )
    if dry_run:
        return
    try:
        files.create(root, {path: text for path, text in texts.items() if path not in same})
    except OSError as error:
        raise StepError(
            f"the project cannot be written: {error.strerror}: {error.filename or root}",
            fix="nothing of it was left behind",
        ) from error


def _holds(path: Path, text: str) -> bool:
    try:
        return path.is_file() and path.read_bytes() == text.encode()
    except OSError:
        return False
