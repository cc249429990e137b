"""``imagebuilder catalog …``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.cli.context import Context
from imagebuilder.cli.output import human_size
from imagebuilder.errors import InputError
from imagebuilder.project import Project

if TYPE_CHECKING:
    from imagebuilder.catalog import Catalog


def add(sub: Any, common: argparse.ArgumentParser, where: argparse.ArgumentParser) -> None:
    """Add the verbs to a parser."""
    text = "Read a catalog."
    verbs = sub.add_parser("catalog", help=text, description=text).add_subparsers(
        metavar="VERB", required=True
    )

    def verb(name: str, text: str, function: object) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(
            name, help=text, description=text, parents=[common, where]
        )
        made.set_defaults(verb=function)
        return made

    made = verb("ls", "List releases, and the channels that name them.", ls)
    made.add_argument("name", metavar="NAME", nargs="?", default="", help="of this recipe only")
    made = verb("show", "Show a release.", show)
    made.add_argument("name", metavar="NAME")
    _which(made)
    made = verb("pull", "Fetch a release into a folder, checking every byte.", pull)
    made.add_argument("name", metavar="NAME")
    _which(made)
    made.add_argument("--output", metavar="DIR", required=True, help="the folder to make")


def _which(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--channel", default="", help="the release that this channel names")
    group.add_argument("--version", default="", help="this very release")


def ls(context: Context) -> int:
    """``catalog ls``."""
    catalog = _open(context)
    found = catalog.releases(context.args.name or None)
    named: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(each.name for each in found):
        for channel in catalog.channels(name):
            named.setdefault((name, channel.release), []).append(channel.channel)
    rows: list[list[str]] = []
    for each in found:
        channels = named.get((each.name, each.version), [])
        context.out.data("release", each.model_dump(mode="json") | {"channels": channels})
        rows.append([each.name, each.version, human_size(each.size), " ".join(channels)])
    context.out.table(rows)
    return 0


def show(context: Context) -> int:
    """``catalog show``."""
    release = _open(context).show(context.args.name, _asked(context))
    context.out.data("release", release.model_dump(mode="json"))
    context.out.say(release.model_dump_json(indent=2, exclude_defaults=True))
    return 0


def pull(context: Context) -> int:
    """``catalog pull``."""
    folder = _open(context).pull(
        context.args.name,
        _asked(context),
        Path(context.args.output),
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    context.out.data("pulled", {"path": str(folder)})
    context.out.say(f"{context.args.name}: in {folder}")
    return 0


def _asked(context: Context) -> str:
    asked: str = context.args.version or context.args.channel
    return asked or _default_channel(context)


def _default_channel(context: Context) -> str:
    try:
        return context.project().settings.channel
    except InputError:
        return "testing"


def _open(context: Context) -> Catalog:
    from imagebuilder.catalog import Catalog

    url = context.args.catalog
    if not url:
        try:
            url = Project.open(context.args.directory).settings.catalog
        except InputError:
            url = ""
    if not url:
        raise InputError(
            "no catalog is named", fix="say --catalog URL, or set IMAGEBUILDER_CATALOG"
        )
    return Catalog.open(url)
