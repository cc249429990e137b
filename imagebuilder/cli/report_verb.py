"""The verb ``report``: a page of HTML for each build."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from imagebuilder.cli.context import Context
from imagebuilder.errors import InputError


def add(sub: Any, common: argparse.ArgumentParser, where: argparse.ArgumentParser) -> None:
    """Add the verb to the command line."""
    text = "Write a page of HTML on the last build of recipes; builds nothing."
    made = sub.add_parser("report", help=text, description=text, parents=[common, where])
    made.set_defaults(verb=_report)
    made.add_argument("names", nargs="*", metavar="NAME", help="recipes")
    made.add_argument("--all", action="store_true", help="all recipes of which something was built")
    made.add_argument(
        "--image", metavar="ID", default="", help="the page of this image, not of the last build"
    )
    made.add_argument(
        "--output",
        metavar="PATH",
        default="",
        help="the file, or a folder for NAME.html (report.html beside the image)",
    )
    made.add_argument(
        "--channel", default="", help="compare with the last release of this channel (testing)"
    )


def _report(context: Context) -> int:
    from imagebuilder.report import write_report

    args = context.args
    project = context.project()
    names = project.names() if args.all else project.select(args.names)
    if not names:
        raise InputError("no recipe is named", fix="name some, or say --all")
    as_folder = args.output.endswith("/") or Path(args.output).is_dir() if args.output else False
    if len(names) > 1 and args.image:
        raise InputError("an image is of one recipe", fix="name that recipe alone")
    if len(names) > 1 and args.output and not as_folder:
        raise InputError(
            f"{args.output} is one file, and {len(names)} recipes are named",
            fix="name a folder: end it with /",
        )
    for name in names:
        context.cancel.check()
        output = Path(args.output) if args.output else None
        path = write_report(
            project,
            name,
            context.options(),
            image_id=args.image,
            output=output / f"{name}.html" if output and as_folder else output,
            catalog=args.catalog or project.settings.catalog,
            channel=args.channel or project.settings.channel,
        )
        if path:
            context.out.data("page", {"recipe": name, "path": str(path)})
            context.out.say(f"{name}: the page is {os.path.relpath(path)}")
        elif not args.all:
            raise InputError(
                f"nothing of {name!r} was built here", fix=f"imagebuilder build {name}"
            )
    return 0
