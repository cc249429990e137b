"""lint with the real package index: names of packages, and the units that they bring."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support import ROOT

import imagebuilder
from imagebuilder import Options, Project

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("host_tools")]


def test_the_recipes_of_this_repository_are_clean(cache_dir: Path) -> None:
    found = imagebuilder.lint_project(Project.open(ROOT), None, Options.make(cache_dir=cache_dir))
    assert [each for each in found if each.severity != "note"] == []


def test_packages_and_units_that_debian_has_not(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "kickstarts").mkdir()
    (tmp_path / "kickstarts/a.ks").write_text(
        "%packages\nopenssh-sever\n%end\nservices --enabled=ssh\n"
    )
    (tmp_path / "kickstarts/b.ks").write_text(
        "services --enabled=sshdd,serial-getty@ttyS1,cron --disabled=nothing\n"
    )
    for name in ("a", "b"):
        (tmp_path / f"recipes/{name}.toml").write_text(
            f'extends = "imagebuilder/base"\nkickstarts = ["{name}.ks"]\n'
        )
    project, options = Project.open(tmp_path), Options.make(cache_dir=cache_dir)

    found = imagebuilder.lint_recipe(project, "a", options)
    errors = [(each.code, str(each.where)) for each in found if each.severity == "error"]
    assert errors == [("IB201", "kickstarts/a.ks:2")]

    found = imagebuilder.lint_recipe(project, "b", options)
    errors = [each for each in found if each.severity == "error"]
    assert [each.code for each in errors] == ["IB401", "IB401"]
    assert "sshdd.service" in errors[1].text or "sshdd.service" in errors[0].text
    assert any("cron.service" in each.text for each in errors)

    began = time.monotonic()
    assert imagebuilder.lint_recipe(project, "b", options, offline=True) == found
    assert time.monotonic() - began < 10
