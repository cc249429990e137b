"""What tests of kickstarts share: pykickstart's own reading, and all that ours says."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from imagebuilder.errors import InputError
from imagebuilder.kickstart import Kickstart


def read_by_pykickstart(path: Path, version: str) -> Any:
    """Return pykickstart's handler, or the error of a kickstart that it refuses."""
    handler = makeVersion(version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            KickstartParser(handler).readKickstart(str(path))
        except (KickstartError, ValueError, IndexError) as error:
            return error
    return handler


def text_by_pykickstart(text: str, version: str) -> Any:
    handler = makeVersion(version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        KickstartParser(handler, followIncludes=False).readKickstartFromString(text)
    return handler


def values(data: Any) -> dict[str, Any]:
    """Return the values of pykickstart's object."""
    hidden = {"handler", "op", "lineno", "currentLine"}
    return {name: value for name, value in vars(data).items() if name not in hidden}


def all_of(kickstart: Kickstart) -> dict[str, Any]:
    """Return all that a kickstart says, in a form that can be compared."""
    return {
        "version": kickstart.version,
        "lines": [(each.text, each.where, each.via) for each in kickstart.lines],
        "commands": [
            (each.name, each.text, each.options, values(each.data), each.where, each.via)
            for each in kickstart.commands
        ],
        "packages": kickstart.packages,
        "weak": kickstart.weak_dependencies,
        "missing": kickstart.ignore_missing,
        "scripts": kickstart.scripts,
        "sections": [(each, each.body) for each in kickstart.sections],
        "warnings": kickstart.warnings,
    }


def said(error: InputError) -> list[tuple[str, str]]:
    """Return each error's place and text."""
    return [(str(each.where), each.what) for each in (error, *error.also)]
