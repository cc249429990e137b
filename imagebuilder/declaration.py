"""Read recipe files, and check what is in them against the model."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic import ValidationError as PydanticError

from imagebuilder import checks
from imagebuilder.errors import ImageBuilderError, InputError, Location, joined
from imagebuilder.memo import Memo
from imagebuilder.names import check_name
from imagebuilder.recipe import Recipe
from imagebuilder.toml_lines import error_line, key_lines

_SIZE_LIMIT = 1 << 20  # bytes of a recipe file
_KEPT = 16 << 20  # characters of recipe files that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A recipe as one source declares it: its plain data, and where each key stands."""

    name: str
    data: Mapping[str, Any]
    origins: Mapping[str, Location]
    origin: Location


# By their text: two states of a project have most of their recipes in common.
_read: Memo[Declaration] = Memo(_KEPT)


def declare(recipe: Recipe) -> Declaration:
    """Return the declaration of a recipe that was made in Python."""
    origin = Location(file=f"<recipe {recipe.name}>")
    data = recipe.model_dump(mode="python", exclude_unset=True, exclude={"name"})
    return Declaration(name=recipe.name, data=data, origins={}, origin=origin)


def read(path: Path, shown_as: str) -> Declaration:
    """Read and check one recipe file.

    Args:
        path: the file.
        shown_as: what to call it in errors.

    Raises:
        InputError: with the line of each key that is wrong.
    """
    name = check_name(path.stem, Location(file=shown_as))
    origin = Location(file=shown_as, line=1)
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            _check_link(path, origin)
            facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # of a pipe nobody knows when it ends
            raise InputError("a recipe is a file", where=origin)
        if facts.st_size > _SIZE_LIMIT:
            raise InputError("a recipe has at most 1 MiB", where=origin)
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", where=origin, fix="save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=origin) from error
    known = _read.get((text, shown_as))
    return known or _read.put((text, shown_as), _declaration(name, text, origin), len(text) + 1)


def _declaration(name: str, text: str, origin: Location) -> Declaration:
    """Return what a text declares."""
    shown_as = origin.file
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(
            f"not valid TOML: {str(error) or 'nested too deeply'}",
            where=Location(file=shown_as, line=error_line(error, text) or 1),
        ) from error
    origins = {
        key: Location(file=shown_as, line=line, key=key) for key, line in key_lines(text).items()
    }
    declaration = Declaration(name=name, data=data, origins=origins, origin=origin)
    if "name" in data:
        raise InputError(
            "a recipe's name is that of its file",
            where=origins.get("name", origin),
            fix="remove the key, or rename the file",
        )
    validate(declaration)
    return declaration


def _check_link(path: Path, where: Location) -> None:
    """Refuse a link that leads out of the project, as those of fragments are."""
    project = path.parent.resolve().parent
    if not path.resolve().is_relative_to(project):
        raise InputError(
            "the recipe is a link that leads out of the project",
            where=where,
            fix="copy what it leads to into recipes/",
        )


def validate(declaration: Declaration) -> Recipe:
    """Check the data of a declaration against the model.

    Raises:
        InputError: with the place of each key that is wrong.
    """
    try:
        return Recipe.model_validate({**declaration.data, "name": declaration.name})
    except PydanticError as error:
        found = [
            _problem(declaration, each["loc"], each["type"], each["msg"]) for each in error.errors()
        ]
        raise joined(sorted(found, key=_line)) from error


def _line(error: ImageBuilderError) -> tuple[str, int]:
    return (error.where.file, error.where.line or 0) if error.where else ("", 0)


# What pydantic calls by the names of Python's types, in the words of TOML.
_IN_TOML = {
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be a string",
}


def _problem(
    declaration: Declaration, loc: tuple[int | str, ...], kind: str, message: str
) -> InputError:
    path = _path(declaration.data, loc, is_missing=kind == "missing")
    key = ".".join(path)
    if kind == "extra_forbidden":
        what = f"unknown key {path[-1]!r}"
        known = _siblings(declaration.data, path)
        fix = f"known here are: {', '.join(known)}" if known else ""
    else:
        message = _IN_TOML.get(kind, message)
        what = f"{key}: {message.removeprefix('Value error, ')}"
        fix = ""
    return InputError(what, where=place(declaration, key), fix=fix)


def _path(data: Any, loc: tuple[int | str, ...], *, is_missing: bool) -> list[str]:
    """Return pydantic's path to a value without the tags of unions, which no file has."""
    path: list[str] = []
    for n, part in enumerate(loc):
        known = (
            part in data
            if isinstance(data, Mapping)
            else isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        )
        if known:
            data = data[part]
        elif not (is_missing and n == len(loc) - 1):
            continue
        path.append(str(part))
    return path


def _siblings(data: Any, path: list[str]) -> list[str]:
    """Return the keys that are known where one is unknown."""
    kind: Any = Recipe
    for part in path[:-1]:
        data = data[int(part)] if isinstance(data, list | tuple) else data[part]
        kind = _inner(kind, part, data)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    return [name for name in kind.model_fields if kind is not Recipe or name != "name"]


def _inner(kind: Any, part: str, value: Any) -> Any:
    """Return the type of a part of a type: of a model's field, of an item of a list or table."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(part)
        return _plain(field.annotation, value) if field else None
    inside = get_args(kind)
    if not inside:
        return None
    return _plain(inside[1] if get_origin(kind) is dict else inside[0], value)


def _plain(kind: Any, value: Any) -> Any:
    """Return the member of a union that a value is meant for, without what is noted beside it."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0], value)
    if get_origin(kind) not in (Union, UnionType):
        return kind
    members = [_plain(each, value) for each in get_args(kind)]
    if isinstance(value, Mapping):
        checks_kind = checks.model_of(value)
        if checks_kind in members:
            return checks_kind
        return next(
            (
                each
                for each in members
                if get_origin(each) is dict
                or (isinstance(each, type) and issubclass(each, BaseModel))
            ),
            None,
        )
    return next((each for each in members if get_origin(each) is tuple), None)


def place(declaration: Declaration, key: str) -> Location:
    """Return where a key stands, or the nearest key above it that stands in the source."""
    path = key
    while path:
        if path in declaration.origins:
            found = declaration.origins[path]
            return Location(file=found.file, line=found.line, key=key)
        path = path.rpartition(".")[0]
    return Location(file=declaration.origin.file, line=declaration.origin.line, key=key)
