"""Whatever stands in a recipe file: it is resolved, or refused with a file and line, in no time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from fakes import MakeProject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagebuilder.errors import ImageBuilderError, InputError
from imagebuilder.project import Project
from imagebuilder.recipe import Recipe

SECONDS = 5.0  # far more than any takes; a loop without end takes longer

PARENT = """
    distro = "debian-12"
    kickstarts = ["a.ks", "b.ks"]
    packages = ["vim"]
    [params]
    a = 1
    b = ["x"]
    c = { d = 1 }
    """

# Texts that mean something to TOML, shells, paths, Jinja2 or terminals.
_TEXTS = st.sampled_from(
    [
        "",
        "a",
        "a.ks",
        "../../etc/passwd",
        "/etc/passwd",
        "-rf",
        "$(reboot)",
        "`reboot`",
        "a;b",
        "a b",
        "a\nb",
        "\0",
        "\x1b[2J",
        "{{ a }}",
        "{{ nothing }}",
        "{{ secret('x') }}",
        "{% for i in range(999999999) %}x{% endfor %}",
        "{{ 'x' * 999999999 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{",
        "{% if %}",
        "debian-12",
        "x" * 300,
        "é\u202e",
        "@secret:x@",
    ]
)
_VALUES = st.recursive(
    _TEXTS | st.integers(-1, 5) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["a", "b", "c", "args", "unit", "command", "source", "path", "distro", "flavour"]
            )
            | _TEXTS,
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_RECIPES = st.dictionaries(
    st.sampled_from([*Recipe.model_fields, "zoo"]).filter(lambda name: name != "name"),
    _VALUES,
    max_size=4,
)


def _toml(value: Any) -> str:
    """Write a value as TOML, inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, str):
        plain = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain) + '"'
    return repr(value)


def _is_answered(project: Project, name: str) -> None:
    began = time.process_time()
    try:
        resolved = project.resolve(name)
    except InputError as error:
        for each in _all(error):
            assert each.where, each
            assert each.where.file.startswith("recipes/")
            assert each.where.line is not None, each
            str(each)
    else:
        assert resolved.recipe.extends is None
        assert resolved.recipe.model_dump_json()
    assert time.process_time() - began < SECONDS


def _all(error: ImageBuilderError) -> list[ImageBuilderError]:
    return [error, *(inner for each in error.also for inner in _all(each))]


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=_RECIPES, extends=st.booleans())
def test_any_values_at_any_keys(make_project: MakeProject, data: Any, extends: bool) -> None:
    given_keys = {**data, **({"extends": "parent"} if extends else {})}
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in given_keys.items())
    project = make_project({"recipes/parent.toml": PARENT})
    (project.root / "recipes/child.toml").write_text(text)
    _is_answered(project, "child")
    assert "parent" in project.names()


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_real_recipe_with_a_piece_of_it_changed(make_project: MakeProject, data: Any) -> None:
    text = (Path(__file__).parents[2] / "recipes/hypervisor.toml").read_text()
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 40))
    piece = data.draw(st.text("[]{}\"'=.,#\n ab1%", max_size=8))
    base = (Path(__file__).parents[2] / "recipes/base.toml").read_text()
    project = make_project({"recipes/base.toml": base})
    (project.root / "recipes/child.toml").write_text(text[:start] + piece + text[start + length :])
    _is_answered(project, "child")


@pytest.mark.parametrize(
    "text",
    [
        "a" * (2 << 20),
        'kickstarts = ["a.ks"' + ',"a.ks"' * 100_000 + "]\n",
        "params = " + "{a=" * 3000 + "1" + "}" * 3000 + "\n",
        "x = [" * 5000,
        "".join(f"[params.k{n}]\nv = {n}\n" for n in range(10_000)),
        '[matrix]\nflavour = ["a"]\nname = "{% for i in range(10**9) %}x{% endfor %}"\n',
        "\n".join(f"[matrix.flavour.f{n}]\nparams.a = {n}" for n in range(999)),
    ],
    ids=["2 MB", "100000 items", "deep tables", "deep lists", "many tables", "loop", "variants"],
)
def test_large_and_deep(make_project: MakeProject, text: str) -> None:
    project = make_project()
    (project.root / "recipes/r.toml").write_text('distro = "debian-12"\n' + text)
    began = time.process_time()
    _is_answered(project, "r")
    project.names()
    assert time.process_time() - began < SECONDS


def test_a_params_name_that_templates_know(make_project: MakeProject) -> None:
    project = make_project({"recipes/r.toml": "[params]\ndistro = 'x'\n"})
    with pytest.raises(InputError, match="has a meaning of its own"):
        project.resolve("r")


def test_what_is_no_file(make_project: MakeProject) -> None:
    project = make_project({"recipes/r.toml": "extends = 'd'\n"})
    (project.root / "recipes/d.toml").mkdir()
    (project.root / "recipes/l.toml").symlink_to("l.toml")
    for name in ("r", "d", "l"):
        with pytest.raises(InputError):
            project.resolve(name)


@pytest.mark.timeout(60)
def test_what_is_no_file_or_leads_out_of_the_project_is_not_read(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project({"recipes/real.toml": 'distro = "debian-12"\n'})
    recipes = project.root / "recipes"
    (tmp_path / "other.toml").write_text('distro = "debian-12"\n')
    os.mkfifo(recipes / "pipe.toml")
    (recipes / "folder.toml").mkdir()
    (recipes / "zero.toml").symlink_to("/dev/zero")
    (recipes / "away.toml").symlink_to(tmp_path / "other.toml")
    (recipes / "inside.toml").symlink_to("real.toml")
    assert project.resolve("inside").distro.id == "debian-12"
    assert "pipe" in project.names()
    for name in ("pipe", "folder", "zero", "away"):
        with pytest.raises(InputError) as caught:
            project.resolve(name)
        assert str(caught.value.where) == f"recipes/{name}.toml:1"
    os.mkfifo(project.root / "imagebuilder.toml")
    with pytest.raises(InputError, match="no file"):
        Project.open(project.root)
