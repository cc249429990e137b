"""Results as JUnit XML, which CI systems show.

Each boot path is a test suite, in which the boot is a test case and each check another.  What a
repeated boot found before is there as well, in the elements that Maven's Surefire has for it:
``flakyFailure`` where it passed at last, else ``rerunFailure``.  JUnit knows no waivers: a check
that failed and may is ``skipped``, with the reason.
"""

from __future__ import annotations

import re

from junitparser import Error, Failure, Skipped
from junitparser.junitparser import FinalResult
from junitparser.xunit2 import FlakyFailure, JUnitXml, RerunFailure, TestCase, TestSuite

from imagebuilder.smoke.formats.results import NotTested, Results
from imagebuilder.smoke.report import BootReport, CheckResult, SmokeReport, passed_only_again
from imagebuilder.smoke.report import Failure as Broken

# What XML 1.0 has no way to write (its production Char).
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(results: Results) -> bytes:
    """Return the XML of results."""
    made = JUnitXml("imagebuilder")
    for report in results.reports:
        for suite in _suites(report):
            made.add_testsuite(suite)
    for each in results.not_tested:
        made.add_testsuite(_not_tested(each))
    made.update_statistics()
    text: bytes = made.tostring()
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + text + b"\n"


def _suites(report: SmokeReport) -> list[TestSuite]:
    if report.failure:
        suite = _suite(report, report.recipe)
        case = _case(report.recipe, "image", report.seconds)
        case.result = [_result(Error, report.failure.what, _text_of(report.failure), "image")]
        suite.add_testcase(case)
        return [suite]
    suites = [_of_path(report, boot) for boot in report.last_boots]
    if report.budgets:
        suites.append(_of_budgets(report))
    return suites


def _of_budgets(report: SmokeReport) -> TestSuite:
    suite = _suite(report, f"{report.recipe} budget")
    for each in report.budgets:
        case = _case(f"{report.recipe}.budget", each.what, 0.0)
        if each.outcome == "exceeded":
            case.result = [_result(Failure, each.message, "", "budget")]
        elif each.outcome == "not-measured":
            case.result = [Skipped(_clean(each.message))]
        else:
            case.system_out = _clean(each.message)
        suite.add_testcase(case)
    return suite


def _of_path(report: SmokeReport, last: BootReport) -> TestSuite:
    """Return the suite of a path: what its last boot found, and beside it what others did."""
    suite = _suite(report, f"{report.recipe} {last.name}")
    attempts = [boot for boot in report.boots if boot.name == last.name]
    properties = {
        "path": last.path,
        "accelerator": last.accelerator.used,
        "cpu_model": last.accelerator.cpu_model,
        "kernel": last.kernel,
        "stage": last.stage,
        "seconds_to_multi_user": last.seconds_to_multi_user,
        "attempts": len(attempts),
        "flaky": "true" if last.passed and passed_only_again(attempts) else "false",
    }
    for name, value in properties.items():
        if value not in (None, ""):
            suite.add_property(name, _clean(str(value)))
    place = f"{report.recipe}.{last.name}"
    case = _case(place, "boot", last.seconds - sum(check.seconds for check in last.checks))
    if last.failure:
        case.result = [_result(Failure, last.failure.what, _text_of(last.failure), "boot")]
    for boot in attempts[:-1]:
        _add_earlier(case, boot, last.failure is None, boot.failure)
    suite.add_testcase(case)
    for number, check in enumerate(last.checks):
        case = _of_check(place, check)
        for boot in attempts[:-1]:
            before = boot.checks[number] if number < len(boot.checks) else None
            if before and before.outcome == "failed":
                broken = Broken(what=before.message, excerpt=before.output)
                _add_earlier(case, boot, not check.counts_against, broken)
        suite.add_testcase(case)
    return suite


def _of_check(place: str, check: CheckResult) -> TestCase:
    group = f".{check.group}" if check.group else ""
    case = _case(f"{place}{group}", check.title, check.seconds)
    if check.outcome == "failed":
        case.result = [_result(Failure, check.message, check.output, check.kind)]
    elif check.outcome == "waived" and check.waiver:
        why = f"waived until {check.waiver.until}: {check.waiver.reason}; {check.message}"
        case.result = [Skipped(_clean(why))]
    elif check.outcome in ("skipped", "not-run"):
        case.result = [Skipped(_clean(check.message))]
    elif check.has_idle_waiver and check.waiver:
        case.system_out = _clean(f"it holds: its waiver can go ({check.waiver.reason})")
    if check.output and check.outcome == "waived":
        case.system_out = _clean(check.output)
    if check.tries > 1:
        case.add_property("tries", str(check.tries))
    return case


def _add_earlier(case: TestCase, boot: BootReport, passed: bool, broken: Broken | None) -> None:
    if broken is None:
        return
    kind = FlakyFailure if passed else RerunFailure
    made = kind(_clean(f"boot {boot.attempt}: {broken.what}"), "boot")
    made.stack_trace = _clean(_text_of(broken))
    case.add_interim_result(made)


def _not_tested(each: NotTested) -> TestSuite:
    suite = TestSuite(each.recipe)
    case = _case(each.recipe, "image", 0.0)
    text = "\n".join(line for line in (each.where, each.excerpt, each.fix) if line)
    case.result = [_result(Error, each.what, text, "image")]
    suite.add_testcase(case)
    return suite


def _suite(report: SmokeReport, name: str) -> TestSuite:
    suite = TestSuite(name)
    suite.timestamp = report.started
    for key, value in (("image", report.image), ("question", report.tested)):
        suite.add_property(key, value)
    return suite


def _case(place: str, name: str, seconds: float) -> TestCase:
    return TestCase(_clean(name), _clean(place), round(max(seconds, 0.0), 3))


def _result(kind: type[FinalResult], message: str, text: str, of: str) -> FinalResult:
    made = kind(_clean(message), of)
    made.text = _clean(text)
    return made


def _text_of(broken: Broken) -> str:
    return "\n".join(part for part in (broken.excerpt, broken.fix) if part)


def _clean(text: str) -> str:
    """Return a text with what XML cannot hold written out."""
    return _UNWRITABLE.sub(lambda found: ascii(found[0])[1:-1], text)
