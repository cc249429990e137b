"""``promote`` and ``rollback``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.cli.context import Context
from imagebuilder.cli.named import opened
from imagebuilder.errors import ImageBuilderError, InputError, Interrupted, joined
from imagebuilder.names import PROJECT_FILE

if TYPE_CHECKING:
    from imagebuilder.catalog import Channel
    from imagebuilder.project import Project


def add(sub: Any, common: argparse.ArgumentParser, where: argparse.ArgumentParser) -> None:
    """Add the verbs to a parser."""
    text = "Let a channel name a release that another one names."
    made = sub.add_parser("promote", help=text, description=text, parents=[common, where])
    made.set_defaults(verb=promote)
    made.add_argument("name", metavar="NAME", nargs="?", default="")
    made.add_argument(
        "--all",
        action="store_true",
        help="all recipes that the channel's policy lets through; of the others it says why not",
    )
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("--from", dest="source", metavar="CHANNEL", default="", help="what it names")
    which.add_argument("--version", default="", help="this very release")
    made.add_argument("--to", metavar="CHANNEL", required=True, help="the channel to move")
    made.add_argument("--reason", default="", help="kept in the channel's history")
    made.add_argument(
        "--override", metavar="REASON", default="", help="promote against the channel's policy"
    )
    text = "Take a channel back to what it named before."
    made = sub.add_parser("rollback", help=text, description=text, parents=[common, where])
    made.set_defaults(verb=rollback)
    made.add_argument("name", metavar="NAME")
    made.add_argument("--channel", required=True, help="the channel to move")
    made.add_argument("--to", metavar="VERSION", default="", help="a release that it has named")
    made.add_argument("--reason", default="", help="kept in the channel's history")


def promote(context: Context) -> int:
    """``promote``."""
    args = context.args
    try:
        project = context.project()
    except InputError:
        if (Path(args.directory) / PROJECT_FILE).exists():
            raise  # the channel's policy stands there, and cannot be read
        project = None
    if bool(args.name) == args.all:
        raise InputError("no recipe is named", fix="name one, or say --all with --from CHANNEL")
    if args.all and not args.source:
        raise InputError("a version is of one recipe", fix="say --from CHANNEL with --all")
    if args.all:
        return _promote_all(context, project)
    moved = opened(context, changes=True).promote(
        args.name,
        args.source or args.version,
        to=args.to,
        reason=args.reason,
        policy=project.settings.channels.get(args.to) if project else None,
        folder=project.root if project else None,
        override=args.override,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    return _say_moved(context, moved)


def _promote_all(context: Context, project: Project | None) -> int:
    """Promote what the channel's policy lets through; say of the others what they lack."""
    args = context.args
    if args.override:
        raise InputError("what a policy refuses is overridden one by one", fix="name a recipe")
    policy = project.settings.channels.get(args.to) if project else None
    folder = project.root if project else None
    catalog = opened(context, changes=True)
    there = {(each.name, each.channel): each for each in catalog.channels()}
    failures: list[ImageBuilderError] = []
    for name in sorted({name for name, channel in there if channel == args.source}):
        context.cancel.check()
        source, target = there[name, args.source], there.get((name, args.to))
        if target and target.release == source.release:
            continue
        try:
            if target and target.pin:
                lacking: tuple[str, ...] = (f"channel {args.to} is pinned: {target.pin.reason}",)
            else:
                lacking = (
                    catalog.lacking(name, args.source, policy=policy, folder=folder)
                    if policy
                    else ()
                )
            if lacking:
                reason = "; ".join(lacking)
                line = {"name": name, "version": source.release, "reason": reason}
                context.out.data("kept", line)
                context.out.say(f"{name}: {source.release} stays: {reason}")
                continue
            moved = catalog.promote(
                name,
                source.release,
                to=args.to,
                reason=args.reason,
                policy=policy,
                folder=folder,
                observer=context.out.observer(),
                cancel=context.cancel,
            )
        except Interrupted:
            raise
        except ImageBuilderError as error:
            failures.append(error)
            continue
        _say_moved(context, moved)
    if failures:
        raise joined(failures)
    return 0


def rollback(context: Context) -> int:
    """``rollback``."""
    args = context.args
    moved = opened(context, changes=True).rollback(
        args.name,
        args.channel,
        to=args.to,
        reason=args.reason,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    return _say_moved(context, moved)


def _say_moved(context: Context, moved: Channel) -> int:
    context.out.close()
    context.out.data("channel", moved.model_dump(mode="json", exclude={"history"}))
    context.out.say(
        f"{moved.name}: channel {moved.channel} names {moved.release} "
        f"(generation {moved.generation})"
    )
    return 0
