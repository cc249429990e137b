"""The ``direct`` engine: the distribution's own package manager fills a tree, no installer runs."""

from imagebuilder.engines.direct.engine import DirectEngine

__all__ = ["DirectEngine"]
