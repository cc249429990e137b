from __future__ import annotations

import pytest
from fakes import MakeProject
from pydantic import ValidationError

from imagebuilder.errors import InputError
from imagebuilder.params import Declared, problems
from imagebuilder.project import Project


def refusal(project: Project, name: str) -> InputError:
    with pytest.raises(InputError) as caught:
        project.resolve(name)
    return caught.value


@pytest.mark.parametrize(
    ("declared", "value", "problem"),
    [
        ({"type": "string"}, "x", ""),
        ({"type": "string"}, 1, "is to be a string, not an integer"),
        ({"type": "integer"}, True, "is to be an integer, not a boolean"),
        ({"type": "integer"}, 1.5, "is to be an integer, not a number"),
        ({"type": "number"}, 1, ""),
        ({"type": "boolean"}, "yes", "is to be a boolean, not a string"),
        ({"type": "table"}, {"a": 1}, ""),
        ({"type": "list"}, "x", "is to be a list, not a string"),
        ({"items": "integer"}, [1, 2], ""),
        ({"items": "integer"}, [1, "2"], "is to be a list of integers, and has a string in it"),
        ({"choices": ["a", "b"]}, "c", "cannot be 'c'; it can be: a, b"),
        ({"type": "list", "choices": ["a", "b"]}, ["a", "c"], "cannot be 'c'; it can be: a, b"),
        ({"pattern": "br[0-9]+"}, "br0", ""),
        ({"pattern": "br[0-9]+"}, "xbr0", "does not match 'br[0-9]+': 'xbr0'"),
        ({"min": 1, "max": 4094}, 4095, "is 4095; the most is 4094"),
        ({"min": 1}, 0, "is 0; the least is 1"),
        ({"max": 3}, "long", "is of length 4; the most is 3"),
        ({"min": 1}, [], "is of length 0; the least is 1"),
        ({}, object, ""),
    ],
)
def test_values(declared: dict[str, object], value: object, problem: str) -> None:
    assert Declared.model_validate(declared).problem(value) == problem


@pytest.mark.parametrize(
    ("declared", "what"),
    [
        ({"type": "text"}, "type"),
        ({"pattern": "("}, "not a regular expression"),
        ({"type": "string", "items": "string"}, "a string has none"),
        ({"min": 2, "max": 1}, "min is greater"),
        ({"type": "integer", "default": "1"}, "the default is to be an integer"),
        ({"required": True, "default": 1}, "required is idle"),
    ],
)
def test_declarations_that_make_no_sense(declared: dict[str, object], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Declared.model_validate(declared)


def test_a_required_one_is_missed() -> None:
    declared = {"a": Declared(required=True), "b": Declared(type="string")}
    assert problems(declared, {}) == {"a": "has no value, and needs one"}
    assert problems(declared, {"a": 0}) == {}


FAMILY = {
    "recipes/base.toml": """
        abstract = true
        distro = "debian-12"
        [declare.vlan]
        type = "integer"
        min = 1
        max = 4094
        required = true
        description = "the VLAN of the guests"
        [declare.bridge]
        default = "br0"
        [kernel]
        args = ["bridge={{ bridge }}"]
        """,
    "recipes/good.toml": 'extends = "base"\n[params]\nvlan = 12\n',
    "recipes/bad.toml": 'extends = "base"\n[params]\nvlan = "12"\n',
    "recipes/none.toml": 'extends = "base"\n',
    "recipes/tight.toml": 'extends = "good"\n[declare.vlan]\nmax = 11\n',
}


def test_defaults_and_types_through_inheritance(make_project: MakeProject) -> None:
    project = make_project(FAMILY)
    good = project.resolve("good")
    assert good.recipe.params == {"vlan": 12, "bridge": "br0"}
    assert good.recipe.kernel.args == ("bridge=br0",)
    assert good.place("params.bridge").line == 10
    bad = refusal(project, "bad")
    assert bad.what == "param 'vlan' is to be an integer, not a string"
    assert bad.where
    assert (bad.where.file, bad.where.line) == ("recipes/bad.toml", 3)
    assert bad.fix == "the VLAN of the guests"
    none = refusal(project, "none")
    assert none.where
    assert (none.where.file, none.where.line) == ("recipes/base.toml", 3)
    # A child can be stricter than its parent, whatever gave the value.
    tight = refusal(project, "tight")
    assert tight.what == "param 'vlan' is 12; the most is 11"
    assert tight.where
    assert tight.where.file == "recipes/good.toml"


def test_an_abstract_recipe_may_leave_values_to_its_children(make_project: MakeProject) -> None:
    project = make_project(FAMILY)
    assert project.resolve("base").recipe.abstract
    assert "base" not in project.names()
    assert "base" in project.names(abstract=True)
    assert not project.resolve("good").recipe.abstract
