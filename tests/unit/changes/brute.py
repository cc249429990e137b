"""What a change affects, found the long way: every recipe of both sides is rendered."""

from __future__ import annotations

from typing import Any

from imagebuilder.engines.direct import files
from imagebuilder.errors import ImageBuilderError
from imagebuilder.kickstart import compose
from imagebuilder.project import Project

_INSIDE = {"params", "declare", "kickstarts", "packages", "waivers"}


def images(project: Project) -> dict[str, Any]:
    """Return what each image of a project is made of, or the error that its recipe gives."""
    found: dict[str, Any] = {}
    for name in project.names():
        try:
            resolved = project.resolve(name)
            copied = [
                (each.path, each.mode, each.digest)
                for _, _, copies in files.find(resolved)
                for each in copies
            ]
            found[name] = (
                compose(resolved).lines.texts,
                resolved.recipe.model_dump(exclude=_INSIDE),
                copied,
                project.settings.mirrors.get(resolved.distro.id, []),
            )
        except ImageBuilderError as error:
            found[name] = f"{error.where} {error.what}"
    return found


def affected(before: dict[str, Any], after: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Return the images that differ or are new, and those that are no more."""
    return (
        {name for name, what in after.items() if before.get(name) != what},
        set(before) - set(after),
    )
