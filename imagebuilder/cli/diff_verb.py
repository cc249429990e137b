"""The verb ``diff``: how recipes, images and releases differ in what a machine gets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.cli import signing_verbs
from imagebuilder.cli.context import Context
from imagebuilder.cli.named import opened
from imagebuilder.errors import InputError
from imagebuilder.names import PROJECT_FILE

if TYPE_CHECKING:
    from imagebuilder.catalog import Catalog
    from imagebuilder.comparison import Comparison, Named
    from imagebuilder.project import Project


def add(sub: Any, common: argparse.ArgumentParser, where: argparse.ArgumentParser) -> None:
    """Add the verb to the command line."""
    text = "Say how recipes, images or releases differ, or what a change does, thing by thing."
    made = sub.add_parser("diff", help=text, description=text, parents=[common, where])
    made.set_defaults(verb=_diff)
    made.add_argument(
        "names",
        nargs="*",
        metavar="WHAT",
        help="two of: a recipe; an image's folder, such as build/NAME/latest; a release, "
        "NAME@CHANNEL or NAME@VERSION.  With --since or --channel: those to look at (all)",
    )
    made.add_argument(
        "--since", metavar="REV", default="", help="what the change started from, as of changed"
    )
    made.add_argument(
        "--to", metavar="REV", default="", help="what the change ends with (the work tree)"
    )
    made.add_argument(
        "--channel",
        default="",
        help="compare recipes, or an image, with what this channel of the catalog names",
    )
    made.add_argument(
        "--files",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="compare the files in root file system and initrd, of releases too: these are "
        "fetched for that (where nothing need be fetched)",
    )
    made.add_argument(
        "--format",
        choices=("text", "markdown", "html"),
        default="text",
        help="markdown: for a comment on a change; html: one page",
    )
    made.add_argument("-q", "--question", action="store_true", help="only say by the exit status")
    made.add_argument(
        "--offline", action="store_true", help="use no network: what is in the cache must do"
    )
    signing_verbs.add_trust(made)


def _diff(context: Context) -> int:
    args = context.args
    if args.since or args.to:
        if args.channel:
            raise InputError("--since and --channel each say what to compare with", fix="say one")
        return _of_change(context)
    from imagebuilder.comparison import Named

    names = [Named.read(each, Path(args.directory)) for each in args.names]
    if args.channel:
        return _of_channel(context, names)
    if len(names) != 2:
        raise InputError(
            f"{'one is' if len(names) == 1 else f'{len(names)} are'} named, and two are compared",
            fix="name two, or say what to compare with: --since REV, or --channel NAME",
        )
    if all(each.kind == "recipe" for each in names):
        return _of_recipes(context)
    return _of_images(context, [(names[0], names[1])])


def _of_recipes(context: Context) -> int:
    from imagebuilder.changes import compare_recipes, words

    out = context.out
    old, new = context.args.names
    found = compare_recipes(context.project(), old, new)
    out.data("diff", {"old": old, "new": new, "differences": [each.to_dict() for each in found]})
    if context.args.format == "html":
        from imagebuilder.comparison import page

        out.say(page.of_recipes(old, new, found).rstrip())
    elif context.args.format == "markdown":
        out.say(words.markdown_of_two(old, new, found).rstrip())
    else:
        out.say(f"{old} → {new}{'' if found else ': nothing differs'}")
        for line in words.lines(found):
            out.say(line)
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
        found = found.only(set(args.names))
    out.data("diff", found.to_dict())
    if args.format == "markdown":
        out.say(words.markdown(found).rstrip())
    elif args.format == "html":
        from imagebuilder.comparison import page

        out.say(page.of_changes(found).rstrip())
    else:
        for line in words.text(found):
            out.say(line)
    return 1 if args.question and (found.images or found.removed) else 0


def _of_channel(context: Context, names: Sequence[Named]) -> int:
    """Compare what is here with what a channel names; of recipes that it has, all by default."""
    from imagebuilder.comparison import Named
    from imagebuilder.image import Image

    channel = context.args.channel
    pairs: list[tuple[Named, Named]] = []
    for each in names:
        if each.kind == "release":
            raise InputError(
                f"{each.name}@{each.which} is a release, and --channel names the other one",
                fix=f"name both: {each.name}@{channel} {each.name}@{each.which}",
            )
        recipe = Image.open(each.path).recipe if each.path else each.name
        pairs.append((Named(kind="release", name=recipe, which=channel), each))
    if not names:
        here = context.project().names()
        there = {each.name for each in opened(context).channels() if each.channel == channel}
        if not there:
            raise InputError(
                f"the catalog has no channel {channel!r} of any recipe",
                fix="imagebuilder catalog ls lists what there is",
            )
        pairs = [
            (
                Named(kind="release", name=each, which=channel),
                Named(kind="recipe", name=each),
            )
            for each in here
            if each in there
        ]
    return _of_images(context, pairs)


def _of_images(context: Context, pairs: Sequence[tuple[Named, Named]]) -> int:
    from imagebuilder.comparison import compare_images

    project, catalog = _project(context), _catalog(context, pairs)
    found = [
        compare_images(
            old,
            new,
            project=project,
            catalog=catalog,
            trust=signing_verbs.trust(context),
            files=context.args.files,
            options=context.options(),
        )
        for old, new in pairs
    ]
    context.out.close()
    _tell(context, found)
    return 1 if context.args.question and not all(each.is_same for each in found) else 0


def _project(context: Context) -> Project | None:
    try:
        return context.project()
    except InputError:
        if (Path(context.args.directory) / PROJECT_FILE).exists():
            raise
        return None  # images and releases are compared anywhere


def _catalog(context: Context, pairs: Sequence[tuple[Named, Named]]) -> Catalog | None:
    is_needed = any(each.kind == "release" for pair in pairs for each in pair)
    return opened(context) if is_needed else None


def _tell(context: Context, found: Sequence[Comparison]) -> None:
    from imagebuilder.comparison import page, words

    for each in found:
        context.out.data("diff", each.to_dict())
    if context.args.format == "html":
        context.out.say(page.of_comparisons(found).rstrip())
    elif context.args.format == "markdown":
        context.out.say(words.markdown(found).rstrip())
    else:
        for each in found:
            for line in words.text(each):
                context.out.say(line)
