"""Exports: what a catalog holds, told in formats that other tools read.

Each format is a module that makes files of a view; ``write`` puts them beside the catalog's own
objects, or into a folder.  Where they stand is described in ``docs/exports.md``.
"""

from imagebuilder.catalog.exports.place import Place, place_of
from imagebuilder.catalog.exports.writing import due, prune, write

__all__ = ["Place", "due", "place_of", "prune", "write"]
