"""A folder of recipes: which there are, and what one comes to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import MakeProject
from projectkit import refusal

from imagebuilder import distro
from imagebuilder.checks import CommandCheck, UnitCheck
from imagebuilder.errors import InputError, Location
from imagebuilder.project import Project
from imagebuilder.recipe import KernelOptions, Recipe

BASE = """
    summary = "base"
    distro = "debian-12"
    kickstarts = ["a.ks"]
    [params]
    bridge = "br0"
    ports = [1]
    [params.deep]
    a = 1
    b = 2
    [kernel]
    args = ["quiet"]
    [image]
    compression = "gzip"
    [[checks]]
    unit = "a.service"
    """


MIDDLE = """
    extends = "base"
    kickstarts = ["b.ks"]
    [params]
    ports = [2, 3]
    [params.deep]
    b = 3
    c = 4
    [[checks]]
    command = "br-exists {{ bridge }}"
    """


LEAF = """
    summary = "leaf"
    extends = "middle"
    [params]
    bridge = "br1"
    [kernel]
    args = [
      "isolcpus={{ ports | join(',') }}",
      "host={{ recipe }}.{{ distro.suite }}",
    ]
    [image]
    compression_level = 5
    """


FAMILY = {
    "recipes/base.toml": BASE,
    "recipes/middle.toml": MIDDLE,
    "recipes/leaf.toml": LEAF,
}


def test_scalars_replace_tables_merge_and_lists_are_added(make_project: MakeProject) -> None:
    resolved = make_project(FAMILY).resolve("leaf")
    recipe = resolved.recipe
    assert resolved.lineage == ("base", "middle", "leaf")
    assert recipe.extends is None
    assert recipe.summary == "leaf"
    assert recipe.kickstarts == ("a.ks", "b.ks")
    assert recipe.params == {
        "bridge": "br1",
        "ports": [1, 2, 3],
        "deep": {"a": 1, "b": 3, "c": 4},
    }
    assert recipe.image.compression == "gzip"
    assert recipe.image.compression_level == 5
    assert recipe.checks == (
        UnitCheck(unit="a.service"),
        CommandCheck(command="br-exists br1"),
    )
    assert recipe.kernel.args == ("quiet", "isolcpus=1,2,3", "host=leaf.bookworm")
    # What a child says changes nothing in its parents.
    assert make_project().resolve("base").recipe.params["ports"] == [1]


def test_origins_through_three_levels(make_project: MakeProject) -> None:
    resolved = make_project(FAMILY).resolve("leaf")
    places = {
        key: (resolved.place(key).file, resolved.place(key).line)
        for key in (
            "summary",
            "distro",
            "kickstarts.0",
            "kickstarts.1",
            "params.ports.0",
            "params.ports.2",
            "params.deep.a",
            "params.deep.b",
            "params.bridge",
            "kernel.args.0",
            "kernel.args.2",
            "image.compression",
            "image.compression_level",
            "checks.0.unit",
            "checks.1.command",
        )
    }
    base, middle, leaf = (f"recipes/{name}.toml" for name in ("base", "middle", "leaf"))
    assert places == {
        "summary": (leaf, 1),
        "distro": (base, 2),
        "kickstarts.0": (base, 3),
        "kickstarts.1": (middle, 2),
        "params.ports.0": (base, 6),
        "params.ports.2": (middle, 4),
        "params.deep.a": (base, 8),
        "params.deep.b": (middle, 6),
        "params.bridge": (leaf, 4),
        "kernel.args.0": (base, 11),
        "kernel.args.2": (leaf, 8),
        "image.compression": (base, 13),
        "image.compression_level": (leaf, 11),
        "checks.0.unit": (base, 15),
        "checks.1.command": (middle, 9),
    }


def test_a_template_that_fails_has_the_line_of_the_recipe_that_wrote_it(
    make_project: MakeProject,
) -> None:
    project = make_project({**FAMILY, "recipes/base.toml": BASE.replace('bridge = "br0"', "")})
    error = refusal(project, "middle")
    assert error.where
    assert (error.where.file, error.where.line) == ("recipes/middle.toml", 9)
    assert "'bridge' is undefined" in error.what


def test_a_rendered_value_is_checked_again(make_project: MakeProject) -> None:
    text = """
        distro = "debian-12"
        [params]
        a = "x y"
        [kernel]
        args = ["quiet", "{{a}}"]
        """
    error = refusal(make_project({"recipes/a.toml": text}), "a")
    assert "one word" in error.what
    assert error.where
    assert (error.where.file, error.where.line) == ("recipes/a.toml", 5)


@pytest.mark.parametrize("circle", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_recipes_that_extend_each_other(make_project: MakeProject, circle: list[str]) -> None:
    project = make_project(
        {
            f"recipes/{name}.toml": f'distro = "debian-12"\nextends = "{after}"\n'
            for name, after in zip(circle, [*circle[1:], "a"], strict=True)
        }
    )
    error = refusal(project, "a")
    assert " → ".join([*circle, "a"]) in error.what
    assert error.where == Location(file=f"recipes/{circle[-1]}.toml", line=2, key="extends")


def test_a_very_long_line_of_parents_is_refused(make_project: MakeProject) -> None:
    project = make_project({f"recipes/a{n}.toml": f'extends = "a{n + 1}"\n' for n in range(99)})
    assert refusal(project, "a0").exit_status == 2


def test_a_missing_parent_is_named_where_it_is_asked_for(make_project: MakeProject) -> None:
    error = refusal(make_project({"recipes/a.toml": '\nsummary = "x"\nextends = "bse"\n'}), "a")
    assert "'bse'" in error.what
    assert error.where == Location(file="recipes/a.toml", line=3, key="extends")
    assert error.fix == "known are: a"


def test_an_error_in_a_parent_names_the_parents_file(make_project: MakeProject) -> None:
    project = make_project({**FAMILY, "recipes/base.toml": 'distro = "debian-12"\nsumary = ""\n'})
    error = refusal(project, "leaf")
    assert error.where == Location(file="recipes/base.toml", line=2, key="sumary")


@pytest.mark.parametrize("name", ["nosuch", "../a", "a\n", "", "a/../a"])
def test_names_that_are_not_there(make_project: MakeProject, name: str) -> None:
    error = refusal(make_project({"recipes/a.toml": 'distro = "debian-12"\n'}), name)
    assert error.exit_status == 2


def test_no_distro_and_an_unknown_one(make_project: MakeProject) -> None:
    project = make_project(
        {
            "recipes/a.toml": 'summary = "x"\n',
            "recipes/b.toml": 'summary = "x"\ndistro = "debian-99"\n',
        }
    )
    assert 'distro = "debian-12"' in refusal(project, "a").fix
    error = refusal(project, "b")
    assert error.where == Location(file="recipes/b.toml", line=2, key="distro")
    assert "debian-12" in error.fix


def test_a_recipe_made_in_python(make_project: MakeProject) -> None:
    project = make_project(FAMILY)
    made = Recipe(
        name="mine",
        extends="middle",
        kernel=KernelOptions(args=("bridge={{ bridge }}",)),
        checks=(UnitCheck(unit="{{ recipe }}.service"),),
    )
    resolved = project.resolve(made)
    assert resolved.name == "mine"
    assert resolved.recipe.kernel.args == ("quiet", "bridge=br0")
    assert resolved.recipe.checks[-1] == UnitCheck(unit="mine.service")
    # What it does not say is its parent's, not the model's default.
    assert resolved.recipe.summary == "base"
    assert resolved.recipe.image.compression == "gzip"
    assert resolved.place("kernel.args.1").file == "<recipe mine>"
    assert resolved.place("distro").file == "recipes/base.toml"
    error = refusal(project, Recipe(name="mine", distro="nosuch"))
    assert error.where
    assert error.where.file == "<recipe mine>"


def test_names_lists_files_that_end_in_toml(make_project: MakeProject) -> None:
    project = make_project({"recipes/b.toml": "", "recipes/a.toml": "", "recipes/README.md": ""})
    assert project.names() == ("a", "b")
    (project.root / "recipes/Big.toml").touch()
    with pytest.raises(InputError) as caught:
        project.names()
    assert caught.value.where == Location(file="recipes/Big.toml")


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder recipes/") as caught:
        Project.open(tmp_path)
    assert "-C" in caught.value.fix


def test_a_project_is_found_again_from_elsewhere(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(FAMILY).root
    monkeypatch.chdir(root)
    project = Project.open(".")
    monkeypatch.chdir("/")
    assert project.root == root
    assert project.resolve("base").name == "base"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("catalogue = 'x'\n", 1, "catalogue"),
        ("# x\nchannel = 3\n", 2, "channel"),
        ("[mirrors]\ndebian-12 = 'deb x'\n", 2, "mirrors.debian-12"),
        ("a = 1\nb = \n", 2, "cannot be read"),
        pytest.param("x = " + "[" * 9000 + "]" * 9000, 1, "cannot be read", id="deep"),
    ],
)
def test_a_wrong_project_file(make_project: MakeProject, text: str, line: int, what: str) -> None:
    with pytest.raises(InputError) as caught:
        make_project({"imagebuilder.toml": text})
    assert what in caught.value.what
    assert caught.value.where
    assert (caught.value.where.file, caught.value.where.line) == ("imagebuilder.toml", line)


def test_the_project_file(make_project: MakeProject) -> None:
    project = make_project({"imagebuilder.toml": "channel = 'staging'\n"})
    assert project.settings.channel == "staging"
    os.unlink(project.root / "imagebuilder.toml")
    assert Project.open(project.root).settings.channel == "testing"
    (project.root / "imagebuilder.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot be read"):
        Project.open(project.root)


def test_distros() -> None:
    for name in distro.names():
        assert distro.find(name).id == name
    where = Location(file="x", line=1)
    with pytest.raises(InputError) as caught:
        distro.find("nosuch", where)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("said", "seconds"), [('"90m"', 5400), ('"12h"', 43200), ('"7d"', 604800), ("0", 0)]
)
def test_how_long_mirrors_are_not_looked_at_again(
    make_project: MakeProject, said: str, seconds: float
) -> None:
    project = make_project({"imagebuilder.toml": f"mirrors_age = {said}\n"})
    assert project.settings.mirrors_age == seconds


@pytest.mark.parametrize("said", ['"soon"', '"12"', "5", "-1", "true", '"h"'])
def test_a_time_without_a_unit_is_refused_with_its_line(
    make_project: MakeProject, said: str
) -> None:
    with pytest.raises(InputError, match="mirrors_age") as caught:
        make_project({"imagebuilder.toml": f'channel = "a"\nmirrors_age = {said}\n'})
    assert str(caught.value.where).startswith("imagebuilder.toml:2")


def test_a_name_that_is_too_long_for_a_file_is_no_name(make_project: MakeProject) -> None:
    with pytest.raises(InputError, match="is no recipe name"):
        make_project().select(["a" * 300])
