"""What was found in several recipes, as one list: sorted, each thing once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from imagebuilder.errors import InputError, Location
from imagebuilder.lint import unused, waivers
from imagebuilder.lint.finding import Finding, found, of_error
from imagebuilder.lint.run import Result
from imagebuilder.project import Project


def gather(
    project: Project, results: Sequence[Result], *, is_all: bool, today: date
) -> tuple[Finding, ...]:
    """Return the findings of several recipes, sorted; those of a fragment they share only once.

    Args:
        project: the recipes' project.
        results: what came of each recipe.
        is_all: whether these are all recipes of the project.
        today: the day by which waivers are judged.
    """
    final = set() if is_all else _leaves(project, results)
    unused_things = [*_unused_params(results, final, today, is_all=is_all)]
    if is_all:
        unused_things += _unused_fragments(project, results, today)
    found_all = [each for result in results for each in result.findings]
    found_all += _idle_waivers(results, unused_things, final, is_all=is_all)
    return _merged([*found_all, *unused_things])


def _merged(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    names: dict[Finding, set[str]] = defaultdict(set)
    for each in findings:
        names[replace(each, recipes=())].update(each.recipes)
    return tuple(
        sorted(
            (replace(each, recipes=tuple(sorted(of))) for each, of in names.items()),
            key=lambda finding: finding.order,
        )
    )


def _leaves(project: Project, results: Sequence[Result]) -> set[str]:
    """Return the files whose recipes are all among the results, and which nothing extends.

    What such a file sets and its recipe does not use, nobody does.
    """
    seen = {result.name for result in results if result.is_whole}
    extended: set[str] = set()
    for path in sorted((project.root / "recipes").glob("*.toml")):
        try:
            extended.add(str(project.declaration(path.stem).data.get("extends", "")))
        except InputError:
            continue  # said where it is looked at
    return {f"recipes/{name}.toml" for name in seen - extended}


def _idle_waivers(
    results: Sequence[Result], unused_things: Sequence[Finding], final: set[str], *, is_all: bool
) -> Iterator[Finding]:
    judged: dict[tuple[Location, str], list[tuple[bool | None, str]]] = defaultdict(list)
    for result in results:
        for each, needed in result.waivers:
            if not waivers.is_known(each) or (each.waiver.code == "IB801" and not is_all):
                continue
            where = replace(each.where, key="waivers")
            is_needed = True if any(map(each.matches, unused_things)) else needed
            judged[where, each.waiver.code].append((is_needed, result.name))
    for (where, code), of in judged.items():
        if all(needed is False for needed, _ in of) and (is_all or where.file in final):
            yield replace(waivers.idle(where, code), recipes=tuple(name for _, name in of))


def _unused_params(
    results: Sequence[Result], final: set[str], today: date, *, is_all: bool
) -> Iterator[Finding]:
    unused_in: dict[Location, list[tuple[Finding, Result]]] = defaultdict(list)
    used: set[Location] = set()
    for result in results:
        if result.uses is None:
            continue
        for where, is_used in result.uses.params.items():
            if is_used:
                used.add(where)
            else:
                unused_in[where].append((result.uses.findings[where], result))
    for where, of in unused_in.items():
        if where not in used and (is_all or where.file in final):
            for finding, result in of:
                own = tuple(each for each, _ in result.waivers)
                yield from waivers.waive([replace(finding, recipes=(result.name,))], own, today)


def _unused_fragments(
    project: Project, results: Sequence[Result], today: date
) -> Iterator[Finding]:
    unknown = [result.name for result in results if result.uses is None]
    if unknown:
        text = f"which fragments are used is not known: {unknown[0]} cannot be resolved"
        yield found("IB100", text, None)
        return
    used = frozenset(name for result in results if result.uses for name in result.uses.fragments)
    placed = tuple(each for result in results for each, _ in result.waivers)
    yield from waivers.waive(unused.unused_fragments(project, used), placed, today)


def names_of(project: Project) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Return the names of all recipes, and what is wrong with the names themselves."""
    try:
        return project.names(abstract=True), ()
    except InputError as error:
        findings = of_error("IB101", error)
    names: list[str] = []
    for path in sorted((project.root / "recipes").glob("*.toml")):
        try:
            names += project.select([path.stem])
        except InputError:
            names.append(path.stem)
    return tuple(dict.fromkeys(names)), findings
