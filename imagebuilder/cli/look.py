"""The verbs that only look: ``list``, ``show`` and ``doctor``."""

from __future__ import annotations

from imagebuilder import pipeline
from imagebuilder.cli.context import Context
from imagebuilder.cli.explain import explain, spot
from imagebuilder.errors import InputError, joined
from imagebuilder.kickstart import compose


def list_recipes(context: Context) -> int:
    """``list``: those that are wrong are said at the end, when the others have been listed."""
    project = context.project()
    rows: list[list[str]] = []
    wrong: list[InputError] = []
    for name in project.names(abstract=context.args.abstract):
        context.cancel.check()
        try:
            each = project.resolve(name)
        except InputError as error:
            wrong.append(error)
            rows.append([name, "?", "cannot be resolved: see below"])
            continue
        context.out.data(
            "recipe",
            {
                "name": each.name,
                "distro": each.distro.id,
                "arch": each.recipe.arch,
                "engine": each.recipe.engine,
                "extends": list(each.lineage[:-1]),
                "matrix": dict(each.matrix),
                "abstract": each.recipe.abstract,
                "summary": each.recipe.summary,
            },
        )
        mark = "abstract: " if each.recipe.abstract else ""
        rows.append([each.name, each.distro.id, mark + each.recipe.summary])
    context.out.table(rows)
    if wrong:
        raise joined(wrong)
    return 0


def show(context: Context) -> int:
    """``show``."""
    resolved = context.project().resolve(context.args.name)
    kickstart = compose(resolved)
    if context.args.why:
        for reason in explain(resolved, kickstart, context.args.why):
            context.out.data("origin", reason.to_dict())
            context.out.say(f"{spot(reason.where)}: {reason.text}")
            for name, where in reason.uses:
                context.out.say(f"    with {name} of {spot(where)}")
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

    try:
        root = context.project().root
    except InputError:
        root = None
    status = 0
    marks = {"ok": "ok     ", "warning": "warning", "missing": "MISSING"}
    for finding in host.examine(pipeline.default_cache_dir(), root):
        context.cancel.check()
        context.out.data("finding", finding.to_dict())
        context.out.say(f"{marks[finding.state]}  {finding.name}: {finding.text}")
        if finding.fix:
            context.out.say(f"         → {finding.fix}")
        if finding.state == "missing":
            status = 5
    return status
