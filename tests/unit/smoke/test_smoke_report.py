from __future__ import annotations

from typing import Any

import pytest

from imagebuilder.checks import CommandCheck, UnitCheck
from imagebuilder.checks.scripts import LoadedScriptCheck
from imagebuilder.image import Image
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import load_report, report_error, report_text, why_not_up_to_date
from imagebuilder.smoke.report import (
    REPORT,
    Accelerator,
    BootReport,
    CheckResult,
    ConsoleFinding,
    Failure,
    SmokeReport,
    digest_of,
    store_report,
)

CHECKS = [UnitCheck(unit="ssh.service"), CommandCheck(command="true", timeout=3)]
OPTIONS = SmokeOptions()


def boot(**more: Any) -> BootReport:
    data: dict[str, Any] = {
        "path": "pxe-bios",
        "passed": True,
        "seconds": 60.0,
        "accelerator": Accelerator(used="tcg", why="there is no KVM", cpu_model="qemu64,-svm"),
        "kernel": "6.1.0-1",
        "stages": {"kernel started": 8.5, "multi-user.target": 60.5},
        "seconds_to_multi_user": 50.7,
        "logs": "pxe-bios",
        "checks": (
            CheckResult(title="unit ssh.service active", kind="unit", outcome="passed"),
            CheckResult(title="command true", kind="command", outcome="passed", seconds=0.5),
        ),
    }
    return BootReport(**{**data, **more})


def report(image: Image, /, *boots: BootReport, **more: Any) -> SmokeReport:
    boots = boots or (boot(),)
    data: dict[str, Any] = {
        "image": image.id,
        "recipe": image.recipe,
        "tested": digest_of(CHECKS, OPTIONS),
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 61.0,
        "passed": all(each.passed for each in boots),
        "boots": boots,
    }
    return SmokeReport(**{**data, **more})


def test_a_report_is_read_as_it_was_written(image: Image) -> None:
    assert load_report(image) is None
    odd = CheckResult(title='"\n\x1b', kind="unit", outcome="failed", output="\ufffd\u2028\x00")
    finding = ConsoleFinding(line="l", meaning="m", severity="warn", seconds=1.0)
    failed = boot(
        checks=(odd,), console_findings=(finding,), failure=Failure(what="w"), passed=False
    )
    stored = report(image, failed)
    store_report(stored, image.smoke_dir)
    assert load_report(image) == stored
    assert [path.name for path in image.smoke_dir.iterdir()] == [REPORT]


def test_the_bytes_of_a_script_are_part_of_the_question() -> None:
    first, second = (LoadedScriptCheck(script="a.sh", content=c) for c in (b"\xff1", b"\xff2"))
    assert digest_of([first], OPTIONS) != digest_of([second], OPTIONS)
    assert digest_of([first], OPTIONS) == digest_of([first.model_copy()], OPTIONS)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1}', "\0"])
def test_a_report_that_cannot_be_read_is_none(image: Image, text: str) -> None:
    image.smoke_dir.mkdir()
    (image.smoke_dir / REPORT).write_text(text)
    assert load_report(image) is None


def test_why_not_up_to_date(image: Image) -> None:
    assert "not been tested" in why_not_up_to_date(image, CHECKS, OPTIONS)
    store_report(report(image), image.smoke_dir)
    assert why_not_up_to_date(image, CHECKS, OPTIONS) == ""
    assert "changed" in why_not_up_to_date(image, CHECKS[:1], OPTIONS)
    assert "changed" in why_not_up_to_date(image, CHECKS, SmokeOptions(cpus=3))
    store_report(report(image, image="f" * 16), image.smoke_dir)
    assert "another image" in why_not_up_to_date(image, CHECKS, OPTIONS)
    store_report(report(image, passed=False), image.smoke_dir)
    assert "failed" in why_not_up_to_date(image, CHECKS, OPTIONS)


def test_the_text_has_what_people_ask_for(image: Image) -> None:
    text = report_text(report(image))
    for part in ("pxe-bios", "tcg", "there is no KVM", "6.1.0-1", "50.7 s", "ssh.service"):
        assert part in text
    assert "no checks are declared" in report_text(report(image, boot(checks=())))


def test_the_error_names_each_check_that_failed(image: Image) -> None:
    failed = CheckResult(
        title="unit nope.service active",
        kind="unit",
        outcome="failed",
        message="wanted nope.service to be active; there is no such unit",
        output="Unit nope.service could not be found.",
    )
    bad = report(image, boot(passed=False, checks=(*boot().checks, failed)))
    error = report_error(bad, image)
    assert error.exit_status == 3
    assert error.what == "base: 1 of 3 checks failed: unit nope.service active"
    assert "there is no such unit" in error.excerpt
    assert "FAILED" in report_text(bad)
    uefi = boot(path="pxe-uefi", passed=False, checks=(failed,))
    both = report_error(report(image, boot(), uefi), image)
    assert both.what == "base: 1 of 3 checks failed: unit nope.service active (pxe-uefi)"


def test_the_error_of_a_boot_that_failed_is_its_diagnosis(image: Image) -> None:
    failure = Failure(what="the kernel said nothing", fix="look at it", excerpt="iPXE")
    bad = report(image, boot(passed=False, failure=failure, kernel=""))
    error = report_error(bad, image)
    assert error.what == "base: the kernel said nothing (it came as far as: power-on)"
    assert (error.fix, error.excerpt, error.log) == ("look at it", "iPXE", None)
    assert "the kernel said nothing" in report_text(bad)
    several = report(image, boot(), boot(path="pxe-uefi", passed=False, failure=failure))
    assert report_error(several, image).what == (
        "base (pxe-uefi): the kernel said nothing (it came as far as: power-on)"
    )


def test_an_image_that_is_not_what_was_built_is_an_error_without_a_boot(image: Image) -> None:
    failure = Failure(what="rootfs.squashfs is not what was built", fix="build it again")
    bad = report(image, passed=False).model_copy(update={"boots": (), "failure": failure})
    assert report_error(bad, image).what == "base: rootfs.squashfs is not what was built"
    assert "is not what was built" in report_text(bad)
