"""The rules by which a recipe adds to its parent, as written at the head of merge.py."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import MakeProject
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.declaration import Declaration
from imagebuilder.errors import InputError, Location
from imagebuilder.merge import Node, merge
from imagebuilder.project import Project

PARENT = """
    summary = "parent"
    distro = "debian-12"
    kickstarts = ["a.ks", "b.ks"]
    packages = ["vim", "-nano"]
    [params]
    ports = [1, 2]
    [params.deep]
    a = 1
    list = ["x", "y"]
    [kernel]
    args = ["quiet", "ro"]
    [[checks]]
    unit = "a.service"
    [[checks]]
    name = "two"
    command = "true"
    """


def resolved(make_project: MakeProject, child: str) -> Any:
    files = {"recipes/parent.toml": PARENT, "recipes/child.toml": f'extends = "parent"\n{child}'}
    return make_project(files).resolve("child")


def refusal(project: Project, name: str = "child") -> InputError:
    with pytest.raises(InputError) as caught:
        project.resolve(name)
    return caught.value


def test_removing_items_of_lists_and_keys_of_tables(make_project: MakeProject) -> None:
    found = resolved(
        make_project,
        "[remove]\n"
        'kickstarts = ["a.ks"]\n'
        'packages = ["-nano"]\n'
        'checks = ["a.service", "two"]\n'
        'params.deep = ["a"]\n'
        'kernel.args = ["ro"]\n',
    ).recipe
    assert found.kickstarts == ("b.ks",)
    assert found.packages == ("vim",)
    assert found.checks == ()
    assert found.params == {"ports": [1, 2], "deep": {"list": ["x", "y"]}}
    assert found.kernel.args == ("quiet",)


def test_an_item_of_a_list_in_a_table_of_params_is_removed_by_its_value(
    make_project: MakeProject,
) -> None:
    found = resolved(make_project, "[remove.params]\nports = [2]\n[remove.params.deep]\nlist=['x']")
    assert found.recipe.params == {"ports": [1], "deep": {"a": 1, "list": ["y"]}}


def test_replacing_where_a_list_would_be_added(make_project: MakeProject) -> None:
    found = resolved(
        make_project,
        'kickstarts = ["d.ks"]\n'
        "[replace]\n"
        'kickstarts = ["c.ks"]\n'
        "kernel.args = []\n"
        "params.ports = [9]\n"
        "checks = []\n",
    ).recipe
    assert found.kickstarts == ("c.ks", "d.ks")  # what is replaced can be added to
    assert found.kernel.args == ()
    assert found.params["ports"] == [9]
    assert found.params["deep"] == {"a": 1, "list": ["x", "y"]}
    assert found.checks == ()


def test_an_empty_table_empties_the_parents(make_project: MakeProject) -> None:
    found = resolved(make_project, "[params]\nnew = 1\n[replace.params]\n")
    assert found.recipe.params == {"new": 1}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('[remove]\nkickstarts = ["z.ks"]\n', 3, "the parent has no 'z.ks' there"),
        ('[remove]\nparams = ["zoo"]\n', 3, "the parent has no 'zoo' there"),
        ('[remove]\nparams.zoo = ["x"]\n', 3, "the parent has none"),
        ('[remove]\nsecrets = ["x"]\n', 3, "the parent has none"),
        ('[remove]\nkickstarts = "a.ks"\n', 3, "a list of what is to be taken out"),
        ("[replace]\npreseed = []\n", 3, "the parent has none to replace"),
        ('[remove]\nsummary = ["x"]\n', 3, "remove.summary"),
        ("[replace]\ndistro = 'x'\n", 3, "replace.distro"),
    ],
)
def test_what_the_parent_has_not_cannot_go(
    make_project: MakeProject, text: str, line: int, what: str
) -> None:
    files = {"recipes/parent.toml": PARENT, "recipes/child.toml": f'extends = "parent"\n{text}'}
    error = refusal(make_project(files))
    assert error.where
    assert (error.where.file, error.where.line) == ("recipes/child.toml", line)
    assert what in error.what


def test_what_it_has_is_named_in_the_error(make_project: MakeProject) -> None:
    text = 'extends = "parent"\n[remove]\nchecks = ["b.service"]\n'
    error = refusal(make_project({"recipes/parent.toml": PARENT, "recipes/child.toml": text}))
    assert "a.service, two" in error.fix


def test_all_that_is_wrong_is_said_at_once(make_project: MakeProject) -> None:
    text = 'extends = "parent"\n[remove]\nkickstarts = ["x.ks", "y.ks"]\npackages = ["p"]\n'
    error = refusal(make_project({"recipes/parent.toml": PARENT, "recipes/child.toml": text}))
    assert len([error, *error.also]) == 3


def test_every_place_that_had_a_say_is_remembered(make_project: MakeProject) -> None:
    project = make_project(
        {
            "recipes/parent.toml": PARENT,
            "recipes/middle.toml": 'extends = "parent"\n[params]\nx = 1\n'
            '[remove]\nkernel.args = ["ro"]\n',
            "recipes/leaf.toml": 'extends = "middle"\n[params]\nx = 2\n[replace]\npackages = []\n',
        }
    )
    tree = project.resolve("leaf").tree
    x = tree.find("params.x")
    assert x
    assert (x.where.file, x.where.line, x.value) == ("recipes/leaf.toml", 3, 2)
    assert [(each.where.file, each.value, each.how, each.ended.file) for each in x.earlier] == [
        ("recipes/middle.toml", 1, "replaced", "recipes/leaf.toml")
    ]
    args = tree.find("kernel.args")
    assert args
    (gone,) = args.earlier
    assert (gone.value, gone.how, gone.ended.file, gone.ended.line) == (
        "ro",
        "removed",
        "recipes/middle.toml",
        5,
    )
    packages = tree.find("packages")
    assert packages
    assert [(each.value, each.how) for each in packages.earlier] == [
        ("vim", "replaced"),
        ("-nano", "replaced"),
    ]


def test_what_is_replaced_as_a_whole_keeps_the_place_of_each_part(
    make_project: MakeProject,
) -> None:
    recipes = {
        "recipes/a.toml": 'distro = "debian-12"\n[params.disk]\nsize = 1\nname = "x"\n'
        "[[params.zones]]\nvlan = 1\n",
        "recipes/b.toml": 'extends = "a"\n[params.disk]\nsize = 2\n[[params.zones]]\nvlan = 2\n',
        "recipes/c.toml": 'extends = "b"\n[replace.params]\ndisk = {}\nzones = [{vlan = 3}]\n',
    }
    tree = make_project(recipes).resolve("c").tree

    def said(key: str) -> list[tuple[str, object, str]]:
        node = tree.find(key)
        assert node
        return [
            (f"{each.where.file}:{each.where.line}", each.value, str(each.ended)[8:11])
            for each in node.earlier
        ]

    assert said("params.zones") == [
        ("recipes/a.toml:5", {"vlan": 1}, "c.t"),
        ("recipes/b.toml:4", {"vlan": 2}, "c.t"),
    ]
    assert said("params.disk") == [
        ("recipes/a.toml:3", {"size": 1}, "b.t"),
        ("recipes/b.toml:3", {"size": 2}, "c.t"),
        ("recipes/a.toml:4", {"name": "x"}, "c.t"),
    ]


# Values as TOML has them, keys that no rule of the recipe knows.
_SCALARS = st.one_of(st.integers(), st.booleans(), st.text("ab.", max_size=3))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner),
    max_leaves=8,
)
_TABLES = st.dictionaries(st.text("xyz", min_size=1, max_size=2), _VALUES, max_size=4)


def _declared(data: dict[str, Any], file: str) -> Declaration:
    where = Location(file=file, line=1)
    return Declaration(name=file, data=data, origins={}, origin=where)


def _by_the_rules(parent: Any, child: Any) -> Any:
    if isinstance(parent, dict) and isinstance(child, dict):
        both = {**parent, **child}
        return {
            key: _by_the_rules(parent[key], child[key]) if key in parent and key in child else each
            for key, each in both.items()
        }
    if isinstance(parent, list) and isinstance(child, list):
        return parent + child
    return child


@settings(max_examples=60, deadline=None)
@given(parent=_TABLES, child=_TABLES)
def test_any_two_tables_are_merged_by_the_rules(
    parent: dict[str, Any], child: dict[str, Any]
) -> None:
    root = merge(Node({}, Location(file="p", line=1)), _declared(parent, "p"), parent)
    assert root.plain() == parent
    made = merge(root, _declared(child, "c"), child)
    assert made.plain() == _by_the_rules(parent, child)
    assert root.plain() == parent  # what a child says changes nothing in its parent
    for path, node in made.walk():
        if path and not any("." in part for part in _keys(made.plain())):
            found = made.find(path)
            assert found is node


def _keys(data: Any) -> list[str]:
    if isinstance(data, dict):
        return [*data, *(key for each in data.values() for key in _keys(each))]
    if isinstance(data, list):
        return [key for each in data for key in _keys(each)]
    return []
