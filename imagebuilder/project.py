"""Project: a folder of recipes and kickstarts; finds, lists and resolves recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuilder import declaration, distro, params, secrets, shipped
from imagebuilder.checks import Check
from imagebuilder.checks.needs import wrong_needs
from imagebuilder.checks.scripts import load_scripts
from imagebuilder.declaration import Declaration
from imagebuilder.errors import InputError, Location, joined, listed
from imagebuilder.family import Family, Member
from imagebuilder.merge import Node
from imagebuilder.names import PROJECT_FILE
from imagebuilder.progress import Cancel
from imagebuilder.recipe import Recipe, SecretSource, Waiver
from imagebuilder.rendering import Rendering
from imagebuilder.settings import ProjectFile, read_settings
from imagebuilder.smoke_options import wrong_rack
from imagebuilder.steady import once
from imagebuilder.toml_lines import key_lines

# Where the strings of a recipe are templates.
RENDERED = ("kickstarts", "packages", "kernel", "preseed", "files", "smoke", "checks")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRecipe:
    """A recipe merged with its parents, its templates rendered.

    Attributes:
        recipe: the whole recipe; ``extends`` and ``matrix`` are None.
        distro: what its ``distro`` names.
        values: the variables of its templates.
        tree: all values as they were declared, with the places that gave them.
        lineage: the recipes that it was made of, the most basic first, itself last.
        matrix: the values of the matrix that it is one variant of.
        project: the project that it belongs to.
    """

    recipe: Recipe
    distro: distro.Distro
    values: Mapping[str, Any]
    tree: Node
    lineage: tuple[str, ...]
    matrix: Mapping[str, str]
    project: Project

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def snapshot(self) -> str:
        """The moment at which packages are taken, or "" for what the mirrors have now."""
        own = self.recipe.snapshot
        return self.project.settings.snapshot if own is None else own

    @property
    def is_locked(self) -> bool:
        """Whether it is built by its lock file if nobody says otherwise."""
        own = self.recipe.locked
        return self.project.settings.locked if own is None else own

    def place(self, key: str) -> Location:
        """Return where a key was set, such as ``kernel.args.1``; or the nearest key above it."""
        return _place(self.tree, key, self.name)

    def checks(self) -> tuple[Check, ...]:
        """Return the recipe's checks, those that run a script of the project with its bytes.

        Raises:
            InputError: a script is not there, or cannot be carried; with its place.
        """
        return load_scripts(self.recipe.checks, self.project.root, self.place)

    @property
    def check_waivers(self) -> tuple[Waiver, ...]:
        """The recipe's waivers of checks."""
        return tuple(each for each in self.recipe.waivers if each.check)

    def secret_source(self, name: str) -> tuple[SecretSource, Location | None]:
        """Return where a secret comes from, and the place that says so.

        That is in the recipe or one of its parents, else in the project file; if neither says
        anything there is no such place, and it is an environment variable.
        """
        if name in self.recipe.secrets:
            return self.recipe.secrets[name], self.place(f"secrets.{name}")
        if name in self.project.settings.secrets:
            return self.project.settings.secrets[name], self.project.place(f"secrets.{name}")
        return secrets.standard(name), None

    def vault(self, cancel: Cancel | None = None) -> secrets.Vault:
        """Return the secrets of the recipe; nothing is looked up yet."""
        return secrets.Vault(
            sources={**self.project.settings.secrets, **self.recipe.secrets},
            root=self.project.root,
            cancel=cancel,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder with ``recipes/``, ``kickstarts/`` and perhaps ``imagebuilder.toml``."""

    root: Path
    settings: ProjectFile
    _family: Family = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        family = Family(own=self.root / "recipes", shipped=shipped.folder("recipes"))
        object.__setattr__(self, "_family", family)

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
        return cls(root=folder, settings=read_settings(folder / PROJECT_FILE))

    def place(self, key: str) -> Location:
        """Return where a key stands in the project file, such as ``secrets.rootpw``."""
        try:
            lines = key_lines((self.root / PROJECT_FILE).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):  # it has changed since it was read
            lines = {}
        return Location(file=PROJECT_FILE, line=lines.get(key), key=key)

    @property
    def build_dir(self) -> Path:
        """Where this project's images are made."""
        return self.root / "build"

    def names(self, *, abstract: bool = False) -> tuple[str, ...]:
        """Return the names of all recipes, sorted; for one with a matrix those of its variants.

        Args:
            abstract: whether recipes that are only there to be extended are wanted too.

        Raises:
            InputError: a file has a name that no recipe can have, or two recipes have one name.
        """
        return self._family.names(abstract=abstract)

    def select(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Return the recipes that names stand for: each itself, or all variants of its matrix.

        Raises:
            InputError: there is no recipe of a name, or it is wrong.
        """
        found: dict[str, None] = {}
        for name in wanted:
            if self._family.has_file(name):
                found.update(dict.fromkeys(self._family.variants(name) or (name,)))
            else:
                found[self._family.find(name).name] = None
        return tuple(found)

    def fragment_dirs(self) -> tuple[Path, ...]:
        """Return the folders that fragments are looked for in: the project's, then our own."""
        both = (self.root / "kickstarts", shipped.folder("kickstarts"))
        return once(
            ("fragment folders", self.root),
            lambda: tuple(path for path in dict.fromkeys(both) if path.is_dir()),
        )

    def declaration(self, name: str, where: Location | None = None) -> Declaration:
        """Read the recipe of that name as its file declares it.

        Raises:
            InputError: there is none (``where`` is the place that named it), or it is wrong.
        """
        return self._family.read(name, where)

    def resolve(self, wanted: str | Recipe) -> ResolvedRecipe:
        """Return a recipe, by name or made in Python, merged with all that it extends.

        How they are merged stands in :mod:`imagebuilder.merge`.

        Raises:
            InputError: a recipe is missing or wrong, or they extend each other in a circle.
        """
        if isinstance(wanted, Recipe):
            member = self._family.adopt(declaration.declare(wanted))
        else:
            member = self._family.find(wanted)
        return self._resolved(member)

    def _resolved(self, member: Member) -> ResolvedRecipe:
        tree = _with_defaults(member)
        data = {key: each.plain() for key, each in tree.value.items() if key != "checks"}
        if member.is_abstract:
            data["abstract"] = True
        source = Declaration(
            name=member.name,
            data=data,
            origins=_Origins(tree, member.name),
            origin=member.declaration.origin,
        )
        if not data.get("distro"):
            raise InputError(
                "the recipe names no distro",
                where=member.declaration.origin,
                fix=f'add: distro = "{distro.names()[0]}"',
            )
        found = distro.find(data["distro"], _place(tree, "distro", member.name))
        matrix = dict(member.variant.values) if member.variant else {}
        values = template_values(
            member.name,
            found,
            data.get("params", {}),
            arch=data.get("arch", "x86_64"),
            matrix=matrix,
        )
        rendering = Rendering(values)
        for key in RENDERED:
            if key == "checks" and key in tree.value:
                data[key] = rendering.checks(tree.value[key])
            elif key in data and tree.value[key].has_template:
                data[key] = rendering.value(tree.value[key], key)
        recipe = declaration.validate(source)
        _check_params(recipe, tree, is_abstract=member.is_abstract)
        _check_needs(recipe, tree, is_abstract=member.is_abstract)
        _check_rack(recipe, tree)
        return ResolvedRecipe(
            recipe=recipe,
            distro=found,
            values=values,
            tree=tree,
            lineage=member.lineage,
            matrix=matrix,
            project=self,
        )


class _Origins(Mapping[str, Location]):
    """Where each key of a tree stands, looked up only if something is wrong with it."""

    def __init__(self, tree: Node, name: str) -> None:
        self._tree = tree
        self._name = name

    def __getitem__(self, key: str) -> Location:
        found = self._tree.find(key)
        if found is None:
            raise KeyError(key)
        return found.where

    def __iter__(self) -> Any:
        return (path for path, _ in self._tree.walk() if path)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def template_values(
    name: str,
    found: distro.Distro,
    given: Mapping[str, Any],
    *,
    arch: distro.Arch = "x86_64",
    matrix: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the variables that a recipe's templates can use: its params, and the standing ones."""
    standing: dict[str, Any] = {
        "recipe": name,
        "arch": arch,
        "matrix": matrix or {},
        "secret": secrets.reference,
        "distro": {
            "id": found.id,
            "family": found.family,
            "name": found.name,
            "version": found.version,
            "major": found.major,
            "suite": found.suite,
            "arch": found.package_arch(arch),
            "package_manager": found.package_manager,
        },
    }
    return {**standing, **given}


def _with_defaults(member: Member) -> Node:
    """Return the values of a recipe, with the defaults of params that nothing sets."""
    tree = member.tree
    declared: Node | None = tree.value.get("declare")
    if declared is None:
        return tree
    given: Node = tree.value.get("params") or Node({}, declared.where)
    defaults = {
        name: each.value["default"]
        for name, each in declared.value.items()
        if each.is_table and "default" in each.value and name not in given.value
    }
    if not defaults:
        return tree
    filled = Node({**given.value, **defaults}, given.where, given.earlier)
    return Node({**tree.value, "params": filled}, tree.where, tree.earlier)


def _check_params(recipe: Recipe, tree: Node, *, is_abstract: bool) -> None:
    found = params.problems(recipe.declare, recipe.params)
    if is_abstract:  # a child gives what is missing
        found = {name: text for name, text in found.items() if name in recipe.params}
    if found:
        raise joined(
            [
                InputError(
                    f"param {name!r} {text}",
                    where=_place(
                        tree,
                        f"params.{name}" if name in recipe.params else f"declare.{name}",
                        recipe.name,
                    ),
                    fix=recipe.declare[name].description,
                )
                for name, text in found.items()
            ]
        )


def _check_rack(recipe: Recipe, tree: Node) -> None:
    wrong = wrong_rack(recipe.smoke)
    if wrong:
        key = f"smoke.{wrong.key}"
        raise InputError(f"{key}: {wrong.why}", where=_place(tree, key, recipe.name), fix=wrong.fix)


def _check_needs(recipe: Recipe, tree: Node, *, is_abstract: bool) -> None:
    wrong = wrong_needs(recipe.checks)
    if wrong and not is_abstract:  # a child may add what is needed
        known = dict.fromkeys(name for each in recipe.checks for name in (each.title, each.group))
        raise joined(
            [
                InputError(
                    f"checks.{each.check}.needs: {each.why}",
                    where=_place(tree, f"checks.{each.check}.needs.{each.need}", recipe.name),
                    fix=f"known are: {listed([name for name in known if name], limit=12)}",
                )
                for each in wrong
            ]
        )


def _place(tree: Node, key: str, name: str) -> Location:
    path = key
    while path:
        found = tree.find(path)
        if found:
            return Location(file=found.where.file, line=found.where.line, key=key)
        path = path.rpartition(".")[0]
    return Location(file=f"recipes/{name}.toml", key=key)
