"""Project: a folder of recipes and kickstarts; finds, lists and resolves recipes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic import ValidationError as PydanticError

from imagebuilder import distro, recipe, template
from imagebuilder.errors import InputError, Location
from imagebuilder.policies import ChannelPolicy, Retention
from imagebuilder.recipe import Declaration, Recipe
from imagebuilder.toml_lines import error_line, key_lines

PROJECT_FILE = "imagebuilder.toml"
_DEPTH_LIMIT = 32  # recipes that extend one another


class ProjectFile(BaseModel):
    """``imagebuilder.toml``: what holds for all recipes of a project.  It need not exist."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: str = Field(default="", description="where publish puts releases by default, a URL")
    channel: str = Field(default="testing", description="the channel that publish moves by default")
    mirrors: dict[str, list[str]] = Field(
        default_factory=dict,
        description="for a distro, lines of an apt sources.list that are used in place of the "
        "host's own",
    )
    retention: Retention = Field(
        default_factory=Retention, description="which releases catalog gc keeps"
    )
    channels: dict[str, ChannelPolicy] = Field(
        default_factory=dict, description="for a channel, what may be promoted to it"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRecipe:
    """A recipe merged with its parents, its templates rendered.

    Attributes:
        recipe: the whole recipe; ``extends`` is None.
        distro: what its ``distro`` names.
        origins: where each key was set: ``kernel.args.1`` → the file and line.
        lineage: the recipes that it was made of, the most basic first, itself last.
        project: the project that it belongs to.
    """

    recipe: Recipe
    distro: distro.Distro
    origins: Mapping[str, Location]
    lineage: tuple[str, ...]
    project: Project

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    def place(self, key: str) -> Location:
        """Return where a key was set."""
        return self.origins.get(key, Location(file=f"recipes/{self.name}.toml", key=key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder with ``recipes/``, ``kickstarts/`` and perhaps ``imagebuilder.toml``."""

    root: Path
    settings: ProjectFile

    @classmethod
    def open(cls, root: Path | str = ".") -> Project:
        """Open the project in a folder.

        Raises:
            InputError: there is none, or its project file is wrong.
        """
        folder = Path(root).absolute()
        if not (folder / "recipes").is_dir():
            raise InputError(
                f"{folder} is not a project: it has no folder recipes/",
                fix="name the project's folder with -C DIR",
            )
        return cls(root=folder, settings=_read_settings(folder / PROJECT_FILE))

    @property
    def build_dir(self) -> Path:
        """Where this project's images are made."""
        return self.root / "build"

    def names(self) -> tuple[str, ...]:
        """Return the names of all recipes, sorted.

        Raises:
            InputError: a file in ``recipes/`` has a name that no recipe can have.
        """
        return tuple(
            recipe.check_name(path.stem, Location(file=f"recipes/{path.name}"))
            for path in sorted((self.root / "recipes").glob("*.toml"))
        )

    def fragment_dirs(self) -> tuple[Path, ...]:
        """Return the folders that fragments are looked for in: the project's, then our own."""
        own = Path(__file__).parent / "kickstarts"
        return tuple(path for path in (self.root / "kickstarts", own) if path.is_dir())

    def declaration(self, name: str, where: Location | None = None) -> Declaration:
        """Read the recipe of that name as its file declares it.

        Raises:
            InputError: there is none (``where`` is the place that named it), or it is wrong.
        """
        recipe.check_name(name, where)
        path = self.root / "recipes" / f"{name}.toml"
        if not path.is_file():
            known = ", ".join(self.names()) or "none"
            raise InputError(f"there is no recipe {name!r}", where=where, fix=f"known are: {known}")
        return recipe.read(path, f"recipes/{name}.toml")

    def resolve(self, wanted: str | Recipe) -> ResolvedRecipe:
        """Return a recipe, by name or made in Python, merged with all that it extends.

        A child's scalars replace its parent's, tables merge key by key, and lists are added
        after the parent's.

        Raises:
            InputError: a recipe is missing or wrong, or they extend each other in a circle.
        """
        if isinstance(wanted, Recipe):
            declaration = recipe.declare(wanted)
        else:
            declaration = self.declaration(wanted)
        chain = [declaration]
        while parent := chain[-1].data.get("extends"):
            where = recipe.place(chain[-1], "extends")
            if any(parent == each.name for each in chain) or len(chain) >= _DEPTH_LIMIT:
                circle = " → ".join([*(each.name for each in chain), parent])
                raise InputError(f"recipes extend each other in a circle: {circle}", where=where)
            chain.append(self.declaration(parent, where))
        data: dict[str, Any] = {}
        origins: dict[str, Location] = {}
        for each in reversed(chain):
            _merge(data, each.data, "", each, origins)
        data.pop("extends", None)
        merged = Declaration(
            name=declaration.name, data=data, origins=origins, origin=declaration.origin
        )
        if not data.get("distro"):
            raise InputError(
                "the recipe names no distro",
                where=declaration.origin,
                fix=f'add: distro = "{distro.names()[0]}"',
            )
        found = distro.find(data["distro"], recipe.place(merged, "distro"))
        values = template_values(declaration.name, found, data.get("params", {}))
        rendered = Declaration(
            name=merged.name,
            data={
                key: _rendered(value, key, values, merged) if key in ("kernel", "checks") else value
                for key, value in data.items()
            },
            origins=origins,
            origin=merged.origin,
        )
        return ResolvedRecipe(
            recipe=recipe.validate(rendered),
            distro=found,
            origins=origins,
            lineage=tuple(each.name for each in reversed(chain)),
            project=self,
        )


def template_values(name: str, found: distro.Distro, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that a recipe's templates can use: its params, and the standing ones."""
    standing = {
        "recipe": name,
        "distro": {
            "id": found.id,
            "family": found.family,
            "name": found.name,
            "version": found.version,
            "suite": found.suite,
        },
    }
    return {**standing, **params}


def _merge(
    into: dict[str, Any],
    data: Mapping[str, Any],
    prefix: str,
    source: Declaration,
    origins: dict[str, Location],
) -> None:
    for key, value in data.items():
        path = f"{prefix}{key}"
        offset = 0
        if isinstance(value, Mapping) and isinstance(into.get(key, {}), Mapping):
            into[key] = dict(into.get(key, {}))
            _merge(into[key], value, f"{path}.", source, origins)
        elif isinstance(value, list | tuple) and isinstance(into.get(key, []), list):
            offset = len(into.get(key, []))
            into[key] = [*into.get(key, []), *value]
        else:
            into[key] = value
        origins[path] = recipe.place(source, path)
        if isinstance(value, list | tuple):
            for n, item in enumerate(value):
                found = recipe.place(source, f"{path}.{n}")
                origins[f"{path}.{offset + n}"] = found
                if isinstance(item, Mapping):
                    for name in item:
                        origins[f"{path}.{offset + n}.{name}"] = recipe.place(
                            source, f"{path}.{n}.{name}"
                        )


def _rendered(value: Any, path: str, values: Mapping[str, Any], source: Declaration) -> Any:
    if isinstance(value, str):
        return template.render_value(value, values, recipe.place(source, path))
    if isinstance(value, Mapping):
        return {
            key: _rendered(each, f"{path}.{key}", values, source) for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_rendered(each, f"{path}.{n}", values, source) for n, each in enumerate(value)]
    return value


def _read_settings(path: Path) -> ProjectFile:
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        return ProjectFile()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"cannot be read: {error}",
            where=Location(file=PROJECT_FILE, line=error_line(error, text)),
        ) from error
    try:
        return ProjectFile.model_validate(data)
    except PydanticError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{key}: {first['msg']}",
            where=Location(file=PROJECT_FILE, line=key_lines(text).get(key), key=key),
            fix=f"known keys are: {', '.join(ProjectFile.model_fields)}",
        ) from error
