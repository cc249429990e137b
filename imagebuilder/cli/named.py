"""The catalog, and the release in it, that a command line names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.cli.context import Context
from imagebuilder.errors import InputError
from imagebuilder.names import PROJECT_FILE

if TYPE_CHECKING:
    from imagebuilder.catalog import Catalog
    from imagebuilder.settings import ProjectFile


def asked(context: Context) -> str:
    """Return the version or channel that the command line names."""
    named: str = context.args.version or context.args.channel
    return named or _default_channel(context)


def _default_channel(context: Context) -> str:
    try:
        return context.project().settings.channel
    except InputError:
        return "testing"


def opened(context: Context, *, changes: bool = False) -> Catalog:
    """Return the catalog that the command line or the project names.

    Args:
        context: the run of the command.
        changes: whether it is going to be changed, so that the project's exports must follow.

    Raises:
        InputError: none is named; or what is to be exported cannot be read.
    """
    from imagebuilder.catalog import Catalog

    url = context.args.catalog
    if not url:
        try:
            url = context.project().settings.catalog
        except InputError:
            url = ""
    if not url:
        raise InputError(
            "no catalog is named", fix="say --catalog URL, or set IMAGEBUILDER_CATALOG"
        )
    settings = settings_of(context) if changes else None
    return Catalog.open(url, exports=settings.exports_of(url) if settings else None)


def settings_of(context: Context) -> ProjectFile | None:
    """Return the project file, None outside a project.

    Raises:
        InputError: there is one, and it cannot be read.
    """
    try:
        return context.project().settings
    except InputError:
        if (Path(context.args.directory) / PROJECT_FILE).exists():
            raise
        return None
