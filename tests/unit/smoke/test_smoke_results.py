"""What comes of checks: waivers with their ends, what is skipped, boots that are repeated."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from pydantic import ValidationError

from imagebuilder.checks import CommandCheck, UnitCheck
from imagebuilder.image import Image
from imagebuilder.recipe import SmokeOptions, Waiver
from imagebuilder.smoke import why_not_up_to_date
from imagebuilder.smoke.guest import Said
from imagebuilder.smoke.report import (
    Accelerator,
    BootReport,
    CheckResult,
    SmokeReport,
    digest_of,
    passed_only_again,
    store_report,
)
from imagebuilder.smoke.results import results_of

TODAY = date(2026, 6, 15)
CHECKS = [
    UnitCheck(unit="a.service"),
    CommandCheck(name="disk", command="true", needs=("unit a.service active",), group="disks"),
]


def said(number: int, outcome: str, found: str = "it is failed") -> Said:
    return Said(word="check", texts=(str(number), outcome, "3.5", found, "words", "2"))


def waiver(check: str = "unit a.service active", days: int = 0) -> Waiver:
    return Waiver(check=check, reason="ticket #7", until=TODAY + timedelta(days=days))


def results(*heard: Said, waivers: tuple[Waiver, ...] = ()) -> tuple[CheckResult, ...]:
    return results_of(CHECKS, heard, waivers, TODAY)


def test_what_the_runner_said() -> None:
    unit, disk = results(said(1, "failed"), said(2, "passed", "its exit status is 0"))
    assert (unit.outcome, unit.seconds, unit.tries, unit.output) == ("failed", 3.5, 2, "words")
    assert unit.message == "wanted a.service to be active; it is failed"
    assert (disk.outcome, disk.group, disk.waiver) == ("passed", "disks", None)


def test_what_is_skipped_names_what_it_needs() -> None:
    _, disk = results(said(1, "failed"), said(2, "skipped", "1"))
    assert (disk.outcome, disk.counts_against) == ("skipped", False)
    assert disk.message == "it needs 'unit a.service active', which did not hold"


def test_what_was_not_reached_counts_against_it() -> None:
    unit, disk = results()
    assert [each.outcome for each in (unit, disk)] == ["not-run"] * 2
    assert unit.counts_against


@pytest.mark.parametrize("days", [0, 300])
def test_a_waiver_holds_to_its_last_day(days: int) -> None:
    unit, _ = results(said(1, "failed"), waivers=(waiver(days=-9), waiver(days=days)))
    assert (unit.outcome, unit.counts_against) == ("waived", False)
    assert unit.waiver
    assert (unit.waiver.reason, unit.waiver.expired) == ("ticket #7", False)
    assert unit.message == "wanted a.service to be active; it is failed"


def test_a_waiver_that_expired_says_so() -> None:
    unit, _ = results(said(1, "failed"), waivers=(waiver(days=-1),))
    assert (unit.outcome, unit.counts_against) == ("failed", True)
    assert unit.message.endswith("; its waiver (ticket #7) held until 2026-06-14")


def test_a_waiver_that_is_not_needed_can_go() -> None:
    unit, disk = results(said(1, "passed"), said(2, "failed"), waivers=(waiver(),))
    assert (unit.outcome, unit.has_idle_waiver) == ("passed", True)
    assert (disk.outcome, disk.waiver) == ("failed", None)


def test_a_check_that_was_not_reached_is_not_waived() -> None:
    unit, _ = results(waivers=(waiver(),))
    assert unit.outcome == "not-run"


@pytest.mark.parametrize(
    "values", [{}, {"code": "IB101", "check": "x"}, {"check": "x", "match": "y"}]
)
def test_a_waiver_is_for_one_thing(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Waiver.model_validate({"reason": "r", "until": "2027-01-01", **values})


def boot(passed: bool, path: str = "pxe-bios", **more: bool) -> BootReport:
    used = Accelerator(used="tcg", why="w", cpu_model="c")
    return BootReport(path=path, passed=passed, seconds=1.0, accelerator=used, logs="l", **more)


@pytest.mark.parametrize(
    ("boots", "flaky"),
    [
        ((boot(True), boot(True, "kernel")), False),
        ((boot(False), boot(True)), True),
        ((boot(False), boot(False)), False),
        ((boot(False), boot(True, "kernel")), False),
        ((boot(False, host_failed=True), boot(True)), False),
        ((boot(False, host_failed=True), boot(False), boot(True)), True),
    ],
)
def test_what_is_flaky(boots: tuple[BootReport, ...], flaky: bool) -> None:
    assert passed_only_again(boots) == flaky


def test_a_test_that_passed_by_a_waiver_is_out_of_date_when_that_ends(image: Image) -> None:
    options, waivers = SmokeOptions(), (waiver(days=3),)
    checked = results(said(1, "failed"), said(2, "skipped", "1"), waivers=waivers)
    report = SmokeReport(
        image=image.id,
        recipe=image.recipe,
        tested=digest_of(CHECKS, options, waivers),
        started="2026-06-15T00:00:00+00:00",
        seconds=1.0,
        passed=True,
        boots=(boot(True).model_copy(update={"checks": checked}),),
    )
    store_report(report, image.smoke_dir)

    def why(days: int, held: tuple[Waiver, ...] = waivers) -> str:
        return why_not_up_to_date(image, CHECKS, options, held, today=TODAY + timedelta(days=days))

    assert why(3) == ""
    assert why(4) == "it passed by a waiver of 'unit a.service active' that held until 2026-06-18"
    assert "changed" in why(0, (waiver(days=30),))
    assert "changed" in why(0, ())
