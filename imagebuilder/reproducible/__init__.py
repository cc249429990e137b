"""Whether a recipe gives the same bytes twice, and if not, where and how they differ."""

from imagebuilder.reproducible.check import Reproduced, check_reproducible
from imagebuilder.reproducible.differences import Difference, explain

__all__ = ["Difference", "Reproduced", "check_reproducible", "explain"]
