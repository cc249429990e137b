"""How images that were really built differ: four changes are four things, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import copy_project

import imagebuilder
from imagebuilder.catalog import Catalog, TestEvidence
from imagebuilder.comparison import compare_images
from imagebuilder.comparison.words import markdown

pytestmark = pytest.mark.slow


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> imagebuilder.Project:
    """The project of ``base_image`` once more, to be changed."""
    return imagebuilder.Project.open(copy_project(tmp_path_factory.mktemp("changed")))


def built(project: imagebuilder.Project, cache_dir: Path) -> imagebuilder.Image:
    project = imagebuilder.Project.open(project.root)
    return imagebuilder.build_image(project, "base", imagebuilder.Options.make(cache_dir=cache_dir))


def test_a_comment_says_the_four_changes_and_no_others(
    base_image: imagebuilder.Image, project: imagebuilder.Project, cache_dir: Path
) -> None:
    """One package, one kernel argument, one unit, one file."""
    recipe = project.root / "recipes/base.toml"
    before = recipe.read_text()
    edit(recipe, "[params]", 'packages = ["nano"]\n\n[params]')
    edit(
        recipe,
        "[image]",
        '[kernel]\nargs = ["mitigations=off"]\n\n[[files]]\nsource = "motd"\npath = "/etc/motd"\n\n'
        "[image]",
    )
    edit(recipe, '    "base/livemedia.ks",\n', '    "base/livemedia.ks",\n    "mine.ks",\n')
    (project.root / "kickstarts/mine.ks").write_text("services --enabled=debug-shell\n")
    (project.root / "motd").write_text("hello fleet\n")
    other = built(project, cache_dir)
    found = compare_images(
        base_image, other, options=imagebuilder.Options.make(cache_dir=cache_dir)
    )
    said = markdown([found])
    lines = [line for line in said.splitlines() if line.startswith("- ")]
    assert [line.strip("-` ").rpartition(": size")[0] or line.strip("-` ") for line in lines] == [
        "+ kernel argument mitigations=off",
        f"+ package nano: {version(other, 'nano')}",
        "~ unit debug-shell.service: disabled → enabled",
        "~ file /etc/motd",
    ], said
    assert "+hello fleet" in said
    assert found.notes == ()
    options = imagebuilder.Options.make(cache_dir=cache_dir)
    assert compare_images(base_image, base_image, options=options).is_same
    recipe.write_text(before)


def version(image: imagebuilder.Image, package: str) -> str:
    (found,) = (each for each in image.packages().packages if each.name == package)
    return found.version


def test_other_words_are_no_effective_change_and_publish_nothing(
    base_image: imagebuilder.Image,
    project: imagebuilder.Project,
    cache_dir: Path,
    tmp_path: Path,
) -> None:
    """A comment in a script makes another image of the same bytes."""
    script = project.root / "kickstarts/base/ssh.ks"
    lines = script.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("%post"))
    script.write_text("\n".join([*lines[: at + 1], "# in other words", *lines[at + 1 :]]) + "\n")
    other = built(project, cache_dir)
    assert other.id != base_image.id
    found = compare_images(
        base_image, other, options=imagebuilder.Options.make(cache_dir=cache_dir)
    )
    assert found.is_same, found
    catalog = Catalog.open((tmp_path / "catalog").as_uri())
    first, second = (
        catalog.publish(
            each,
            channel="testing",
            evidence=TestEvidence(image_id=each.id, passed=True, report=b"{}"),
        )
        for each in (base_image, other)
    )
    assert second == first
    shutil.rmtree(tmp_path / "catalog")
