"""How two images differ: packages, files, units, users, sizes, times; built or published."""

from imagebuilder.comparison.compare import Named, compare_images
from imagebuilder.comparison.images import Comparison, compare_sides
from imagebuilder.comparison.measures import Measure

__all__ = ["Comparison", "Measure", "Named", "compare_images", "compare_sides"]
