"""Findings that a recipe accepts for a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from imagebuilder.errors import Location
from imagebuilder.lint.codes import CODES, GROUPS
from imagebuilder.lint.finding import Finding, Waived, found
from imagebuilder.project import ResolvedRecipe
from imagebuilder.recipe import Waiver

_OWN = frozenset(each.code for each in GROUPS["Waivers"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A waiver, and where it stands."""

    waiver: Waiver
    where: Location

    def matches(self, finding: Finding) -> bool:
        """Return whether it is for a finding, expired or not."""
        if finding.code != self.waiver.code or finding.code in _OWN:
            return False
        return self.waiver.match in f"{finding.where or ''}: {finding.text}"


def waivers_of(resolved: ResolvedRecipe) -> tuple[Placed, ...]:
    """Return the waivers of findings that a recipe has, its parents' among them."""
    return tuple(each for each in _placed(resolved) if each.waiver.code)


def problems_of_checks(resolved: ResolvedRecipe, today: date) -> Iterator[Finding]:
    """Give what is wrong with waivers of checks."""
    titles = {each.title for each in resolved.recipe.checks}
    for each in _placed(resolved):
        check, until = each.waiver.check, each.waiver.until
        if not check or resolved.recipe.abstract:
            continue
        if check not in titles:
            yield found("IB904", f"there is no check {check!r} that could be waived", each.where)
        elif until < today:
            yield found(
                "IB901", f"the waiver of the check {check!r} held until {until}", each.where
            )


def _placed(resolved: ResolvedRecipe) -> Iterator[Placed]:
    for n, each in enumerate(resolved.recipe.waivers):
        yield Placed(waiver=each, where=resolved.place(f"waivers.{n}"))


def waive(
    findings: Iterable[Finding], waivers: tuple[Placed, ...], today: date
) -> tuple[Finding, ...]:
    """Return the findings, those that a waiver holds for marked."""
    holding = [each for each in waivers if each.waiver.until >= today]
    return tuple(_waived(finding, holding) for finding in findings)


def _waived(finding: Finding, holding: list[Placed]) -> Finding:
    for each in holding:
        if each.matches(finding):
            mark = Waived(reason=each.waiver.reason, until=each.waiver.until, where=each.where)
            return replace(finding, waived=mark)
    return finding


def problems(waivers: Iterable[Placed], today: date) -> Iterator[Finding]:
    """Give what is wrong with waivers whatever is found."""
    for each in waivers:
        code, until = each.waiver.code, each.waiver.until
        if not is_known(each):
            yield found("IB903", f"there is no finding {code} that can be waived", each.where)
        elif until < today:
            yield found("IB901", f"the waiver of {code} held until {until}", each.where)


def idle(where: Location, code: str) -> Finding:
    """Return the finding of a waiver that matched nothing."""
    return found("IB902", f"the waiver of {code} matches nothing that was found", where)


def is_known(placed: Placed) -> bool:
    """Return whether a waiver is for a code that can be waived."""
    return placed.waiver.code in CODES and placed.waiver.code not in _OWN
