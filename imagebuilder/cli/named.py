"""The catalog, and the release in it, that a command line names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagebuilder.cli.context import Context
from imagebuilder.errors import InputError

if TYPE_CHECKING:
    from imagebuilder.catalog import Catalog


def asked(context: Context) -> str:
    """Return the version or channel that the command line names."""
    named: str = context.args.version or context.args.channel
    return named or _default_channel(context)


def _default_channel(context: Context) -> str:
    try:
        return context.project().settings.channel
    except InputError:
        return "testing"


def opened(context: Context) -> Catalog:
    """Return the catalog that the command line or the project names."""
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
    return Catalog.open(url)
