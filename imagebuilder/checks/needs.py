"""Which checks must have passed before others are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagebuilder.checks.base import BaseCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongNeed:
    """A need that can never be met.

    Attributes:
        check: the number of the check that has it, from 0.
        need: which of its needs, from 0.
        why: what is wrong with it.
    """

    check: int
    need: int
    why: str


def needs_of(checks: Sequence[BaseCheck]) -> tuple[tuple[int, ...], ...]:
    """Return for each check the numbers (from 0) of those that it needs, itself left out.

    A need names the title of checks, or a group; one that names nothing stands for nothing.
    """
    named: dict[str, list[int]] = {}
    for number, check in enumerate(checks):
        for name in {check.title, check.group} - {""}:
            named.setdefault(name, []).append(number)
    return tuple(
        tuple(dict.fromkeys(each for need in check.needs for each in named.get(need, ())))
        for check in checks
    )


def wrong_needs(checks: Sequence[BaseCheck]) -> tuple[WrongNeed, ...]:
    """Return the needs that name no check, and one of each circle."""
    if not any(check.needs for check in checks):
        return ()
    known = {name for check in checks for name in (check.title, check.group)}
    wrong = [
        WrongNeed(check=n, need=m, why=f"{need!r} is neither a check nor a group of checks")
        for n, check in enumerate(checks)
        for m, need in enumerate(check.needs)
        if need not in known or not need
    ]
    circle = _circle(needs_of(checks))
    if circle:
        first, second = circle[0], circle[1 % len(circle)]
        names = {checks[second].title, checks[second].group}
        need = next(m for m, each in enumerate(checks[first].needs) if each in names)
        titles = " needs ".join(checks[n].title for n in (*circle, circle[0]))
        wrong.append(WrongNeed(check=first, need=need, why=f"checks wait for each other: {titles}"))
    return tuple(wrong)


def _circle(needs: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the checks of a circle, each followed by one that it needs; () if there is none."""
    done: set[int] = set()
    for start in range(len(needs)):
        path: list[int] = [start]
        rest = [list(needs[start])]
        while path:
            if path[-1] in done or not rest[-1]:
                done.add(path.pop())
                rest.pop()
                continue
            following = rest[-1].pop(0)
            if following in path:
                return tuple(path[path.index(following) :])
            path.append(following)
            rest.append(list(needs[following]))
    return ()
