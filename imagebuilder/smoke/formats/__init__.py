"""Reports in the formats that other tools read: JSON, JUnit XML, TAP; and text for people."""

from imagebuilder.smoke.formats.rendering import FORMATS, render
from imagebuilder.smoke.formats.results import NotTested, Results

__all__ = ["FORMATS", "NotTested", "Results", "render"]
