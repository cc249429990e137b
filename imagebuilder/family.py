"""The recipes of a project: found, merged with their parents, expanded to their variants."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagebuilder import declaration, matrix, merge
from imagebuilder.declaration import Declaration
from imagebuilder.errors import InputError, Location, listed
from imagebuilder.matrix import Variant
from imagebuilder.merge import Node
from imagebuilder.names import check_name
from imagebuilder.recipe import SHIPPED
from imagebuilder.steady import seen

_SUFFIX = ".toml"
_DEPTH_LIMIT = 32  # recipes that extend one another


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A recipe merged with its parents; its templates are not rendered yet.

    Attributes:
        name: its name.
        declaration: what its own file says.
        tree: all of its values, without what is not handed down.
        lineage: the recipes that it was made of, the most basic first, itself last.
        variant: the values of its matrix, if it is one of several.
    """

    name: str
    declaration: Declaration
    tree: Node
    lineage: tuple[str, ...]
    variant: Variant | None = None

    @property
    def is_abstract(self) -> bool:
        """Whether it is only there to be extended."""
        return bool(self.declaration.data.get("abstract", False))


_Stamp = tuple[int, int, int]
_Listing = frozenset[tuple[str, _Stamp]]


@dataclass(frozen=True, slots=True)
class _Merged:
    """A recipe file merged with its parents, its variants, and the files it was made of."""

    member: Member
    variants: dict[str, Variant]
    stamps: dict[Path, _Stamp]


@dataclass(frozen=True, slots=True)
class Family:
    """The recipes below a folder, and those that come with imagebuilder.

    What was read is remembered for as long as the files are the same.

    Attributes:
        own: the folder of the project's recipes.
        shipped: the folder of the recipes that come with imagebuilder.
    """

    own: Path
    shipped: Path
    _read: dict[Path, tuple[_Stamp, Declaration]] = field(default_factory=dict, repr=False)
    _merged: dict[Path, _Merged] = field(default_factory=dict, repr=False)
    # Which file a variant is of: a hint that saves a search, and may be out of date.
    _homes: dict[str, str] = field(default_factory=dict, repr=False)
    # Names that no file stood for, each with what the files were then.
    _absent: dict[str, _Listing] = field(default_factory=dict, repr=False)
    # The threads that try files one by one: what these ask for is then not searched in turn.
    _trying: set[int] = field(default_factory=set, repr=False)

    def files(self) -> tuple[str, ...]:
        """Return the names of all recipe files of the project, sorted.

        Raises:
            InputError: a file has a name that no recipe can have.
        """
        looked, key = seen(), ("recipe files", self.own)
        if looked is not None and key in looked:
            known: tuple[str, ...] = looked[key]
            return known
        found = tuple(
            check_name(name.removesuffix(_SUFFIX), Location(file=f"recipes/{name}"))
            for name in sorted(name for name, _ in self._listed())
        )
        if looked is not None:
            looked[key] = found
        return found

    def _listed(self) -> _Listing:
        looked, key = seen(), ("recipe listing", self.own)
        if looked is None:
            return frozenset(_listing(self.own))
        if key not in looked:
            looked[key] = frozenset(_listing(self.own))
        known: _Listing = looked[key]
        return known

    def names(self, *, abstract: bool = False) -> tuple[str, ...]:
        """Return the names of all recipes, sorted; for one with a matrix those of its variants.

        Those of recipes that are wrong are among them.

        Args:
            abstract: whether recipes that are only there to be extended are wanted too.

        Raises:
            InputError: a file has a name that no recipe can have, or two recipes have one name.
        """
        found: dict[str, str] = {}
        for name in self.files():
            try:
                merged = self._file(name, None, ())
            except InputError:
                names: tuple[str, ...] = (name,)
            else:
                if merged.member.is_abstract and not abstract:
                    continue
                names = tuple(merged.variants) or (name,)
            for each in names:
                if each in found:
                    raise InputError(
                        f"two recipes are called {each!r}: one of recipes/{found[each]}.toml, "
                        f"and one of recipes/{name}.toml",
                        where=Location(file=f"recipes/{name}.toml"),
                        fix="rename one, or give the matrix a name of its own",
                    )
                found[each] = name
        self._homes.update(found)
        return tuple(sorted(found))

    def variants(self, name: str) -> tuple[str, ...]:
        """Return the names of the variants of a recipe file with a matrix; else none.

        Raises:
            InputError: there is no such file, or it is wrong.
        """
        found = self._file(name, None, ()).variants
        self._homes.update(dict.fromkeys(found, name))
        return tuple(found)

    def has_file(self, name: str) -> bool:
        """Return whether the project has a recipe file of that name."""
        try:
            # If it is no file, that is said when it is read.
            return (self.own / f"{name}.toml").exists()
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return False

    def read(self, name: str, where: Location | None = None) -> Declaration:
        """Return what a recipe file says.

        Args:
            name: the recipe's name; with ``imagebuilder/`` before it one that comes along.
            where: the place that named it.

        Raises:
            InputError: there is none, or it is wrong.
        """
        return self._declaration(self._path(name, where), name, where)

    def find(self, name: str, where: Location | None = None) -> Member:
        """Return the recipe of that name; see :meth:`read`.

        Raises:
            InputError: there is none, it or a parent is wrong, or it stands for several variants.
        """
        if name.startswith(SHIPPED) or self.has_file(check_name(name, where)):
            merged = self._file(name, where, ())
            return _single(merged.member, merged.variants, where)
        return self._variant(name, where, ())

    def adopt(self, source: Declaration) -> Member:
        """Return a recipe that was made in Python, merged with its parents.

        Raises:
            InputError: it or a parent is wrong, or it stands for several variants.
        """
        member, _ = self._merge(source, source.name, ())
        return _single(member, _variants(member), None)

    def _file(self, name: str, where: Location | None, below: tuple[str, ...]) -> _Merged:
        path = self._path(name, where)
        known = self._merged.get(path)
        if known and _is_current(known, path):
            return known
        source = self._declaration(path, name, where)
        member, stamps = self._merge(source, name, below)
        merged = _Merged(member, _variants(member), {path: self._read[path][0], **stamps})
        self._merged[path] = merged
        return merged

    def _variant(self, name: str, where: Location | None, below: tuple[str, ...]) -> Member:
        """Return the recipe of that name that a matrix gives."""
        home = self._homes.get(name)
        if home and home not in below:
            merged = self._tried(home, where, below)
            if merged and name in merged.variants:
                return _with_variant(merged.member, merged.variants[name])
        thread = threading.get_ident()
        if thread in self._trying:
            raise InputError(f"there is no recipe {name!r} yet", where=where)  # never said
        listing = self._listed()
        if self._absent.get(name) != listing:
            self._trying.add(thread)
            try:
                merged = self._search(name, where, below)
            finally:
                self._trying.discard(thread)
            if merged:
                return _with_variant(merged.member, merged.variants[name])
            self._absent[name] = listing
        raise self._unknown(name, where)

    def _search(self, name: str, where: Location | None, below: tuple[str, ...]) -> _Merged | None:
        """Return the file that has a variant of that name.

        A file may extend a variant of another that comes later: those that cannot be merged are
        tried again for as long as any other could.  Each round is one look at each file: to look
        for what each of them lacks in turn would take the factorial of their number.
        """
        left = [each for each in self.files() if each not in below]
        while True:
            failed: list[str] = []
            for file in left:
                merged = self._tried(file, where, below)
                if merged is None:
                    failed.append(file)
                    continue
                self._homes.update(dict.fromkeys(merged.variants, file))
                if name in merged.variants:
                    return merged
            if len(failed) == len(left):
                return None
            left = failed

    def _tried(self, file: str, where: Location | None, below: tuple[str, ...]) -> _Merged | None:
        try:
            return self._file(file, where, below) if self.has_file(file) else None
        except InputError:
            return None  # what is wrong with it is said when it is asked for

    def _merge(
        self, source: Declaration, name: str, below: tuple[str, ...]
    ) -> tuple[Member, dict[Path, _Stamp]]:
        """Return a declaration merged with its parents, and the files that these are made of."""
        above = source.data.get("extends")
        if not above:
            tree = merge.merge(Node({}, source.origin), source, source.data)
            return Member(name=name, declaration=source, tree=tree, lineage=(name,)), {}
        where = declaration.place(source, "extends")
        if name.startswith(SHIPPED) and not above.startswith(SHIPPED):
            above = f"{SHIPPED}{above}"
        stack = (*below, name)
        if above in stack or len(stack) > _DEPTH_LIMIT:
            circle = " → ".join([*stack, above])
            raise InputError(f"recipes extend each other in a circle: {circle}", where=where)
        if above.startswith(SHIPPED) or self.has_file(above):
            merged = self._file(above, where, stack)
            parent, stamps = merged.member, merged.stamps
        else:
            parent = self._variant(above, where, stack)
            stamps = self._merged[self._path(self._homes[above], where)].stamps
        tree = merge.merge(parent.tree, source, source.data)
        lineage = (*parent.lineage, name)
        member = Member(
            name=name,
            declaration=source,
            tree=tree,
            lineage=lineage,
            variant=parent.variant,  # its templates ask for the values
        )
        return member, stamps

    def _path(self, name: str, where: Location | None) -> Path:
        plain = check_name(name.removeprefix(SHIPPED), where)
        folder = self.shipped if name.startswith(SHIPPED) else self.own
        return folder / f"{plain}.toml"

    def _declaration(self, path: Path, name: str, where: Location | None) -> Declaration:
        try:
            stamp = _stamp(path)
        except OSError:
            raise self._unknown(name, where) from None
        found = self._read.get(path)
        if not found or found[0] != stamp:
            found = stamp, declaration.read(path, f"recipes/{path.name}")
            self._read[path] = found
        return found[1]

    def _unknown(self, name: str, where: Location | None) -> InputError:
        if name.startswith(SHIPPED):
            known = sorted(each.stem for each in self.shipped.glob("*.toml"))
            what = f"no recipe {name.removeprefix(SHIPPED)!r} comes with imagebuilder"
        else:
            # Not names(): it would come back here for a recipe whose parent is missing.
            known = sorted({*self.files(), *self._homes})
            what = f"there is no recipe {name!r}"
        # Many recipes may lack the same parent, and to find names like it takes a while.
        looked, key = seen(), ("names like", name, tuple(known))
        if looked is None:
            looked = {}
        if key not in looked:
            looked[key] = f"known are: {listed(known, near=name)}"
        return InputError(what, where=where, fix=looked[key])


def _is_current(known: _Merged, path: Path) -> bool:
    """Return whether the files that a recipe is made of are as they were."""
    looked = seen()
    if looked is not None and looked.get(path) is known:
        return True
    if any(_stamp(each) != stamp for each, stamp in known.stamps.items()):
        return False
    if looked is not None:
        looked[path] = known
    return True


def _listing(folder: Path) -> list[tuple[str, _Stamp]]:
    """Return the recipe files of a folder with what differs when they are written to."""
    found: list[tuple[str, _Stamp]] = []
    with suppress(OSError), os.scandir(folder) as entries:  # it may not be there
        for each in entries:
            if each.name.endswith(_SUFFIX):
                with suppress(FileNotFoundError):  # it went meanwhile
                    facts = each.stat(follow_symlinks=False)
                    found.append((each.name, (facts.st_mtime_ns, facts.st_size, facts.st_ino)))
    return found


def _stamp(path: Path) -> _Stamp:
    facts = os.stat(path)  # noqa: PTH116 - a tenth of the time of a thousand recipes
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _variants(member: Member) -> dict[str, Variant]:
    node = member.tree.value.get("matrix")
    if node is None or not node.value:
        return {}
    made = matrix.variants(member.name.removeprefix(SHIPPED), node)
    return {each.name: each for each in made}


def _single(member: Member, variants: Mapping[str, Variant], where: Location | None) -> Member:
    if variants:
        raise InputError(
            f"{member.name!r} has a matrix, and stands for {len(variants)} variants",
            where=where or member.tree.value["matrix"].where,
            fix=f"name one of them: {listed(variants)}",
        )
    return member


def _with_variant(member: Member, variant: Variant) -> Member:
    """Return one of the recipes that a recipe with a matrix stands for."""
    node: Node = member.tree.value["matrix"]
    keys = {key: each for key, each in member.tree.value.items() if key != "matrix"}
    for axis in ("distro", "arch"):
        if axis in variant.values:
            where = matrix.place_of(node, variant, axis)
            keys[axis] = Node(variant.values[axis], where, _before(keys.get(axis), where))
    tree = Node(keys, member.tree.where)
    for path, overlay in matrix.overlays(node, variant):
        source = _source_of(member, overlay, path)
        tree = merge.merge(tree, source, overlay.plain(), path)
    return replace(
        member,
        name=variant.name,
        tree=tree,
        lineage=(*member.lineage[:-1], variant.name),
        variant=variant,
    )


def _before(node: Node | None, where: Location) -> tuple[merge.Setting, ...]:
    return () if node is None else merge.before(node, where)


def _source_of(member: Member, overlay: Node, path: str) -> Declaration:
    """Return a declaration that knows where the values of an overlay stand.

    A matrix may be merged from several recipes: its nodes know their files.
    """
    origins = {key: each.where for key, each in overlay.walk(path)}
    return Declaration(name=member.name, data={}, origins=origins, origin=overlay.where)
