"""Results in the Test Anything Protocol, version 14 (https://testanything.org).

Each boot is a subtest, in which the boot is a test point and each check another.  What failed and
may is ``not ok`` with the directive TODO, which tools count as no failure: a waived check, and a
boot that passed when it was repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from imagebuilder.smoke.formats.results import NotTested, Results
from imagebuilder.smoke.report import BootReport, CheckResult, SmokeReport


def render(results: Results) -> bytes:
    """Return the TAP of results."""
    parts: list[list[str]] = []
    for report in results.reports:
        parts += _of_report(report)
    parts += [_not_tested(each) for each in results.not_tested]
    lines = ["TAP version 14", f"1..{len(parts)}"]
    for number, part in enumerate(parts, 1):
        lines += _numbered(part, number)
    return "".join(f"{line}\n" for line in lines).encode(errors="replace")


# A part is a subtest's lines, and last the lines of the test point that stands for it; "@" in the
# place of its number.
_NUMBER = "@"


def _numbered(part: list[str], number: int) -> Iterable[str]:
    for line in part:
        yield line.replace(f"ok {_NUMBER} -", f"ok {number} -", 1) if line[:1] != " " else line


def _of_report(report: SmokeReport) -> list[list[str]]:
    if report.failure:
        said = {"message": report.failure.what, "fix": report.failure.fix}
        return [_point(False, f"{report.recipe} image", said)]
    last = {boot.name: boot for boot in report.boots}
    parts = [_of_boot(report, boot, last[boot.name]) for boot in report.boots]
    return [*parts, _of_budgets(report)] if report.budgets else parts


def _of_budgets(report: SmokeReport) -> list[str]:
    name = f"{report.recipe} budget"
    points = [
        _point(
            each.outcome != "exceeded",
            each.what,
            {"message": each.message},
            f"SKIP {each.message}" if each.outcome == "not-measured" else "",
        )
        for each in report.budgets
    ]
    return [*_subtest(name, points), *_point(not report.exceeded, name, {})]


def _subtest(name: str, points: list[list[str]]) -> list[str]:
    lines = [f"# Subtest: {_escaped(name)}", f"    1..{len(points)}"]
    for number, point in enumerate(points, 1):
        lines += (f"    {line}" for line in _numbered(point, number))
    return lines


def _of_boot(report: SmokeReport, boot: BootReport, last: BootReport) -> list[str]:
    name = f"{report.recipe} {boot.name}"
    if boot.attempt > 1 or boot is not last:
        name += f" boot {boot.attempt}"
    said: dict[str, object] = {}
    if boot.failure:
        said = {
            "message": boot.failure.what,
            "fix": boot.failure.fix,
            "stage": boot.stage,
            "output": boot.failure.excerpt,
        }
    points = [_point(boot.failure is None, "boot", said)]
    points += [_of_check(check) for check in boot.checks]
    lines = _subtest(name, points)
    directive = ""
    if not boot.passed and boot is not last and last.passed:
        directive = "TODO flaky: it passed when it was repeated"
    facts = {
        "image": report.image,
        "accelerator": boot.accelerator.used,
        "kernel": boot.kernel,
        "seconds": boot.seconds,
        "seconds_to_multi_user": boot.seconds_to_multi_user,
    }
    return [*lines, *_point(boot.passed, name, facts, directive)]


def _of_check(check: CheckResult) -> list[str]:
    name = f"{check.group}: {check.title}" if check.group else check.title
    said: dict[str, object] = {"seconds": check.seconds, "tries": check.tries}
    directive = ""
    if check.outcome == "waived" and check.waiver:
        directive = f"TODO waived until {check.waiver.until}: {check.waiver.reason}"
    elif check.outcome in ("skipped", "not-run"):
        return _point(True, name, {}, f"SKIP {check.message}")
    if check.has_idle_waiver and check.waiver:
        said["waiver"] = f"it can go: {check.waiver.reason}"
    if check.outcome != "passed":
        said |= {"message": check.message, "output": check.output}
    return _point(check.outcome == "passed", name, said, directive)


def _not_tested(each: NotTested) -> list[str]:
    said = {"message": each.what, "at": each.where, "output": each.excerpt, "fix": each.fix}
    return _point(False, f"{each.recipe} image", said)


def _point(passed: bool, name: str, said: Mapping[str, object], directive: str = "") -> list[str]:
    """Return the lines of a test point: its own, and a block of YAML with what is said of it."""
    tail = f" # {_escaped(directive)}" if directive else ""
    lines = [f"{'' if passed else 'not '}ok {_NUMBER} - {_escaped(name)}{tail}"]
    known = {key: value for key, value in said.items() if value not in ("", None)}
    if known:
        # A string as JSON has it is one as YAML has it.
        rows = (f"  {key}: {json.dumps(value)}" for key, value in known.items())
        lines += ["  ---", *rows, "  ..."]
    return lines


def _escaped(text: str) -> str:
    """Return a text on one line, in which nothing is taken for a directive."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return plain.replace("\\", "\\\\").replace("#", "\\#")
