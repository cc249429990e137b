"""What the ``[matrix]`` of a recipe stands for: one variant for each combination of values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from imagebuilder import template
from imagebuilder.errors import InputError, Location
from imagebuilder.merge import Node
from imagebuilder.names import check_name
from imagebuilder.recipe import Axis, Matrix

AXES: tuple[str, ...] = get_args(Axis)
_LIMIT = 1_000  # variants of one recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One combination of the values of a matrix.

    Attributes:
        name: the recipe that it makes.
        values: for each axis that the matrix has, the value: ``{"distro": "debian-12"}``.
    """

    name: str
    values: Mapping[str, str]


def variants(recipe: str, node: Node) -> tuple[Variant, ...]:
    """Return the variants of a recipe, in the order of its axes' values.

    Args:
        recipe: the recipe's name.
        node: the matrix, merged with the parents'; valid.

    Raises:
        InputError: two have one name, none is left, or there are too many.
    """
    matrix = Matrix.model_validate(node.plain())
    axes = {axis: tuple(getattr(matrix, axis)) for axis in AXES if axis in node.value}
    empty = next((axis for axis, values in axes.items() if not values), None)
    if not axes or empty:
        what = f"matrix.{empty} has no values" if empty else "the matrix has no axis"
        raise InputError(what, where=node.where, fix=f"axes are: {', '.join(AXES)}")
    _check_exclusions(matrix, axes, node)
    made: dict[str, Variant] = {}
    for n, combination in enumerate(itertools.product(*axes.values())):
        if n >= _LIMIT:
            raise InputError(f"the matrix has more than {_LIMIT} combinations", where=node.where)
        values = dict(zip(axes, combination, strict=True))
        if any(each.items() <= values.items() for each in matrix.exclude):
            continue
        name = _name(recipe, matrix, values, node)
        if name in made:
            both = " and ".join(", ".join(each.values()) for each in (made[name].values, values))
            raise InputError(
                f"the matrix gives two variants the name {name!r}: {both}",
                where=_place(node, "name"),
                fix="put each axis that has several values into matrix.name",
            )
        made[name] = Variant(name=name, values=values)
    if not made:
        raise InputError("the matrix excludes all of its combinations", where=node.where)
    return tuple(made.values())


def overlays(node: Node, variant: Variant) -> list[tuple[str, Node]]:
    """Return what the values of a variant add to the recipe: each with its path in the matrix."""
    found: list[tuple[str, Node]] = []
    for axis, value in variant.values.items():
        values = node.value[axis]
        if values.is_table:
            found.append((f"matrix.{axis}.{value}", values.value[value]))
    return found


def place_of(node: Node, variant: Variant, axis: str) -> Location:
    """Return where a matrix names the value that a variant has on an axis."""
    values = node.value[axis]
    if values.is_table:
        named: Node = values.value[variant.values[axis]]
        return named.where
    places: Iterator[Location] = (
        each.where for each in values.value if each.value == variant.values[axis]
    )
    return next(places)


def _check_exclusions(matrix: Matrix, axes: Mapping[str, tuple[str, ...]], node: Node) -> None:
    for n, each in enumerate(matrix.exclude):
        for axis, value in each.items():
            if value not in axes.get(axis, ()):
                known = ", ".join(axes.get(axis, ())) or "none: the matrix has no such axis"
                raise InputError(
                    f"matrix.exclude: {axis} is never {value!r}",
                    where=_place(node, f"exclude.{n}.{axis}"),
                    fix=f"its values are: {known}",
                )


def _name(recipe: str, matrix: Matrix, values: Mapping[str, str], node: Node) -> str:
    if matrix.name:
        where = _place(node, "name")
        known: dict[str, Any] = {"recipe": recipe, **values}
        return check_name(template.render_value(matrix.name, known, where), where)
    return check_name("-".join([recipe, *values.values()]), node.where)


def _place(node: Node, path: str) -> Location:
    found = node.find(path)
    return found.where if found else node.where
