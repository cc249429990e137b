"""The verbs that begin something: ``init``, ``import`` and ``schema``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.cli.context import Context

if TYPE_CHECKING:
    from imagebuilder.importing import Imported


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to the command line."""
    text = "Make a new project, which builds at once."
    init = sub.add_parser("init", help=text, description=text, parents=[common])
    init.set_defaults(verb=_init)
    init.add_argument("folder", metavar="DIR", nargs="?", default=".", help="by default: here")
    init.add_argument("--name", default="server", help="its recipe (server)")
    init.add_argument("--distro", default="debian-12", help="what it is an image of (debian-12)")
    _dry_run(init)

    text = "Make recipes of kickstarts, and say what cannot be carried over."
    importing = sub.add_parser("import", help=text, description=text, parents=[common])
    importing.set_defaults(verb=_import)
    importing.add_argument("files", metavar="FILE", nargs="+", help="kickstarts")
    importing.add_argument("--name", default="", help="the recipe; by default as the file")
    importing.add_argument(
        "--distro", default="", help="what it is for; by default it is looked for in the kickstart"
    )
    importing.add_argument(
        "--into",
        metavar="FOLDER",
        default="imported",
        help="the folder below kickstarts/ for the files (imported)",
    )
    _dry_run(importing)

    text = "Print the JSON Schema of recipe files, or of what --json prints."
    schema = sub.add_parser("schema", help=text, description=text, parents=[common])
    schema.set_defaults(verb=_schema)
    schema.add_argument(
        "of",
        nargs="?",
        choices=("recipe", "lines"),
        default="recipe",
        help="recipe: for editors; lines: those that --json prints (recipe)",
    )


def _dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be written, and write nothing"
    )


def _init(context: Context) -> int:
    from imagebuilder.scaffold import init_project

    args, out = context.args, context.out
    made = init_project(
        Path(args.directory, args.folder),
        name=args.name,
        distro_id=args.distro,
        dry_run=args.dry_run,
    )
    out.data("project", made.to_dict())
    out.say(f"{'would write' if args.dry_run else 'wrote'} to {made.root}:")
    for path in made.files:
        out.say(f"  {path}")
    for path in made.kept:
        out.say(f"  {path} was there, and is as it was")
    if not args.dry_run:
        out.say(f"\nnow, in that folder:\n  imagebuilder build {made.recipe}")
        out.say(f'  imagebuilder publish {made.recipe} --catalog "file://$PWD/catalog"')
    return 0


def _import(context: Context) -> int:
    from imagebuilder.importing import import_kickstarts
    from imagebuilder.progress import Reporter

    args = context.args
    made = import_kickstarts(
        context.project(),
        args.files,
        name=args.name,
        distro_id=args.distro,
        into=args.into,
        dry_run=args.dry_run,
        reporter=Reporter(subject="import", cancel=context.cancel),
    )
    for each in made:
        context.out.data("imported", each.to_dict())
        _tell(context, each)
    return 0


def _tell(context: Context, made: Imported) -> None:
    out = context.out
    verb = "would become" if context.args.dry_run else "is"
    out.say(f"{made.file} {verb} the recipe {made.recipe}, for {made.distro}: {made.lines} lines")
    if made.guessed:
        out.say(f"  {made.distro} because {made.guessed}; choose another with --distro")
    for path in made.files:
        out.say(f"  {path}")
    titles = {
        "left out": "could not be carried over:",
        "secret": "is a secret from now on, and not in the project:",
        "changed": "stands there in another form:",
        "note": "to look at:",
    }
    for kind, title in titles.items():
        rows = [each for each in made.remarks if each.kind == kind]
        lines = [f"{each.where}: {each.text}" + _fix(each.fix) for each in rows]
        _list(context, title, lines)
    refused = [f"{each.where}: {each.what}" + _fix(each.fix) for each in made.refused]
    _list(context, "will not be built as it is:", refused)
    _list(context, "the engine notes:", made.without_effect)
    out.say(f"now: imagebuilder show {made.recipe}; imagebuilder lint {made.recipe}")


def _list(context: Context, title: str, lines: Sequence[str]) -> None:
    if lines:
        context.out.say(title)
    for line in lines:
        context.out.say(f"  {line}")


def _fix(fix: str) -> str:
    return f"\n      {fix}" if fix else ""


def _schema(context: Context) -> int:
    if context.args.of == "lines":
        from imagebuilder.cli import lines

        context.out.text(json.dumps(lines.json_schema(), indent=1))
        return 0
    from imagebuilder.recipe import json_schema

    context.out.text(json.dumps(json_schema(), indent=1))
    return 0
