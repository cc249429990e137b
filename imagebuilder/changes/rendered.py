"""What a recipe comes to: all that its image and its tests follow from, in parts to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from imagebuilder.changes.reach import real_source
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
TESTS = ("checks", "smoke", "waivers")


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A recipe at one time.  Its kickstart is rendered only when it is asked for.

    Attributes:
        resolved: the recipe; None if something is wrong with it.
        parts: what its image and tests follow from beside the kickstart, by key of the recipe.
        mirrors: where the project file has its packages come from.
        wrong: what is wrong with the recipe itself, without its fragments.
    """

    resolved: ResolvedRecipe | None = None
    parts: Mapping[str, Any]
    mirrors: tuple[str, ...] = ()
    wrong: ImageBuilderError | None = None

    @cached_property
    def _made(self) -> Lines | ImageBuilderError | None:
        if not self.resolved or self.resolved.recipe.abstract:
            return None
        try:
            return flat_lines(self.resolved)
        except ImageBuilderError as error:
            return error

    @property
    def lines(self) -> Lines | None:
        """Its kickstart; None if something is wrong with it."""
        return self._made if isinstance(self._made, Lines) else None

    @property
    def error(self) -> ImageBuilderError | None:
        """What is wrong with the recipe or a fragment of it."""
        return self._made if isinstance(self._made, ImageBuilderError) else self.wrong

    def has_inputs_of(self, other: Rendered) -> bool:
        """Return whether the same fragments would be rendered to the same kickstart."""
        mine, its = self.resolved, other.resolved
        return (
            mine is not None
            and its is not None
            and mine.recipe.kickstarts == its.recipe.kickstarts
            and mine.recipe.packages == its.recipe.packages
            and mine.values == its.values
            and mine.project.settings.plain == its.project.settings.plain
        )

    @cached_property
    def sources(self) -> tuple[frozenset[str], ...]:
        """For each entry of its files what of the project it copies, as named and by links."""
        if not self.resolved:
            return ()
        root, found = self.resolved.project.root, []
        for entry in self.resolved.recipe.files:
            source = entry.source.rstrip("/").removeprefix("./")
            found.append(frozenset((source, real_source(root, source))) - {""})
        return tuple(found)

    def in_project(self, project: Project) -> Rendered:
        """Return what the same recipe comes to among other fragments and files."""
        resolved = self.resolved and replace(self.resolved, project=project)
        return replace(self, resolved=resolved)

    def share_kickstart(self, other: Rendered) -> None:
        """Take another's kickstart for its own: the same would be rendered."""
        self.__dict__["_made"] = other._made

    @property
    def is_image(self) -> bool:
        """Whether there is an image of it: it is not only there to be extended."""
        return not (self.resolved and self.resolved.recipe.abstract)

    @property
    def text(self) -> tuple[str, ...]:
        """The lines of its kickstart."""
        return self.lines.texts if self.lines else ()

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
    except ImageBuilderError as error:
        return Rendered(parts={}, wrong=error)
    recipe = resolved.recipe
    parts = recipe.model_dump(mode="json", exclude=set(_ELSEWHERE))
    # Those of lint's findings change nothing.
    parts["waivers"] = [each.model_dump(mode="json") for each in resolved.check_waivers]
    settings = project.settings
    if recipe.locked is None:
        parts["locked"] = settings.locked
    if recipe.snapshot is None:
        parts["snapshot"] = settings.snapshot
    known = {**settings.secrets, **recipe.secrets}
    parts["secrets"] = {key: each.model_dump() for key, each in sorted(known.items())}
    return Rendered(
        resolved=resolved,
        parts=parts,
        mirrors=tuple(settings.mirrors.get(resolved.distro.id, ())),
    )
