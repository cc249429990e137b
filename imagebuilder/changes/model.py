"""What a change does to the images of a project."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

from imagebuilder.changes.difference import Difference
from imagebuilder.changes.reasons import Reason
from imagebuilder.errors import ImageBuilderError

Effect = Literal["image", "tests", "new", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """An image that a change affects.

    Attributes:
        name: the recipe.
        effect: ``image``: it would be another; ``tests``: only its tests would; ``new``: there
            was none; ``broken``: its recipe is wrong now.
        reasons: what of the change does that.
        renamed_from: the recipe that its file was, if git takes it for renamed.
        error: what is wrong with its recipe.
        differences: how it differs, if that was asked for.
    """

    name: str
    effect: Effect
    reasons: tuple[Reason, ...]
    renamed_from: str = ""
    error: ImageBuilderError | None = None
    differences: tuple[Difference, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "name": self.name,
            "effect": self.effect,
            "reasons": [each.to_dict() for each in self.reasons],
            "renamed_from": self.renamed_from,
            "error": self.error.to_dict() if self.error else None,
            "differences": [each.to_dict() for each in self.differences],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a change does to the images of a project.

    Attributes:
        before: the commit that is compared with; "" where only paths were named.
        after: the commit that is looked at; "" is the work tree.
        paths: what changed, below the project's folder.
        images: the images that are affected, by name.
        removed: the images that are no more, by name.
    """

    before: str
    after: str
    paths: tuple[str, ...]
    images: tuple[Affected, ...]
    removed: tuple[str, ...]

    def only(self, names: Collection[str]) -> Changes:
        """Return what is said of these images alone."""
        return replace(
            self,
            images=tuple(each for each in self.images if each.name in names),
            removed=tuple(each for each in self.removed if each in names),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "before": self.before,
            "after": self.after,
            "paths": list(self.paths),
            "images": [each.to_dict() for each in self.images],
            "removed": list(self.removed),
        }
