"""Why an image is affected: which changed path, and how it comes into the image."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

from imagebuilder.changes.git import Moved
from imagebuilder.changes.reach import KICKSTARTS, LOCK, RECIPES, is_part
from imagebuilder.changes.rendered import Rendered
from imagebuilder.checks import ScriptCheck
from imagebuilder.errors import Location
from imagebuilder.merge import Node
from imagebuilder.names import PROJECT_FILE
from imagebuilder.recipe import SHIPPED

_SETTINGS = ("secrets", "locked", "snapshot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A changed path, and its way into an image.

    Attributes:
        path: below the project's folder.
        kind: ``added``, ``deleted`` or ``modified``.
        before: what it was called before, if it was renamed; else "".
        keys: of a recipe or the project file, the keys that differ, as ``kernel.args``.
        via: what brings it in, the nearest first: files and perhaps their lines.
    """

    path: str
    kind: str = "modified"
    before: str = ""
    keys: tuple[str, ...] = ()
    via: tuple[Location, ...] = ()

    def __str__(self) -> str:
        """Return it in words."""
        keys = f" ({', '.join(self.keys)})" if self.keys else ""
        was = f", {self.before} before" if self.before else ""
        gone = f", {self.kind}" if self.kind != "modified" and not self.before else ""
        by = "".join(f", {_how(self.path, each)} {each.file}" for each in self.via)
        return f"{self.path}{keys}{was}{gone}{by}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "path": self.path,
            "kind": self.kind,
            "before": self.before,
            "keys": list(self.keys),
            "via": [each.to_dict() for each in self.via],
            "text": str(self),
        }


def _how(path: str, where: Location) -> str:
    if not where.file.startswith(RECIPES):
        return "included by"
    if path.startswith(RECIPES):
        return "extended by"
    if (where.key or "").startswith("checks."):
        return "run by"
    return "named by" if path.startswith(KICKSTARTS) else "copied by"


@dataclass(frozen=True, kw_only=True)
class Both:
    """A recipe before and after; one of them may not be there."""

    old: Rendered | None
    new: Rendered | None

    @cached_property
    def sides(self) -> tuple[Rendered, ...]:
        """Those that are there, the later first."""
        return tuple(each for each in (self.new, self.old) if each)

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """The keys of the recipe whose values differ, each with the file that set it."""
        return _differing(*(_tree(each) for each in (self.old, self.new)))

    @cached_property
    def lineages(self) -> tuple[tuple[str, ...], ...]:
        """What the recipe is made of, before and after."""
        return tuple(each.resolved.lineage for each in self.sides if each.resolved)

    @cached_property
    def chains(self) -> tuple[list[str], ...]:
        """The recipe files that it is made of, after and before; once if they are the same."""
        found: list[list[str]] = []
        known: list[Node] = []
        for each in self.sides:
            if each.resolved and not any(each.resolved.tree is tree for tree in known):
                known.append(each.resolved.tree)
                found.append(_files(each))
        return tuple(found)

    @cached_property
    def ways(self) -> tuple[Mapping[str, tuple[Location, ...]], ...]:
        """How each fragment comes in, after and before."""
        return tuple(each.ways() for each in self.sides)

    @cached_property
    def known(self) -> frozenset[str]:
        """All recipe files and fragments that either side is made of."""
        return frozenset(chain.from_iterable((*self.chains, *self.ways)))

    @property
    def is_wrong(self) -> bool:
        """Whether something is wrong with either side."""
        return any(each.error for each in self.sides)


def find(name: str, both: Both, moved: Sequence[Moved]) -> tuple[Reason, ...]:
    """Return the reasons why a recipe's image is affected.

    Args:
        name: the recipe.
        both: what it comes to, before and after.
        moved: all that changed.
    """
    looks = (_of_fragment, _of_recipe, _of_lock, _of_settings, _of_copied, _of_script)
    found = [
        reason
        for each in (moved if both.is_wrong else _near(name, both, moved))
        for look in looks
        if (reason := look(name, both, each, moved)) is not None
    ]
    return tuple(found)


def _near(name: str, both: Both, moved: Sequence[Moved]) -> list[Moved]:
    """Return what may concern a recipe: a look at all takes long where much has changed."""
    own = {f"{RECIPES}{name}.toml", f"{RECIPES}{name}{LOCK}", PROJECT_FILE}
    return [
        each
        for each in moved
        if not each.path.startswith((RECIPES, KICKSTARTS))
        or not {each.path, each.before}.isdisjoint(both.known | own)
    ]


def is_copied(both: Both, each: Moved) -> Location | None:
    """Return the entry of a recipe that copies a path, or None."""
    for side in both.sides:
        for n, names in enumerate(side.sources):
            if any(
                known == "." or is_part(path, known)
                for known in names
                for path in (each.path, each.before)
                if path
            ):
                assert side.resolved
                return side.resolved.place(f"files.{n}")
    return None


def is_script(both: Both, each: Moved) -> Location | None:
    """Return the check of a recipe that runs a path in the guest, or None."""
    for side in both.sides:
        for n, check in enumerate(side.resolved.recipe.checks if side.resolved else ()):
            if isinstance(check, ScriptCheck) and check.script in (each.path, each.before):
                assert side.resolved
                return side.resolved.place(f"checks.{n}")
    return None


def is_lock(name: str, both: Both, path: str) -> bool:
    """Return whether a path is the lock file that the recipe is built by."""
    return path == f"{RECIPES}{name}{LOCK}" and any(
        side.parts.get("locked", False) for side in both.sides
    )


def _of_fragment(_name: str, both: Both, each: Moved, _moved: object) -> Reason | None:
    if not each.path.startswith(KICKSTARTS):
        return None
    if both.old and both.new and not both.is_wrong:
        before = _given(both.old, each.before or each.path)
        after = _given(both.new, each.path)
        if before == after:
            return None
    for ways in both.ways:
        way = ways.get(each.path)
        if way is not None:
            # How the last of them came in is said by the recipe's own line.
            return _reason(each, via=tuple(reversed(way)))
    if both.is_wrong:
        return _reason(each)
    return None


def _given(side: Rendered, file: str) -> list[tuple[str, ...]]:
    """Return what a file gives to a kickstart: its lines, and what it includes."""
    found: list[tuple[str, ...]] = []
    for block in side.lines.blocks if side.lines else ():
        way = [*(each.file for each in block.via), block.file]
        if block.file == file:
            found.append(("lines", *block.texts))
        for here, there in pairwise(way):
            if here == file and (not found or found[-1] != ("include", there)):
                found.append(("include", there))
    return found


def _of_recipe(name: str, both: Both, each: Moved, moved: Sequence[Moved]) -> Reason | None:
    if not (each.path.startswith(RECIPES) and each.path.endswith(".toml")):
        return None
    stem = each.path.removeprefix(RECIPES).removesuffix(".toml")
    here = [files for files in both.chains if each.path in files or each.before in files]
    if not here:
        return _reason(each) if stem == name or both.is_wrong else None
    changed = both.keys
    paths = {path for other in moved for path in (other.path, other.before)}
    keys = {key for key, file in changed.items() if file in (each.path, each.before)}
    files = here[0]
    # What a parent gave is taken out or replaced below it: by the last of those that changed.
    if [file for file in files if file in paths][-1] in (each.path, each.before):
        keys |= {key for key, file in changed.items() if file not in paths}
    lineages = both.lineages
    if len(lineages) == 2 and lineages[0] != lineages[1] and not each.before:
        keys.add("extends")
    if both.old and both.new and not keys and not both.is_wrong:
        return None
    place = files.index(each.path if each.path in files else each.before)
    via = tuple(Location(file=file) for file in files[place + 1 :])
    return _reason(each, keys=tuple(sorted(keys)) if both.old and both.new else (), via=via)


def _files(side: Rendered) -> list[str]:
    """Return the files that a recipe is made of, the most basic first."""
    assert side.resolved
    tree = side.resolved.tree
    # One that comes with imagebuilder is shown without the name before its own.
    named = [f"{RECIPES}{name.removeprefix(SHIPPED)}.toml" for name in side.resolved.lineage]
    # A variant has the file of its matrix.
    seen = {node.where.file for _, node in tree.walk()}
    own = [file for file in seen if file not in named and file.startswith(RECIPES)]
    return [*named[:-1], *own, *named[-1:]] if own else named


def _of_lock(name: str, both: Both, each: Moved, _moved: object) -> Reason | None:
    return _reason(each) if is_lock(name, both, each.path) else None


def _of_settings(_name: str, both: Both, each: Moved, _moved: object) -> Reason | None:
    if each.path != PROJECT_FILE:
        return None
    if not (both.old and both.new):
        return None
    keys = [key for key in _SETTINGS if both.old.parts.get(key) != both.new.parts.get(key)]
    if both.old.mirrors != both.new.mirrors and both.new.resolved:
        keys.append(f"mirrors.{both.new.resolved.distro.id}")
    if both.old.text != both.new.text:
        plain = [side.resolved.project.settings.plain for side in both.sides if side.resolved]
        keys += ["plain"] if plain[:1] != plain[1:] else []
    return _reason(each, keys=tuple(keys)) if keys else None


def _of_copied(_name: str, both: Both, each: Moved, _moved: object) -> Reason | None:
    where = is_copied(both, each)
    return _reason(each, via=(where,)) if where else None


def _of_script(_name: str, both: Both, each: Moved, _moved: object) -> Reason | None:
    where = is_script(both, each)
    return _reason(each, via=(where,)) if where else None


def _reason(each: Moved, *, keys: Collection[str] = (), via: tuple[Location, ...] = ()) -> Reason:
    return Reason(path=each.path, kind=each.kind, before=each.before, keys=tuple(keys), via=via)


def _tree(side: Rendered | None) -> Node | None:
    return side.resolved.tree if side and side.resolved else None


def _differing(old: Node | None, new: Node | None) -> dict[str, str]:
    """Return the keys whose values differ, each with the file that gave the later value."""
    found: dict[str, str] = {}
    if old is None or new is None:
        return found
    for key, before, after in _pairs(old, new, ""):
        node = after or before
        assert node
        if before and after and before.plain() == after.plain():
            continue
        found[key] = _latest(before, after)
    return found


def _pairs(old: Node, new: Node, path: str) -> Iterator[tuple[str, Node | None, Node | None]]:
    """Give each key of two tables: lists and single values as a whole, tables key by key."""
    for key in dict.fromkeys([*old.value, *new.value]):
        before, after = old.value.get(key), new.value.get(key)
        full = f"{path}.{key}" if path else str(key)
        if before and after and before.is_table and after.is_table:
            yield from _pairs(before, after, full)
        else:
            yield full, before, after


def _latest(before: Node | None, after: Node | None) -> str:
    """Return the file that made the difference: that of the first item that is other."""
    if before and after and before.is_list and after.is_list:
        had = [each.plain() for each in before.value]
        has = [each.plain() for each in after.value]
        for value, node in zip(has, after.value, strict=True):
            if value not in had:
                return str(node.where.file)
        for value, node in zip(had, before.value, strict=True):
            if value not in has:
                return str(node.where.file)
    node = after or before
    assert node
    return str(node.where.file)
