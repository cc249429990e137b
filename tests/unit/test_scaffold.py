"""A new project is whole, valid in all that it suggests, and overwrites nothing."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import files
from imagebuilder.declaration import Declaration, validate
from imagebuilder.errors import ImageBuilderError, InputError, Location, StepError
from imagebuilder.kickstart import compose
from imagebuilder.project import Project
from imagebuilder.recipe import json_schema
from imagebuilder.scaffold import init_project
from imagebuilder.settings import ProjectFile

MADE = {
    "imagebuilder.toml",
    "recipes/server.toml",
    "kickstarts/server/greeting.ks",
    ".imagebuilder/recipe.schema.json",
    ".gitignore",
    "README.md",
}


def tree(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def uncommented(text: str) -> str:
    """Return a TOML text with all that it suggests put to use."""
    lines: list[str] = []
    for line in text.splitlines():
        found = re.match(r"# (?:(?P<key>[a-z_]+) = |\[+[a-z])", line)
        # Of two examples for one key, the first.
        known = found and found["key"] and any(each.startswith(found["key"]) for each in lines)
        lines.append(line[2:] if found and not known else line)
    return "\n".join(lines)


def test_a_new_project_resolves_and_composes(tmp_path: Path) -> None:
    root = tmp_path / "a" / "new one"
    made = init_project(root, name="edge", distro_id="debian-13")
    assert set(made.files) == {each.replace("server", "edge") for each in MADE} == set(tree(root))
    project = Project.open(root)
    assert project.names() == ("edge",)
    resolved = project.resolve("edge")
    assert resolved.distro.id == "debian-13"
    assert resolved.lineage == ("imagebuilder/base", "edge") or len(resolved.lineage) == 2
    text = "\n".join(line.text for line in compose(resolved).lines)
    assert "This is edge, from memory" in text
    checks = [each for each in resolved.recipe.checks if each.name == "the greeting is there"]
    assert len(checks) == 1
    assert json.loads(tree(root)[".imagebuilder/recipe.schema.json"]) == json_schema()
    first = tree(root)["recipes/edge.toml"].splitlines()[0]
    schema = root / "recipes" / first.removeprefix("#:schema ")
    assert schema.resolve() == root / ".imagebuilder/recipe.schema.json"


def test_all_that_the_comments_suggest_is_valid(tmp_path: Path) -> None:
    init_project(tmp_path)
    texts = tree(tmp_path)
    settings_ = tomllib.loads(uncommented(texts["imagebuilder.toml"]))
    assert set(settings_) == set(ProjectFile.model_fields)
    ProjectFile.model_validate(settings_)
    recipe = tomllib.loads(uncommented(texts["recipes/server.toml"]))
    assert {"packages", "files", "kernel"} <= set(recipe)
    assert "root_ssh_keys" in recipe["params"]
    declared = Declaration(name="server", data=recipe, origins={}, origin=Location(file="r"))
    assert validate(declared).packages == ("htop", "tcpdump")


def test_nothing_is_written_for_a_dry_run(tmp_path: Path) -> None:
    made = init_project(tmp_path / "new", dry_run=True)
    assert set(made.files) == MADE
    assert not (tmp_path / "new").exists()


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("x")
    (tmp_path / "README.md").write_text("mine")
    made = init_project(tmp_path)
    assert made.kept == ("README.md",)
    assert (tmp_path / "README.md").read_text() == "mine"
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"has imagebuilder.toml, .* already") as caught:
        init_project(tmp_path, name="other")
    assert "a further recipe is a file in recipes/" in caught.value.fix
    assert tree(tmp_path) == before


@pytest.mark.parametrize("path", ["recipes/server.toml", "recipes", "kickstarts/server"])
def test_a_file_in_the_way_leaves_nothing_behind(tmp_path: Path, path: str) -> None:
    root = tmp_path / "project"
    (root / path).parent.mkdir(parents=True)
    (root / path).symlink_to("nowhere")
    with pytest.raises(ImageBuilderError):
        init_project(root)
    assert tree(root) == {}
    assert os.readlink(root / path) == "nowhere"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "deep/project"
    real = Path.open

    def full(path: Path, *args: object, **options: object) -> object:
        if path == root / "README.md":
            raise OSError(28, "No space left on device", str(path))
        return real(path, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(StepError, match="No space left on device"):
            init_project(root)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        init_project(tmp_path / "file")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="is no folder"):
        init_project(tmp_path / "link")


@pytest.mark.parametrize("name", ["", "../up", "a b", "Base", "-n", "x" * 64, "a\nb"])
def test_names_that_no_recipe_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is no recipe name"):
        init_project(tmp_path / "new", name=name)
    with pytest.raises(InputError, match="unknown distro"):
        init_project(tmp_path / "new", distro_id="slackware-4")
    with pytest.raises(InputError, match="makes no images of rocky-9") as caught:
        init_project(tmp_path / "new", distro_id="rocky-9")
    assert "debian-12, debian-13" in caught.value.fix
    assert not (tmp_path / "new").exists()


@settings(max_examples=30, deadline=None)
@given(
    names=st.lists(
        st.text("ab /.", min_size=1, max_size=8).filter(lambda each: "\0" not in each), max_size=5
    )
)
def test_create_writes_all_or_nothing(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("create")
    wanted = {f"x/{name}".replace("..", "."): name for name in names}
    try:
        files.create(root, wanted)
    except OSError:
        assert list(root.iterdir()) == []
    else:
        for path, text in wanted.items():
            assert (root / path).read_text() == text
