"""Checks that recipes have from the same parent, rendered and read once."""

from __future__ import annotations

import pytest
from fakes import MakeProject

from imagebuilder.errors import InputError

BASE = """
    distro = "debian-12"
    abstract = true
    [params]
    port = 22
    [[checks]]
    unit = "ssh.service"
    [[checks]]
    port = "{{ port }}"
    [[checks]]
    command = "grep {{ recipe }} /etc/hostname"
    timeout = 60
    """


def child(port: str, more: str = "") -> str:
    return f'extends = "base"\n[params]\nport = {port}\n{more}'


def test_each_recipe_has_its_own(make_project: MakeProject) -> None:
    ports = {"a": 1, "b": 2, "c": 1}
    project = make_project(
        {
            "recipes/base.toml": BASE,
            **{f"recipes/{name}.toml": child(str(port)) for name, port in ports.items()},
        }
    )
    found = {name: project.resolve(name).recipe.checks for name in (*ports, *ports)}
    for name, port in ports.items():
        assert getattr(found[name][1], "port", None) == port
        assert getattr(found[name][2], "command", None) == f"grep {name} /etc/hostname"
    assert found["a"][0] is found["b"][0]
    assert found["a"][1] is found["c"][1]
    assert (
        found["a"]
        == make_project({"recipes/base.toml": BASE, "recipes/a.toml": child("1")})
        .resolve("a")
        .recipe.checks
    )


def test_what_is_wrong_is_said_for_each_recipe(make_project: MakeProject) -> None:
    project = make_project(
        {
            "recipes/base.toml": BASE,
            "recipes/a.toml": child("99999"),
            "recipes/b.toml": child("99999", '[[checks]]\nunit = "x.service"\n'),
            "recipes/c.toml": child("22", '[[checks]]\ncommand = "{{ nosuch }}"\n'),
        }
    )
    for name in ("a", "b", "a"):
        with pytest.raises(InputError, match=r"checks\.1\.port") as caught:
            project.resolve(name)
        assert str(caught.value.where).startswith("recipes/base.toml:8")
    with pytest.raises(InputError, match="nosuch") as caught:
        project.resolve("c")
    assert str(caught.value.where).startswith("recipes/c.toml:5")
    assert len(project.resolve("base").recipe.checks) == 3


def test_a_check_is_no_place_for_a_secret(make_project: MakeProject) -> None:
    more = "[[checks]]\ncommand = 'test {{ secret(\"rootpw\") }}'\n"
    project = make_project({"recipes/base.toml": BASE, "recipes/a.toml": child("1", more)})
    with pytest.raises(InputError, match="this is published") as caught:
        project.resolve("a")
    assert str(caught.value.where).startswith("recipes/a.toml:5")


def test_a_changed_parent_is_read_anew(make_project: MakeProject) -> None:
    project = make_project({"recipes/base.toml": BASE, "recipes/a.toml": child("1")})
    before = project.resolve("a").recipe.checks
    (project.root / "recipes/base.toml").write_text(
        'distro = "debian-12"\n[params]\nport = 2\n[[checks]]\nport = "{{ port }}"\n'
    )
    after = project.resolve("a").recipe.checks
    assert len(before) == 3
    assert [getattr(each, "port", None) for each in after] == [1]
