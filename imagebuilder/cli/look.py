"""The verbs that only look: ``list``, ``show`` and ``doctor``."""

from __future__ import annotations

from imagebuilder import pipeline
from imagebuilder.cli.context import Context
from imagebuilder.cli.explain import explain
from imagebuilder.errors import InputError
from imagebuilder.kickstart import compose


def list_recipes(context: Context) -> int:
    """``list``."""
    project = context.project()
    found = [project.resolve(name) for name in project.names()]
    for each in found:
        context.out.data(
            "recipe",
            {
                "name": each.name,
                "distro": each.distro.id,
                "extends": list(each.lineage[:-1]),
                "summary": each.recipe.summary,
            },
        )
    context.out.table([[each.name, each.distro.id, each.recipe.summary] for each in found])
    return 0


def show(context: Context) -> int:
    """``show``."""
    resolved = context.project().resolve(context.args.name)
    kickstart = compose(resolved)
    if context.args.why:
        for where, text in explain(resolved, kickstart, context.args.why):
            context.out.data("origin", {"where": where.to_dict(), "text": text})
            context.out.say(f"{where}: {text}")
        return 0
    context.out.data(
        "recipe",
        resolved.recipe.model_dump(mode="json")
        | {"lineage": list(resolved.lineage), "kickstart": kickstart.redacted()},
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
