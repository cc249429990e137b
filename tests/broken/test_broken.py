"""Images that are broken on purpose: each has the right stage and a diagnosis.

A few are over within seconds and belong to every run of the tests.  All of them:

    pytest -m broken tests/broken            (about an hour on two processors, emulated)

``BROKEN_IMAGE`` may name an image that is there, so that none is built; ``BROKEN_TABLE`` a file
that the table of results is added to.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from cases_initrd import INITRD_CASES
from cases_loading import LOADING
from cases_system import SYSTEM_CASES
from workshop import Case, UpTo, Workshop

from imagebuilder.image import Image
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import BootReport, report_text, server, smoke_test
from imagebuilder.smoke import boot as boot_module
from imagebuilder.smoke.report import CONSOLE_LOG
from imagebuilder.smoke.stages import CHECKS_DONE, MULTI_USER

CASES = (*LOADING, *INITRD_CASES, *SYSTEM_CASES)
_SLACK = 5.0  # how much slower a busy machine may be

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="session")
def whole_image(request: pytest.FixtureRequest) -> Image:
    given = os.environ.get("BROKEN_IMAGE")
    if given:
        return Image.open(Path(given))
    image = request.getfixturevalue("base_image")
    assert isinstance(image, Image)
    return image


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=case.name, marks=pytest.mark.slow if case.quick else pytest.mark.broken
        )
        for case in CASES
    ],
)
def test_what_is_broken_is_named(
    case: Case,
    whole_image: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workshop = Workshop(whole_image, tmp_path / "image")
    if case.lean:
        workshop.lean()
    case.breaks(workshop)
    image = workshop.done()
    make = boot_module.qemu_argv
    monkeypatch.setattr(
        boot_module, "qemu_argv", lambda *args, **more: workshop.argv(make(*args, **more))
    )
    copy = server._Handler._copy

    def copy_up_to(self: Any, body: Any, name: str, *more: int) -> None:
        end = workshop.server_ends_at.get(name)
        copy(self, body if end is None else UpTo(body, end), name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(server._Handler, "_copy", copy_up_to)
    options = SmokeOptions(
        paths=(case.path,), memory_mib=case.memory_mib, boot_timeout=case.boot_timeout
    )
    report = smoke_test(image, case.checks, options, accel="tcg", cache_dir=tmp_path / "cache")
    print(report_text(report))
    boot = report.boots[0]
    found, late = _what_was_found(boot), _seconds_late(case, boot, image)
    _note(f"{case.name:40} {boot.stage:30} {late:6.1f} s  {found[:300]}")
    assert boot.passed == case.passes
    assert boot.stage in ((case.stage,) if isinstance(case.stage, str) else case.stage)
    assert re.search(case.words, found)
    assert late < case.within * _SLACK


def _note(line: str) -> None:
    print(line)
    if os.environ.get("BROKEN_TABLE"):
        with Path(os.environ["BROKEN_TABLE"]).open("a") as file:
            file.write(line + "\n")


def _what_was_found(boot: BootReport) -> str:
    if boot.failure:
        return boot.failure.what
    checks = [f"{each.title}: {each.message}" for each in boot.failed_checks]
    return "; ".join([*checks, *(each.meaning for each in boot.console_findings)])


def _seconds_late(case: Case, boot: BootReport, image: Image) -> float:
    """Return the seconds from the failure to the end of the test."""
    # What a check finds has failed when checks begin, not when they end.
    stage = MULTI_USER if boot.stage == CHECKS_DONE else boot.stage
    moment = boot.stages.get(stage, 0.0)
    for line in (image.smoke_dir / boot.logs / CONSOLE_LOG).read_text().splitlines():
        seconds, _, text = line.strip().partition("  ")
        named = "ommand line:" in text and "ommand line:" not in case.at
        if case.at and not named and re.search(case.at, text):
            moment = float(seconds)
            break
    return boot.seconds - moment
