"""Kickstarts that exist already become recipes."""

from imagebuilder.importing.imported import Imported
from imagebuilder.importing.importer import import_kickstarts
from imagebuilder.importing.remarks import Remark

__all__ = ["Imported", "Remark", "import_kickstarts"]
