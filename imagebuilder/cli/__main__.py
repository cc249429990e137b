"""``python -m imagebuilder.cli``."""

from imagebuilder.cli.main import entry

entry()
