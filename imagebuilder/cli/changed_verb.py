"""The verb ``changed``: which images a change affects, and why."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from imagebuilder.cli.arguments import count
from imagebuilder.cli.context import Context

if TYPE_CHECKING:
    from imagebuilder.changes import Changes


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb to the command line."""
    text = "Say which images a change affects, and why."
    made = sub.add_parser("changed", help=text, description=text, parents=[common])
    made.set_defaults(verb=_changed)
    made.add_argument(
        "--since",
        metavar="REV",
        default="HEAD",
        help="what the change started from: compared is what both sides have in common with it "
        "(HEAD: what is not committed)",
    )
    made.add_argument(
        "--to", metavar="REV", default="", help="what the change ends with (the work tree)"
    )
    made.add_argument(
        "--files",
        nargs="+",
        metavar="PATH",
        help="these paths of the project changed: git is not asked, and what they did is not known",
    )
    made.add_argument(
        "--format",
        choices=("reasons", "names", "github", "gitlab"),
        default="reasons",
        help="reasons: a line for each image; names: names alone; github: a matrix of GitHub "
        "Actions; gitlab: a child pipeline of GitLab",
    )
    made.add_argument(
        "--groups",
        type=count,
        default=20,
        metavar="N",
        help="github and gitlab: at most so many jobs; images with the same packages share one",
    )
    made.add_argument(
        "--include", metavar="FILE", default="", help="gitlab: the file that has the template"
    )
    made.add_argument(
        "--template", metavar="JOB", default=".imagebuilder", help="gitlab: what each job extends"
    )
    made.add_argument("-q", "--question", action="store_true", help="only say by the exit status")


def _changed(context: Context) -> int:
    from imagebuilder import changes

    args, out = context.args, context.out
    project = context.project()
    found = changes.find_changes(
        project, since=args.since, to=args.to, files=args.files, cancel=context.cancel
    )
    out.data("changed", found.to_dict())
    names = [each.name for each in found.images]
    if args.format in ("github", "gitlab"):
        groups = changes.grouped(project, names, args.groups)
        if args.format == "github":
            out.say(json.dumps(changes.github_matrix(groups)))
        else:
            made = changes.gitlab_pipeline(groups, args.include, args.template)
            out.say(json.dumps(made, indent=2))
    elif args.format == "names":
        for name in names:
            out.say(name)
    else:
        _tell(context, found)
    return 1 if args.question and found.images else 0


def _tell(context: Context, found: Changes) -> None:
    for each in found.images:
        what = {"image": "", "tests": "its tests: ", "new": "new: ", "broken": "broken: "}
        was = f"{each.renamed_from} before; " if each.renamed_from else ""
        why = "; ".join(map(str, each.reasons))
        context.out.say(f"{each.name}: {what[each.effect]}{was}{why}")
    for name in found.removed:
        context.out.say(f"{name}: removed")
