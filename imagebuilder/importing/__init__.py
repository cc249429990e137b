"""Kickstarts that exist already become recipes."""

from imagebuilder.importing.importer import Imported, import_kickstarts
from imagebuilder.importing.remarks import Remark

__all__ = ["Imported", "Remark", "import_kickstarts"]
