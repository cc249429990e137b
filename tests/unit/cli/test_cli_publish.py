"""``test`` and ``publish`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clikit import Cli

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


@pytest.fixture
def booted(no_traces: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for the guest; what is put in here goes into its reports."""
    outcome: dict[str, Any] = {"passed": True, "tests": 0}

    def smoke_test(image: Image, checks: Any, options: Any, **_: Any) -> SmokeReport:
        outcome["tests"] += 1
        passed = outcome["passed"]
        report = SmokeReport(
            image=image.id,
            recipe=image.recipe,
            tested=digest_of(checks, options),
            started="2026-01-01T00:00:00Z",
            seconds=1.0,
            passed=passed,
            boots=(
                BootReport(
                    path="pxe-bios",
                    passed=passed,
                    seconds=1.0,
                    accelerator=Accelerator(used="tcg", why="x", cpu_model="y"),
                    checks=(
                        CheckResult(
                            title="unit a", kind="unit", outcome="passed" if passed else "failed"
                        ),
                    ),
                    failure=None if passed else Failure(what="unit a is not active", fix="mend it"),
                    logs="pxe-bios",
                ),
            ),
        )
        store_report(report, image.smoke_dir)
        return report

    monkeypatch.setattr(smoke, "smoke_test", smoke_test)
    return outcome


def test_a_test_that_passes_is_not_made_twice(cli: Cli, booted: dict[str, Any]) -> None:
    assert cli("test", "base") == 0
    assert cli("test", "base") == 0
    assert booted["tests"] == 1
    assert cli("test", "-q", "base") == 0
    assert cli("test", "-q", "-B", "base") == 1
    assert cli("test", "-B", "base") == 0
    assert booted["tests"] == 2


def test_a_test_that_fails(cli: Cli, booted: dict[str, Any]) -> None:
    booted["passed"] = False
    assert cli("test", "base", "--json") == 3
    assert cli.data("report")[0]["passed"] is False
    (error,) = cli.data("error")
    assert (error["kind"], error["recipe"]) == ("check", "base")
    assert cli("test", "-q", "base") == 1


def test_publish_and_pull(cli: Cli, booted: dict[str, Any], tmp_path: Path) -> None:
    url = (tmp_path / "catalog").as_uri()
    assert cli("publish", "base", "--catalog", url, "--json") == 0
    (release,) = cli.data("release")
    assert (release["recipe"], release["channel"], release["url"]) == ("base", "testing", url)
    assert cli("publish", "-q", "base", "--catalog", url) == 0
    assert cli("publish", "-q", "base", "--catalog", url, "--channel", "stable") == 1
    assert main(["catalog", "ls", "--catalog", url, "--json"]) == 0
    target = tmp_path / "pulled"
    argv = ["catalog", "pull", "base", "--catalog", url, "--output", str(target)]
    assert main([*argv, "--channel", "testing"]) == 0
    built = Image.open(cli.project.root / "build/base/latest")
    assert (target / "rootfs.squashfs").read_bytes() == built.rootfs.read_bytes()
    assert main([*argv[:-1], str(tmp_path / "other"), "--channel", "nosuch"]) == 4


def test_what_is_published_can_be_signed_at_once(
    cli: Cli, booted: dict[str, Any], tmp_path: Path
) -> None:
    url, key = (tmp_path / "catalog").as_uri(), tmp_path / "key"
    argv = ("publish", "base", "--catalog", url, "--key", str(key))
    assert cli(*argv) == 2, "a key that is not there is said before anything is built"
    assert not (cli.project.root / "build").exists()
    assert main(["catalog", "key", str(key)]) == 0
    assert cli(*argv) == 0
    trust = tmp_path / "trust.json"
    public = key.with_suffix(".pub").read_text()
    trust.write_text(json.dumps({"keys": [{"name": "ci", "public": public}]}))
    assert main(["catalog", "verify", "--catalog", url, "--trust", str(trust)]) == 0
    assert cli("publish", "base", "--catalog", url, "--channel", "stable") == 0
    assert main(["catalog", "verify", "--catalog", url, "--trust", str(trust)]) == 4


def test_an_image_that_failed_its_test_is_not_published(
    cli: Cli, booted: dict[str, Any], tmp_path: Path
) -> None:
    booted["passed"] = False
    url = (tmp_path / "catalog").as_uri()
    assert cli("publish", "base", "--catalog", url) == 3
    assert not list(tmp_path.glob("catalog/**/*.json"))
    assert cli("publish", "base", "--catalog", url, "--untested", "an emergency") == 0


def test_the_catalog_of_the_environment(
    cli: Cli, booted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CATALOG", (tmp_path / "catalog").as_uri())
    assert cli("publish", "base") == 0
    assert (tmp_path / "catalog").is_dir()
