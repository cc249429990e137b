"""What came of a kickstart that was imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.errors import ImageBuilderError
from imagebuilder.importing.remarks import Remark


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of one kickstart.

    Attributes:
        recipe: the name of the recipe.
        file: the kickstart.
        distro: the id of the recipe's distribution.
        guessed: why it is that one; "" if the caller named it.
        files: what was written for it, or would be, as paths below the project's folder.
        lines: how many lines the whole kickstart has.
        remarks: what was left out or changed, and what to look at.
        without_effect: what the recipe's engine says has no effect, with file and line.
        refused: what the recipe's engine does not make, with file, line, reason, and what to do.
    """

    recipe: str
    file: Path
    distro: str
    guessed: str
    files: tuple[str, ...]
    lines: int
    remarks: tuple[Remark, ...]
    without_effect: tuple[str, ...]
    refused: tuple[ImageBuilderError, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "recipe": self.recipe,
            "file": str(self.file),
            "distro": self.distro,
            "guessed": self.guessed,
            "files": list(self.files),
            "lines": self.lines,
            "remarks": [each.to_dict() for each in self.remarks],
            "without_effect": list(self.without_effect),
            "refused": [each.to_dict() for each in self.refused],
        }
