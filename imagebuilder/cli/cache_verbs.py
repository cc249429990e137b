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
    from imagebuilder.remote import Remote, RemoteEntry


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to a parser."""
    text = "Look at what builds keep to be quick, and remove what is old."
    verbs = sub.add_parser("cache", help=text, description=text).add_subparsers(
        metavar="VERB", required=True
    )
    text = "List what is in the cache, the most recently used last."
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--remote", action="store_true", help="the remote cache, which machines share"
    )
    made = verbs.add_parser("ls", help=text, description=text, parents=[common, where])
    made.set_defaults(verb=ls)
    text = "Remove what was not used for the longest time; by default down to cache_limit."
    made = verbs.add_parser("prune", help=text, description=text, parents=[common, where])
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
    if context.args.remote:
        return _ls_remote(context)
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
    args = context.args
    if args.remote:
        return _prune_remote(context)
    from imagebuilder import cache

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


def _ls_remote(context: Context) -> int:
    from imagebuilder.remote import remote_entries

    remote = _remote(context)
    found = remote_entries(remote.store)
    for each in found:
        context.out.data("entry", _remote_data(each))
    context.out.table([_remote_row(each) for each in found])
    context.out.say(f"{human_size(sum(each.size for each in found))} in {remote.url}")
    return 0


def _prune_remote(context: Context) -> int:
    from imagebuilder.remote import prune_remote

    args = context.args
    if not (args.all or args.to or args.unused_for is not None):
        raise InputError(
            "what is to be removed from the remote cache is not said",
            fix="say --to SIZE, --unused-for DAYS or --all: cache_limit is that of this machine",
        )
    pruned = prune_remote(
        _remote(context).store,
        limit=0 if args.all else size_of(args.to) if args.to else None,
        unused_for=args.unused_for * 86400 if args.unused_for is not None else None,
        dry_run=args.dry_run,
        cancel=context.cancel,
    )
    for each in pruned.removed:
        context.out.data("removed", _remote_data(each))
    context.out.table([_remote_row(each) for each in pruned.removed])
    verb = "would be removed" if args.dry_run else "removed"
    freed = sum(each.size for each in pruned.removed)
    rest = f", and {human_size(pruned.orphans)} of no entry" if pruned.orphans else ""
    context.out.say(f"{verb}: {human_size(freed)}{rest}; {human_size(pruned.kept)} left")
    return 0


def _remote(context: Context) -> Remote:
    """Return the remote cache of the project."""
    from imagebuilder.sharing import remote_of

    found = remote_of(context.project(), context.options())
    if found is None:
        raise InputError(
            "no remote cache is named",
            fix='say cache = "s3://bucket/prefix" in imagebuilder.toml, or set '
            "IMAGEBUILDER_REMOTE_CACHE",
        )
    return found


def _remote_data(entry: RemoteEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "id": entry.id,
        "recipe": entry.recipe,
        "size": entry.size,
        "used": _time(entry.used),
    }


def _remote_row(entry: RemoteEntry) -> list[str]:
    used = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.used))
    recipe = f"of {entry.recipe}" if entry.recipe else ""
    return [entry.kind, entry.id, recipe, human_size(entry.size), f"used {used} UTC"]


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


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
        "used": _time(entry.used),
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
