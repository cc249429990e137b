"""Where the recipes and fragments are that come with imagebuilder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal


@cache
def folder(kind: Literal["recipes", "kickstarts"]) -> Path:
    """Return the folder; a wheel has it in the package, a checkout beside the package."""
    package = Path(__file__).parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind
