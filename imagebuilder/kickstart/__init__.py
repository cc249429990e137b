"""Kickstart: a recipe's fragments rendered, merged and validated, every value with its origin."""

from imagebuilder.kickstart import no_fetching  # noqa: F401 - before anything loads pykickstart

# isort: split
from imagebuilder.kickstart.compose import compose, flat_lines
from imagebuilder.kickstart.document import Command, Kickstart, PackageWish, Script, Section

__all__ = ["Command", "Kickstart", "PackageWish", "Script", "Section", "compose", "flat_lines"]
