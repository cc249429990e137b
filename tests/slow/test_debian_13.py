"""Debian 13 beside Debian 12: the shipped base, unchanged, built and booted for real."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import copy_project

import imagebuilder
from imagebuilder.smoke import report_text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECIPE = """\
summary = "The base, of Debian 13"
extends = "base"
distro = "debian-13"

[[checks]]
name = "the language, which Debian 13 links anew at every boot"
command = "cat /etc/default/locale"
matches = "^LANG=C.UTF-8$"
"""


def test_the_base_of_debian_13_boots_and_all_its_checks_pass(
    host_tools: None, tmp_path: Path, cache_dir: Path
) -> None:
    root = copy_project(tmp_path / "project")
    (root / "recipes/base-13.toml").write_text(RECIPE)
    project = imagebuilder.Project.open(root)
    options = imagebuilder.Options.make(cache_dir=cache_dir)

    plan = imagebuilder.plan_image(project, "base-13", options)
    image = imagebuilder.build_image(project, "base-13", options)
    assert image.id == plan.image_id
    assert image.facts.distro == "debian-13"
    # The plan knew of every package: mmdebstrap adds those that every Debian has.
    packages = next(step for step in plan.steps if step.name == "packages")
    planned = {each.label.split()[1] for each in packages.inputs if each.kind == "package"}
    assert {each.name for each in image.packages().packages} == {
        name.partition(":")[0] for name in planned
    }
    # Debian 13's kernel: Debian 12's is 6.1.
    assert image.facts.kernel_release.startswith("6.12.")

    report = imagebuilder.smoke_image(project, image, options)
    print(report_text(report))
    assert [boot.failure for boot in report.boots] == [None]
    assert report.checks
    assert [each.title for each in report.checks if each.outcome != "passed"] == []
    assert report.boots[0].kernel == image.facts.kernel_release
    assert report.passed
