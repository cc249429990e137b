"""Verbs that decide which release comes where: ``catalog approve``, ``pin``, ``rollout``…"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from imagebuilder.cli import signing_verbs
from imagebuilder.cli.context import Context
from imagebuilder.cli.named import opened

if TYPE_CHECKING:
    from imagebuilder.catalog import Rules


def add(verb: Callable[[str, str, object], argparse.ArgumentParser]) -> None:
    """Add the verbs; ``verb`` makes one of a name, a help text and its function."""
    made = verb("approve", "Note that somebody approves a release.", approve)
    made.add_argument("name", metavar="NAME")
    made.add_argument("--version", required=True, help="the release")
    made.add_argument("--who", required=True, help="the name of who approves")
    made.add_argument("--reason", default="", help="kept with the approval")
    made = verb("pin", "Keep a channel where it is.", pin)
    made.add_argument("name", metavar="NAME")
    made.add_argument("--channel", required=True)
    made.add_argument("--reason", required=True, help="why; shown to who wants to move it")
    made = verb("unpin", "Let a pinned channel move again.", unpin)
    made.add_argument("name", metavar="NAME")
    made.add_argument("--channel", required=True)
    for each, text, function in (
        ("dead-end", "Say that a release must not be booted any more.", dead_end),
        ("barrier", "Say that hosts must boot a release before a newer one.", barrier),
    ):
        made = verb(each, text, function)
        made.add_argument("name", metavar="NAME")
        made.add_argument("--version", required=True, help="the release")
        group = made.add_mutually_exclusive_group(required=True)
        group.add_argument("--reason", help="why")
        group.add_argument("--remove", action="store_true", help="it is none any more")
    made = verb("rollout", "Let hosts get what a channel names one after the other.", rollout)
    made.add_argument("name", metavar="NAME")
    made.add_argument("--channel", required=True)
    made.add_argument(
        "--minutes", type=int, required=True, help="until all have it; 0: all get it at once"
    )
    made.add_argument("--percent", type=float, default=0.0, help="how many get it now")
    made = verb("choose", "Say which release a host should boot.", choose)
    made.add_argument("name", metavar="NAME")
    made.add_argument("--channel", required=True)
    made.add_argument("--host", required=True, help="the host's name")
    made.add_argument("--running", metavar="VERSION", default="", help="what it runs now")
    signing_verbs.add_trust(made)


def approve(context: Context) -> int:
    """``catalog approve``."""
    args = context.args
    found = opened(context).approve(args.name, args.version, who=args.who, reason=args.reason)
    context.out.data("approval", found.model_dump(mode="json"))
    context.out.say(f"{found.who} approves {found.name} {found.version}")
    return 0


def pin(context: Context) -> int:
    """``catalog pin``."""
    args = context.args
    found = opened(context, changes=True).pin(args.name, args.channel, reason=args.reason)
    context.out.data("channel", found.model_dump(mode="json", exclude={"history"}))
    context.out.say(f"{found.name}: channel {found.channel} stays at {found.release}")
    return 0


def unpin(context: Context) -> int:
    """``catalog unpin``."""
    found = opened(context, changes=True).unpin(context.args.name, context.args.channel)
    context.out.data("channel", found.model_dump(mode="json", exclude={"history"}))
    context.out.say(f"{found.name}: channel {found.channel} can be moved")
    return 0


def dead_end(context: Context) -> int:
    """``catalog dead-end``."""
    args = context.args
    return _say_rules(
        context, opened(context, changes=True).dead_end(args.name, args.version, reason=args.reason)
    )


def barrier(context: Context) -> int:
    """``catalog barrier``."""
    args = context.args
    return _say_rules(
        context, opened(context, changes=True).barrier(args.name, args.version, reason=args.reason)
    )


def rollout(context: Context) -> int:
    """``catalog rollout``."""
    args = context.args
    found = opened(context, changes=True).rollout(
        args.name, args.channel, minutes=args.minutes, percent=args.percent
    )
    return _say_rules(context, found)


def choose(context: Context) -> int:
    """``catalog choose``."""
    args = context.args
    found = opened(context).choose(
        args.name,
        args.channel,
        host=args.host,
        running=args.running,
        trust=signing_verbs.trust(context),
    )
    context.out.data("choice", {"version": found.version, "reason": found.reason})
    context.out.say(f"{found.version}  {found.reason}")
    return 0


def _say_rules(context: Context, rules: Rules) -> int:
    context.out.data("rules", rules.model_dump(mode="json"))
    for each in rules.dead_ends:
        context.out.say(f"dead end  {each.version}: {each.reason}")
    for each in rules.barriers:
        context.out.say(f"barrier   {each.version}: {each.reason}")
    for channel, stage in rules.rollouts.items():
        context.out.say(
            f"rollout   {channel}: {stage.release} from {stage.percent:g} % on {stage.start} "
            f"to all after {stage.minutes} minutes"
        )
    return 0
