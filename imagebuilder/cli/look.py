"""The verbs that look: ``list``, ``show`` and ``doctor``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from imagebuilder.cli.context import Context
from imagebuilder.cli.planning import Planning, planning
from imagebuilder.errors import InputError, joined
from imagebuilder.remembered import Row
from imagebuilder.steady import steady


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to the command line."""

    def verb(name: str, text: str, function: object) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = sub.add_parser(
            name, help=text, description=text, parents=[common]
        )
        made.set_defaults(verb=function)
        return made

    listing = verb("list", "List the recipes of the project.", list_recipes)
    listing.add_argument(
        "--abstract", action="store_true", help="those too that are only there to be extended"
    )
    showing = verb("show", "Show a recipe as resolved, and its kickstart.", show)
    showing.add_argument("name", metavar="NAME")
    showing.add_argument(
        "--why", metavar="KEY", default="", help="say which file and line gave a value"
    )
    mending = verb("doctor", "Say what this host can do, and mend what it lacks.", doctor)
    mending.add_argument(
        "--clean",
        action="store_true",
        help="instead remove what livemedia-creators that were killed left on this host",
    )
    mending.add_argument("--yes", action="store_true", help="remove it without asking")
    mending.add_argument(
        "--below",
        metavar="FOLDER",
        action="append",
        default=[],
        help="look for its folders there, too (/var/tmp, /tmp)",
    )


def list_recipes(context: Context) -> int:
    """``list``: those that are wrong are said at the end, when the others have been listed."""
    kind = "abstract" if context.args.abstract else ""
    with steady(), planning(context) as work:
        known = work.memory.rows(kind)
        wrong: list[InputError] = []
        if known is None:
            known, wrong = _rows(context, work)
            if not wrong:
                work.memory.note_rows(kind, known)
    unresolved = {each.name for each in known if not each.distro}
    table: list[list[str]] = []
    for each in known:
        if each.name in unresolved:
            table.append([each.name, "?", "cannot be resolved: see below"])
            continue
        context.out.data("recipe", each.model_dump(mode="json"))
        mark = "abstract: " if each.abstract else ""
        table.append([each.name, each.distro, mark + each.summary])
    context.out.table(table)
    if wrong:
        raise joined(wrong)
    return 0


def _rows(context: Context, work: Planning) -> tuple[tuple[Row, ...], list[InputError]]:
    """Return a row for each recipe, without a distro for what is wrong; and what is wrong."""
    rows: list[Row] = []
    wrong: list[InputError] = []
    for name in work.project.names(abstract=context.args.abstract):
        context.cancel.check()
        try:
            each = work.project.resolve(name)
        except InputError as error:
            wrong.append(error)
            rows.append(Row(name=name))
            continue
        rows.append(
            Row(
                name=each.name,
                distro=each.distro.id,
                arch=each.recipe.arch,
                engine=each.recipe.engine,
                extends=each.lineage[:-1],
                matrix=dict(each.matrix),
                abstract=each.recipe.abstract,
                summary=each.recipe.summary,
            )
        )
    return tuple(rows), wrong


def show(context: Context) -> int:
    """``show``."""
    from imagebuilder.cli.explain import explain, spot
    from imagebuilder.kickstart import compose

    resolved = context.project().resolve(context.args.name)
    kickstart = compose(resolved)
    if context.args.why:
        for reason in explain(resolved, kickstart, context.args.why):
            context.out.data("origin", reason.to_dict())
            context.out.say(f"{spot(reason.where)}: {reason.text}")
            for name, where in reason.uses:
                context.out.say(f"    with {name} of {spot(where)}")
            for secret in reason.secrets:
                context.out.say(f"    with {secret}")
            if reason.via:
                chain = " → ".join(spot(each) for each in reason.via)
                context.out.say(f"    by way of {chain}")
        return 0
    context.out.data(
        "recipe",
        resolved.recipe.model_dump(mode="json")
        | {
            "lineage": list(resolved.lineage),
            "matrix": dict(resolved.matrix),
            "kickstart": kickstart.redacted(),
        },
    )
    context.out.say(f"# {' → '.join(resolved.lineage)}")
    context.out.say(resolved.recipe.model_dump_json(indent=2, exclude_defaults=True))
    context.out.say("\n# the kickstart")
    context.out.say(kickstart.redacted().rstrip("\n"))
    return 0


def doctor(context: Context) -> int:
    """``doctor``."""
    from imagebuilder import doctor as host

    if context.args.clean:
        return _clean(context)
    try:
        root = context.project().root
    except InputError:
        root = None
    status = 0
    marks = {"ok": "ok     ", "warning": "warning", "missing": "MISSING"}
    for finding in host.examine(context.options().cache_dir, root):
        context.cancel.check()
        context.out.data("finding", finding.to_dict())
        context.out.say(f"{marks[finding.state]}  {finding.name}: {finding.text}")
        if finding.fix:
            context.out.say(f"         → {finding.fix}")
        if finding.state == "missing":
            status = 5
    return status


def _clean(context: Context) -> int:
    """``doctor --clean``: list what was left, ask, remove it."""
    from imagebuilder.engines.livemedia import leftovers

    found = leftovers.find((*leftovers.TOPS, *(Path(each) for each in context.args.below)))
    for each in found:
        context.out.data("leftover", each.to_dict())
        context.out.say(f"{each.kind}  {each.name}: {each.text}")
        if each.kept:
            context.out.say(f"         stays: {each.kept}")
    wanted = [each for each in found if not each.kept]
    if not wanted:
        context.out.say("nothing is to be removed")
        return 0
    if not context.args.yes and not context.out.ask(f"Remove {len(wanted)} of these?"):
        context.out.say("nothing was removed; with --yes it is")
        return 0
    status = 0
    for each in leftovers.remove(wanted):
        context.cancel.check()
        context.out.data("removed", each.to_dict())
        said = f"not removed: {each.name}: {each.kept}" if each.kept else f"removed: {each.name}"
        context.out.say(said)
        status = 1 if each.kept else status
    return status
