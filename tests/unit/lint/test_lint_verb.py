"""The verb: what is printed, what is written, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import MakeProject
from lintkit import CLEAN, KnowingEngine

import imagebuilder
from imagebuilder import engines
from imagebuilder.cli.main import main
from imagebuilder.project import Project

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def project(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with an error and a note."""
    engine = KnowingEngine()
    monkeypatch.setattr(engines, "find", lambda name, where=None: engine)
    made = make_project({**CLEAN, "kickstarts/x.ks": "rootpw --plaintext correct-horse\nskipx\n"})
    add(made, "x.ks")
    return made


def add(project: Project, fragment: str) -> None:
    path = project.root / "recipes/r.toml"
    path.write_text(path.read_text().replace('"clean.ks"', f'"clean.ks", "{fragment}"'))


def run(project: Project, *args: str) -> int:
    return main(["-C", str(project.root), "lint", *args])


def test_text(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "r") == 2
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("kickstarts/x.ks:1: error: rootpw: the password stands in plain text")
    assert out[0].endswith("[IB301]")
    assert "1 error" in out[-1]


def test_json_lines(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "r", "--json") == 2
    first = capsys.readouterr().out
    assert run(project, "r", "--format=json") == 2
    assert capsys.readouterr().out == first
    found = [json.loads(line)["lint"] for line in first.splitlines()]
    (error,) = [each for each in found if each["severity"] == "error"]
    assert error["code"] == "IB301"
    assert error["where"] == {"file": "kickstarts/x.ks", "line": 1, "key": None}
    assert error["recipes"] == ["r"]


def test_sarif(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "--all", "--format=sarif") == 2
    printed = json.loads(capsys.readouterr().out)
    file = tmp_path / "log.sarif"
    assert run(project, "--all", "--sarif", str(file)) == 2
    assert json.loads(file.read_text()) == printed
    assert "[IB301]" in capsys.readouterr().out
    assert run(project, "r", "--sarif", str(tmp_path / "no/log.sarif")) == 5


def test_sarif_has_paths_from_the_top_of_the_repository(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root.parent / ".git").mkdir()
    assert run(project, "r", "--format=sarif") == 2
    results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    (error,) = [each for each in results if each["level"] == "error"]
    place = error["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place["uri"] == f"{project.root.name}/kickstarts/x.ks"


def test_what_is_waived_does_not_count(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project.root / "recipes/r.toml"
    waivers = "".join(
        f'[[waivers]]\ncode = "{code}"\nreason = "why not"\nuntil = 2099-01-01\n'
        for code in ("IB301", "IB603")
    )
    path.write_text(path.read_text() + waivers)
    assert run(project, "r", "--strict") == 0
    assert "2 waived" in capsys.readouterr().out


def test_warnings_count_if_asked(project: Project) -> None:
    (project.root / "kickstarts/x.ks").write_text("services --disabled=ssh\n")
    assert run(project, "r") == 0
    assert run(project, "r", "--strict") == 2


def test_a_recipe_that_there_is_not(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "zoo") == 2
    assert "there is no recipe 'zoo'" in capsys.readouterr().err
    assert run(project) == 2
    assert "no recipe is named" in capsys.readouterr().err


def test_from_python(project: Project, tmp_path: Path) -> None:
    options = imagebuilder.Options.make(cache_dir=tmp_path / "cache")
    found = imagebuilder.lint_recipe(project, "r", options, offline=True)
    assert found == imagebuilder.lint_project(project, ["r"], options, offline=True)
    assert all(isinstance(each, imagebuilder.Finding) for each in found)
    made = imagebuilder.Recipe.model_validate({"name": "made", "extends": "r"})
    codes = [each.code for each in imagebuilder.lint_recipe(project, made, options)]
    assert codes == [each.code for each in found]


def test_a_stop_is_not_a_finding(project: Project, tmp_path: Path) -> None:
    cancel = imagebuilder.Cancel()
    cancel.set("enough")
    options = imagebuilder.Options.make(cache_dir=tmp_path / "cache", cancel=cancel)
    with pytest.raises(imagebuilder.Interrupted):
        imagebuilder.lint_project(project, None, options)


def test_the_recipes_of_this_repository_are_clean(tmp_path: Path) -> None:
    """Without an index; tests/slow/test_real_lint.py asks the mirrors."""
    ended = subprocess.run(
        [sys.executable, "-m", "imagebuilder.cli", "lint", "--all", "--offline", "--strict"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
