"""Where the error of a test that failed says that it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import smoke
from imagebuilder.cli.main import main
from imagebuilder.image import Image
from imagebuilder.smoke.report import (
    Accelerator,
    BootReport,
    CheckResult,
    Failure,
    SmokeReport,
    digest_of,
    store_report,
)

FILES = {
    "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n[[checks]]\ncommand = "true"\n',
    "kickstarts/a.ks": "timezone UTC\nrootpw --plaintext geheim\n%packages\nbash\n%end\n",
}


@pytest.mark.parametrize("came_up", [True, False])
def test_a_boot_that_failed_is_not_where_its_first_check_is(
    make_project: MakeProject,
    fake_engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    came_up: bool,
) -> None:
    def smoke_test(image: Image, checks: Any, options: Any, **more: Any) -> SmokeReport:
        boot = BootReport(
            path="kernel",
            passed=False,
            seconds=1.0,
            accelerator=Accelerator(used="tcg", why="", cpu_model=""),
            failure=None if came_up else Failure(what="it broke"),
            checks=tuple(
                CheckResult(
                    title=check.title, kind="command", outcome="failed" if came_up else "not-run"
                )
                for check in checks
            ),
            logs="kernel",
        )
        report = SmokeReport(
            image=image.id,
            recipe=image.recipe,
            tested=digest_of(checks, options, more["waivers"]),
            started="2026-01-01T00:00:00Z",
            seconds=1.0,
            passed=False,
            boots=(boot,),
        )
        store_report(report, image.smoke_dir)
        return report

    monkeypatch.setattr(smoke, "smoke_test", smoke_test)
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    root = make_project(FILES).root
    assert main(["test", "-C", str(root), "r"]) == 3
    said = capsys.readouterr().err
    assert ("r.toml:3" in said) == came_up
    assert ("it broke" in said) != came_up
