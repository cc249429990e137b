"""What came of checks, from what the runner in the guest said of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from imagebuilder.checks import Check
from imagebuilder.recipe import Waiver
from imagebuilder.smoke.guest import Said, number
from imagebuilder.smoke.report import CheckResult, Waived

_TITLE_LIMIT = 100


def results_of(
    checks: Sequence[Check], said: Sequence[Said], waivers: Sequence[Waiver], today: date
) -> tuple[CheckResult, ...]:
    """Return what came of each check, in their order.

    Args:
        checks: what was asked.
        said: everything that the runner said.
        waivers: of checks that may fail.
        today: the day by which they are judged.
    """
    found = {each.texts[0]: each.texts for each in said if each.word == "check"}
    return tuple(
        _judged(_result(checks, check, found.get(str(number))), check, waivers, today)
        for number, check in enumerate(checks, 1)
    )


def _judged(
    result: CheckResult, check: Check, waivers: Sequence[Waiver], today: date
) -> CheckResult:
    """Return a result with the waiver of its check; of several that which holds longest."""
    own = max((w for w in waivers if w.check == check.title), key=lambda w: w.until, default=None)
    if own is None:
        return result
    waived = Waived(reason=own.reason, until=own.until, expired=own.until < today)
    changed: dict[str, object] = {"waiver": waived}
    if result.outcome == "failed" and not waived.expired:
        changed["outcome"] = "waived"
    elif result.outcome == "failed":
        changed["message"] = f"{result.message}; its waiver ({own.reason}) held until {own.until}"
    return result.model_copy(update=changed)


def shown_title(check: Check) -> str:
    """Return what the report calls a check: one line, at most 100 characters."""
    title = " ".join(check.title.split())
    return title if len(title) <= _TITLE_LIMIT else title[: _TITLE_LIMIT - 1] + "…"


def _result(checks: Sequence[Check], check: Check, texts: tuple[str, ...] | None) -> CheckResult:
    made = CheckResult(
        title=shown_title(check),
        kind=check.kind,
        group=check.group,
        outcome="not-run",
        message=f"wanted {check.wanted}; the test ended before an answer",
    )
    if texts is None:
        return made
    _, outcome, seconds, found, output, tries = texts
    if outcome == "skipped":
        known = found.isdecimal() and 0 < int(found) <= len(checks)
        needed = shown_title(checks[int(found) - 1]) if known else "another check"
        message = f"it needs {needed!r}, which did not hold"
        return made.model_copy(update={"outcome": "skipped", "message": message})
    return made.model_copy(
        update={
            "outcome": "passed" if outcome == "passed" else "failed",
            "seconds": number(seconds),
            "tries": int(tries) if tries.isdecimal() else 0,
            "message": f"wanted {check.wanted}; {found}",
            "output": output,
        }
    )
