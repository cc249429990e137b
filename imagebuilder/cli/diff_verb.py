"""The verb ``diff``: how recipes differ in what they make."""

from __future__ import annotations

import argparse
from typing import Any

from imagebuilder.cli.context import Context
from imagebuilder.errors import InputError


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb to the command line."""
    text = "Say how two recipes differ, or what a change does to images, thing by thing."
    made = sub.add_parser("diff", help=text, description=text, parents=[common])
    made.set_defaults(verb=_diff)
    made.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="two recipes; with --since those to look at (all that are affected)",
    )
    made.add_argument(
        "--since", metavar="REV", default="", help="what the change started from, as of changed"
    )
    made.add_argument(
        "--to", metavar="REV", default="", help="what the change ends with (the work tree)"
    )
    made.add_argument(
        "--format",
        choices=("text", "markdown"),
        default="text",
        help="markdown: for a comment on a change",
    )
    made.add_argument("-q", "--question", action="store_true", help="only say by the exit status")


def _diff(context: Context) -> int:
    if context.args.since or context.args.to:
        return _of_change(context)
    if len(context.args.names) != 2:
        raise InputError(
            f"{len(context.args.names)} recipes are named, and two are compared",
            fix="name two, or say what to compare with: --since REV",
        )
    return _of_two(context)


def _of_two(context: Context) -> int:
    from imagebuilder.changes import compare_recipes, words

    old, new = context.args.names
    found = compare_recipes(context.project(), old, new)
    context.out.data(
        "diff", {"old": old, "new": new, "differences": [each.to_dict() for each in found]}
    )
    context.out.say(f"{old} → {new}{'' if found else ': nothing differs'}")
    for line in words.lines(found):
        context.out.say(line)
    return 1 if context.args.question and found else 0


def _of_change(context: Context) -> int:
    from imagebuilder.changes import find_changes, words

    args, out = context.args, context.out
    found = find_changes(
        context.project(),
        since=args.since or "HEAD",
        to=args.to,
        in_detail=True,
        cancel=context.cancel,
    )
    if args.names:
        wanted = set(args.names)
        found = found.only(wanted)
    out.data("diff", found.to_dict())
    if args.format == "markdown":
        out.say(words.markdown(found).rstrip())
        return 1 if args.question and found.images else 0
    for each in found.images:
        what = "" if each.effect == "image" else f" ({each.effect})"
        out.say(f"{each.name}{what}: {'; '.join(map(str, each.reasons))}")
        for line in words.lines(each.differences if each.effect != "new" else ()):
            out.say(line)
        if each.error:
            out.say(f"  {each.error}")
    for name in found.removed:
        out.say(f"{name}: removed")
    if not found.images and not found.removed:
        out.say(words.NOTHING)
    return 1 if args.question and found.images else 0
