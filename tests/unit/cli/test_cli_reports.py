"""``test --report``: files for CI systems, whatever came of the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, MakeProject
from junitparser import JUnitXml

from imagebuilder import smoke
from imagebuilder.cli.arguments import REPORT_FORMATS
from imagebuilder.cli.main import main
from imagebuilder.engines import Request
from imagebuilder.errors import StepError
from imagebuilder.image import Image
from imagebuilder.smoke.formats import FORMATS, Results
from imagebuilder.smoke.report import SmokeReport, digest_of, store_report

FILES = {
    "recipes/good.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
    "recipes/bad.toml": 'extends = "good"\n[kernel]\nargs = ["bad"]\n',
    "kickstarts/a.ks": "timezone UTC\nrootpw --plaintext geheim\n%packages\nbash\n%end\n",
}


@pytest.fixture
def root(
    make_project: MakeProject,
    fake_engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Path:
    """A project whose recipe ``bad`` fails its test; the tests note what they were given."""

    def smoke_test(image: Image, checks: Any, options: Any, **more: Any) -> SmokeReport:
        report = SmokeReport(
            image=image.id,
            recipe=image.recipe,
            tested=digest_of(checks, options, more["waivers"]),
            started="2026-01-01T00:00:00Z",
            seconds=float(more["retries"]),
            passed=image.recipe != "bad",
            failure=smoke.report.Failure(what="it broke") if image.recipe == "bad" else None,
        )
        store_report(report, image.smoke_dir)
        return report

    monkeypatch.setattr(smoke, "smoke_test", smoke_test)
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    return make_project(FILES).root


def test_the_formats_are_those_that_there_are() -> None:
    assert REPORT_FORMATS == FORMATS


@pytest.mark.parametrize("value", ["junit", "junit=", "html=x", "=x"])
def test_what_is_no_report(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["test", "base", "--report", value])
    assert caught.value.code == 2
    assert "json, junit, tap, text" in capsys.readouterr().err


def test_files_are_written_though_a_test_failed(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "new/folder"
    asked = [f"--report={form}={out}/all.{form}" for form in FORMATS]
    argv = ["test", "-C", str(root), "-k", "bad", "good", "--retries", "2", *asked]
    assert main(argv) == 3
    suites = list(JUnitXml.fromfile(str(out / "all.junit")))
    assert [(each.name, each.errors) for each in suites] == [("bad", 1)]  # good had no boot
    results = Results.model_validate_json((out / "all.json").read_text())
    assert [(each.recipe, each.passed) for each in results.reports] == [
        ("bad", False),
        ("good", True),
    ]
    assert results.reports[0].seconds == 2.0  # what --retries says comes to the test
    assert (out / "all.tap").read_text().startswith("TAP version 14\n1..1\nnot ok 1 - bad image\n")
    assert "it broke" in (out / "all.text").read_text()
    assert sorted(path.name for path in out.iterdir()) == sorted(f"all.{f}" for f in FORMATS)


def test_what_passed_before_is_in_the_file_as_well(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "{recipe}.json"
    for _ in range(2):
        assert main(["test", "-C", str(root), "good", "--report", f"json={file}"]) == 0
        assert Results.model_validate_json((tmp_path / "good.json").read_text()).passed
        (tmp_path / "good.json").unlink()


def test_an_image_that_was_not_built_is_in_the_file(
    root: Path, tmp_path: Path, fake_engine: FakeEngine
) -> None:
    def break_bad(request: Request, into: Path) -> None:
        if request.resolved.name == "bad":
            raise StepError("apt failed", fix="look at the mirrors")

    fake_engine.before_make = break_bad
    file = tmp_path / "{recipe}.json"
    argv = ["test", "-C", str(root), "-k", "good", "bad", "--report", f"json={file}"]
    assert main(argv) == 1
    value = json.loads((tmp_path / "bad.json").read_text())
    assert value["not_tested"][0]["what"] == "apt failed"
    assert not value["reports"]
    assert Results.model_validate_json((tmp_path / "good.json").read_text()).passed


def test_a_file_that_cannot_be_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    argv = ["test", "-C", str(root), "good", "--report", f"tap={tmp_path}/file/x"]
    assert main(argv) == 5
    assert "file/x cannot be written" in capsys.readouterr().err


def test_growth_since_the_last_release(
    root: Path,
    tmp_path: Path,
    fake_engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
) -> None:
    catalog = ["--catalog", f"file://{tmp_path}/catalog"]
    recipe = root / "recipes/good.toml"
    sizes = {"rootfs.squashfs": 1000, "initrd.img": 500, "vmlinuz": 100}

    def made(request: Request, into: Path) -> None:
        for name, size in sizes.items():
            (into / name).write_bytes(bytes(size))

    def verb(*argv: str) -> int:
        status = main([argv[0], "-C", str(root), "good", *catalog, *argv[1:]])
        said.append(capsys.readouterr())
        return status

    def change(growth: str) -> None:
        """Let the recipe make another image."""
        recipe.write_text(FILES["recipes/good.toml"] + f'[kernel]\nargs = ["n={len(said)}"]\n')
        with recipe.open("a") as file:
            file.write(growth and f"[smoke.budget]\ngrowth_percent = {growth}\n")

    said: list[Any] = []
    fake_engine.after_make = made
    # Where there is no release there is nothing to compare with.
    assert verb("test", "--compare", "testing") == 0
    assert "larger" not in said[-1].out
    assert verb("publish") == 0
    sizes["rootfs.squashfs"] = 1120
    change("")
    assert verb("test", "--compare", "testing", "--json") == 0
    line = next(row for row in said[-1].out.splitlines() if '"report"' in row)
    grown = json.loads(line)["report"]["budgets"]
    assert [(each["what"], each["measured"], each["outcome"]) for each in grown] == [
        ("growth of image", 7.5, "noted"),
        ("growth of initrd", 0.0, "noted"),
        ("growth of rootfs", 12.0, "noted"),
    ]
    change("10")
    junit = tmp_path / "junit.xml"
    assert verb("test", "--compare", "testing", "--report", f"junit={junit}") == 3
    assert "rootfs is 12 % larger than release" in said[-1].err
    assert "good.toml:6" in said[-1].err  # the line of the budget
    (suite,) = JUnitXml.fromfile(str(junit))
    assert (suite.name, suite.failures) == ("good budget", 1)
    assert verb("publish") == 3
    # What is kept of the test is about the image alone.
    assert verb("test") == 0
    change("15")
    assert verb("publish") == 0
    # The same image again is still compared with the one before it.
    assert verb("publish") == 0
    assert "rootfs is 12 % larger than release" in said[-1].out
