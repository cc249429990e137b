"""What other tools read of reports: JSON, JUnit XML, TAP."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator
from junitparser.xunit2 import JUnitXml, TestSuite

from imagebuilder.errors import Location, StepError
from imagebuilder.smoke.formats import FORMATS, NotTested, Results, render
from imagebuilder.smoke.report import (
    Accelerator,
    BootReport,
    BudgetResult,
    CheckResult,
    Failure,
    MemoryNeed,
    SmokeReport,
    Waived,
    passed_only_again,
)

SCHEMAS = Path(__file__).parents[3] / "docs/schemas"
WAIVER = Waived(reason="ticket #7", until=date(2027, 1, 31), expired=False)
HELD = CheckResult(title="unit a.service active", kind="unit", outcome="passed", seconds=0.2)
FAILED = CheckResult(
    title="command x # y",
    kind="command",
    group="disks",
    outcome="failed",
    tries=4,
    message="wanted exit status 0; its exit status is 1",
    output="first \x1b[31mred\nTODO\x00",
)
MAY_FAIL = FAILED.model_copy(update={"outcome": "waived", "waiver": WAIVER})
SKIPPED = CheckResult(
    title="last", kind="command", outcome="skipped", message="it needs 'x', which did not hold"
)
IDLE = HELD.model_copy(update={"waiver": WAIVER})


def boot(*checks: CheckResult, **more: Any) -> BootReport:
    given: dict[str, Any] = {
        "path": "pxe-bios",
        "passed": not any(check.counts_against for check in checks),
        "seconds": 60.0,
        "accelerator": Accelerator(used="tcg", why="no KVM", cpu_model="qemu64"),
        "checks": checks,
        "logs": "pxe-bios",
    }
    return BootReport(**{**given, **more})


def report(*boots: BootReport, **more: Any) -> SmokeReport:
    last = {each.path: each for each in boots}
    passed = all(each.passed for each in last.values())
    given: dict[str, Any] = {
        "image": "0123456789abcdef",
        "recipe": "base",
        "tested": "0" * 64,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 61.0,
        "passed": passed,
        "flaky": passed and passed_only_again(boots),
        "boots": boots,
    }
    return SmokeReport(**{**given, **more})


DEAD = boot(
    HELD.model_copy(update={"outcome": "not-run", "message": "the test ended before"}),
    passed=False,
    failure=Failure(what="the kernel panicked", fix="look", excerpt="end of console"),
)
AGAIN = boot(HELD, attempt=2, logs="pxe-bios.2")
KERNEL = boot(HELD, FAILED, SKIPPED, path="kernel")
ERROR = NotTested.of(
    "other", StepError("apt failed", where=Location(file="a.ks", line=3), fix="mend", excerpt="E:")
)


def junit(*reports: SmokeReport, errors: tuple[NotTested, ...] = ()) -> list[TestSuite]:
    data = render(Results(reports=reports, not_tested=errors), "junit")
    ElementTree.fromstring(data)
    return list(JUnitXml.fromstring(data))


def tap(*reports: SmokeReport, errors: tuple[NotTested, ...] = ()) -> list[str]:
    return render(Results(reports=reports, not_tested=errors), "tap").decode().splitlines()


def test_json_is_what_its_schema_says() -> None:
    results = Results(reports=(report(DEAD, AGAIN, KERNEL),), not_tested=(ERROR,))
    value = json.loads(render(results, "json"))
    schema = json.loads((SCHEMAS / "smoke-results.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(value)
    assert Results.model_validate(value) == results
    one = json.loads((SCHEMAS / "smoke-report.json").read_text())
    Draft202012Validator(one).validate(value["reports"][0])
    value["reports"][0]["boots"][0]["checks"][0]["outcome"] = "fine"
    assert not Draft202012Validator(schema).is_valid(value)


def test_junit_has_a_suite_for_each_path_and_a_case_for_each_check() -> None:
    pxe, kernel = junit(report(boot(HELD, MAY_FAIL, IDLE), KERNEL))
    assert (pxe.name, kernel.name) == ("base pxe-bios", "base kernel")
    assert (pxe.tests, pxe.failures, pxe.errors, pxe.skipped) == (4, 0, 0, 1)
    assert (kernel.tests, kernel.failures, kernel.skipped) == (4, 1, 1)
    assert {each.name: each.value for each in pxe.properties()}["accelerator"] == "tcg"
    cases = {each.name: each for each in kernel}
    assert list(cases) == ["boot", HELD.title, FAILED.title, SKIPPED.title]
    assert cases[FAILED.title].classname == "base.kernel.disks"
    (failure,) = cases[FAILED.title].result
    assert failure.message == FAILED.message
    assert failure.text == "first \\x1b[31mred\nTODO\\x00"
    (skipped,) = cases[SKIPPED.title].result
    assert "needs 'x'" in skipped.message
    waived, idle = [each for each in pxe if each.name in (FAILED.title, HELD.title)][1:]
    assert "waived until 2027-01-31: ticket #7; wanted" in waived.result[0].message
    assert "can go" in idle.system_out


def test_junit_tells_what_a_boot_found_before_it_was_repeated() -> None:
    (suite,) = junit(report(DEAD, AGAIN))
    assert {each.name: each.value for each in suite.properties()}["flaky"] == "true"
    first = next(iter(suite))
    assert (suite.failures, suite.errors, first.is_flaky) == (0, 0, True)
    assert first.flaky_failures()[0].message == "boot 1: the kernel panicked"
    assert "end of console" in first.flaky_failures()[0].stack_trace
    dead = DEAD.model_copy(update={"attempt": 2})
    (suite,) = junit(report(DEAD, dead))
    first = next(iter(suite))
    assert (suite.failures, first.is_flaky, first.is_rerun) == (1, False, True)
    (suite,) = junit(report(boot(FAILED), boot(FAILED.model_copy(update={"outcome": "passed"}))))
    assert [each.is_flaky for each in suite] == [False, True]


def test_junit_calls_the_path_flaky_that_is() -> None:
    pxe, kernel = junit(report(DEAD, AGAIN, KERNEL))
    flaky = [
        {each.name: each.value for each in suite.properties()}["flaky"] for suite in (pxe, kernel)
    ]
    assert flaky == ["true", "false"]


def test_junit_writes_any_text() -> None:
    odd = FAILED.model_copy(update={"title": "größe — 3 €", "message": "]]> <b>&amp;"})
    (suite,) = junit(report(boot(odd)))
    case = list(suite)[1]
    assert case.name == "größe — 3 €"
    assert case.result[0].message == "]]> <b>&amp;"


def test_junit_has_what_was_never_booted() -> None:
    broken = report(failure=Failure(what="rootfs.squashfs is not what was built"), passed=False)
    image, other = junit(broken, errors=(ERROR,))
    assert (image.errors, other.errors, other.name) == (1, 1, "other")
    (error,) = next(iter(other)).result
    assert (error.message, error.text) == ("apt failed", "a.ks:3\nE:\nmend")


def test_tap_is_numbered_and_escaped() -> None:
    lines = tap(report(boot(HELD, MAY_FAIL, IDLE), KERNEL), errors=(ERROR,))
    assert lines[:4] == ["TAP version 14", "1..3", "# Subtest: base pxe-bios", "    1..4"]
    points = [line for line in lines if re.match(r"(    )?(not )?ok ", line)]
    assert points == [
        "    ok 1 - boot",
        "    ok 2 - unit a.service active",
        "    not ok 3 - disks: command x \\# y # TODO waived until 2027-01-31: ticket \\#7",
        "    ok 4 - unit a.service active",
        "ok 1 - base pxe-bios",
        "    ok 1 - boot",
        "    ok 2 - unit a.service active",
        "    not ok 3 - disks: command x \\# y",
        "    ok 4 - last # SKIP it needs 'x', which did not hold",
        "not ok 2 - base kernel",
        "not ok 3 - other image",
    ]
    output = next(line for line in lines if "red" in line)
    assert json.loads(output.partition(": ")[2]) == FAILED.output
    assert all(line.isprintable() for line in lines)


def test_tap_tells_what_a_boot_found_before_it_was_repeated() -> None:
    points = [line for line in tap(report(DEAD, AGAIN)) if re.match("(not )?ok ", line)]
    assert points == [
        "not ok 1 - base pxe-bios boot 1 # TODO flaky: it passed when it was repeated",
        "ok 2 - base pxe-bios boot 2",
    ]
    dead = DEAD.model_copy(update={"attempt": 2})
    points = [line for line in tap(report(DEAD, dead)) if re.match("(not )?ok ", line)]
    assert points == ["not ok 1 - base pxe-bios boot 1", "not ok 2 - base pxe-bios boot 2"]


def test_text_has_everything_that_people_must_see() -> None:
    results = Results(
        reports=(report(DEAD, boot(HELD, MAY_FAIL, IDLE, attempt=2)),), not_tested=(ERROR,)
    )
    text = render(results, "text").decode()
    for words in (
        "passed, but not at once: it is flaky",
        "boot path            pxe-bios, attempt 2: passed",
        "waived   [disks] command x # y (0.0 s, 4 tries)",
        "until 2027-01-31: ticket #7",
        "its waiver can go: ticket #7",
        "2 of 3 checks passed, 1 waived; flaky",
        "other: not tested: apt failed",
    ):
        assert words in text


def test_budgets_are_in_every_format() -> None:
    budgets = (
        BudgetResult(
            what="rootfs", limit=1, measured=2, unit="bytes", outcome="exceeded", message="2 of 1"
        ),
        BudgetResult(what="memory", limit=1, unit="MiB", outcome="not-measured", message="later"),
        BudgetResult(what="initrd", limit=2, measured=2, unit="bytes", outcome="kept", message="="),
    )
    need = MemoryNeed(mib=512, too_little_mib=448, boots=5, path="kernel")
    costly = report(
        boot(HELD), passed=False, budgets=budgets, memory=need, warnings=("initrd is large",)
    )
    assert [each.what for each in costly.exceeded] == ["rootfs"]
    _, suite = junit(costly)
    assert (suite.name, suite.tests, suite.failures, suite.skipped) == ("base budget", 3, 1, 1)
    lines = tap(costly)
    assert lines[1] == "1..2"
    assert "    not ok 1 - rootfs" in lines
    assert "    ok 2 - memory # SKIP later" in lines
    assert "not ok 2 - base budget" in lines
    text = render(Results(reports=(costly,)), "text").decode()
    for words in (
        "exceeded  budget: 2 of 1",
        "512 MiB are enough to come up, 448 MiB are not",
        "warning: initrd is large",
    ):
        assert words in text


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_tested_is_a_file_as_well(form: str) -> None:
    assert isinstance(render(Results(), form), bytes)
