"""``cache ls`` and ``cache prune``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imagebuilder.cli.context import Context
from imagebuilder.errors import InputError
from imagebuilder.sizes import human_size, size_of

if TYPE_CHECKING:
    from imagebuilder.cache import Entry


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to a parser."""
    text = "Look at what builds keep to be quick, and remove what is old."
    verbs = sub.add_parser("cache", help=text, description=text).add_subparsers(
        metavar="VERB", required=True
    )
    text = "List what is in the cache, the most recently used last."
    made = verbs.add_parser("ls", help=text, description=text, parents=[common])
    made.set_defaults(verb=ls)
    text = "Remove what was not used for the longest time; by default down to cache_limit."
    made = verbs.add_parser("prune", help=text, description=text, parents=[common])
    made.set_defaults(verb=prune)
    made.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be removed, and remove nothing"
    )
    which = made.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="all that nothing is using")
    which.add_argument("--to", metavar="SIZE", default="", help="down to a size such as '10 GB'")
    which.add_argument(
        "--unused-for", metavar="DAYS", type=_days, help="what was not used for so many days"
    )


def ls(context: Context) -> int:
    """``cache ls``."""
    from imagebuilder import cache

    place = context.options().cache_dir
    found = cache.entries(place)
    for each in found:
        context.out.data("entry", _data(each))
    context.out.table(_rows(found))
    context.out.say(f"{human_size(sum(each.size for each in found))} in {place}")
    return 0


def prune(context: Context) -> int:
    """``cache prune``."""
    from imagebuilder import cache

    args = context.args
    days: float | None = args.unused_for
    limit: int | None = None
    if args.all:
        limit = 0
    elif args.to:
        limit = size_of(args.to)
    elif days is None:
        limit = _limit(context)
    pruned = cache.prune(
        context.options().cache_dir,
        limit=limit,
        unused_for=days * 86400 if days is not None else None,
        dry_run=args.dry_run,
        cancel=context.cancel,
    )
    for each in pruned.removed:
        context.out.data("removed", _data(each))
    for each in pruned.in_use:
        context.out.data("in_use", _data(each))
    context.out.table(_rows(pruned.removed))
    for each in pruned.in_use:
        context.out.say(f"in use, and kept: {each.kind} {each.path.name}")
    verb = "would be removed" if args.dry_run else "removed"
    freed = sum(each.size for each in pruned.removed)
    context.out.say(f"{verb}: {human_size(freed)}; {human_size(pruned.kept)} left")
    return 0


def _limit(context: Context) -> int:
    """Return the limit of the project; outside of one, that of a project that says none."""
    from imagebuilder.settings import ProjectFile

    try:
        return context.project().settings.cache_limit
    except InputError as error:
        if error.where:
            raise  # the project's file cannot be read
        return ProjectFile().cache_limit


def _days(text: str) -> float:
    try:
        days = float(text.removesuffix("d"))
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e5:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days


def _data(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "path": str(entry.path),
        "size": entry.size,
        "used": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.used)),
    }


def _rows(entries: Sequence[Entry]) -> list[list[str]]:
    """Return a row for each; files of packages, of which there are thousands, have one for all."""
    rows = [_row(each) for each in entries if each.kind != "deb"]
    debs = [each for each in entries if each.kind == "deb"]
    if debs:
        size = human_size(sum(each.size for each in debs))
        rows.append(["deb", f"{len(debs)} files of packages", size, ""])
    return rows


def _row(entry: Entry) -> list[str]:
    used = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.used))
    return [entry.kind, entry.path.name[:32], human_size(entry.size), f"used {used} UTC"]
