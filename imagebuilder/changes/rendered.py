"""What a recipe comes to: all that its image and its tests follow from, in parts to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagebuilder.errors import ImageBuilderError, Location
from imagebuilder.kickstart import flat_lines
from imagebuilder.kickstart.lines import Lines
from imagebuilder.project import Project, ResolvedRecipe

# Of a recipe, what is in its kickstart already, or is there only to make the rest.
_ELSEWHERE = frozenset(
    (
        *("params", "declare", "extends", "matrix", "abstract", "remove", "replace", "waivers"),
        *("kickstarts", "packages"),
    )
)
# What only the tests of the image follow from.
TESTS = ("checks", "smoke")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A recipe at one time.

    Attributes:
        resolved: the recipe; None if something is wrong with it.
        lines: its kickstart, rendered.
        parts: what else its image and tests follow from, by key of the recipe.
        mirrors: where the project file has its packages come from.
        error: what is wrong with it.
    """

    resolved: ResolvedRecipe | None = None
    lines: Lines | None = None
    parts: Mapping[str, Any]
    mirrors: tuple[str, ...] = ()
    error: ImageBuilderError | None = None

    @property
    def is_image(self) -> bool:
        """Whether there is an image of it: it is not only there to be extended."""
        return not (self.resolved and self.resolved.recipe.abstract)

    @property
    def text(self) -> tuple[str, ...]:
        """The lines of its kickstart."""
        return self.lines.texts if self.lines else ()

    def by_file(self) -> dict[str, list[tuple[str, ...]]]:
        """Return what each fragment gave to the kickstart."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for block in self.lines.blocks if self.lines else ():
            found.setdefault(block.file, []).append(block.texts)
        return found

    def ways(self) -> dict[str, tuple[Location, ...]]:
        """Return how each fragment first came into the kickstart: what asked for it, in order."""
        found: dict[str, tuple[Location, ...]] = {}
        for block in self.lines.blocks if self.lines else ():
            found.setdefault(block.file, block.via)
            for n, where in enumerate(block.via):
                found.setdefault(where.file, block.via[:n])
        return found


def rendered(project: Project, name: str) -> Rendered:
    """Return what a recipe comes to; never raises for what is wrong with it."""
    try:
        resolved = project.resolve(name)
        if resolved.recipe.abstract:
            return Rendered(resolved=resolved, parts={})
        lines = flat_lines(resolved)
    except ImageBuilderError as error:
        return Rendered(parts={}, error=error)
    recipe = resolved.recipe
    parts = recipe.model_dump(mode="json", exclude=set(_ELSEWHERE))
    settings = project.settings
    if recipe.locked is None:
        parts["locked"] = settings.locked
    if recipe.snapshot is None:
        parts["snapshot"] = settings.snapshot
    known = {**settings.secrets, **recipe.secrets}
    parts["secrets"] = {key: each.model_dump() for key, each in sorted(known.items())}
    return Rendered(
        resolved=resolved,
        lines=lines,
        parts=parts,
        mirrors=tuple(settings.mirrors.get(resolved.distro.id, ())),
    )
