"""How a recipe adds to its parent: the rules, and the memory of where each value came from.

* A scalar replaces the parent's.
* A table merges with the parent's, key by key.
* A list is added after the parent's.
* ``[remove]`` takes items out of the parent's lists, and keys out of its tables.
* ``[replace]`` puts a value in the place of the parent's where it would be added or merged.

Removals come first, then replacements, then what the recipe adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from imagebuilder.checks import KINDS
from imagebuilder.declaration import Declaration, place
from imagebuilder.errors import InputError, Location, joined
from imagebuilder.template import is_template

# Keys that belong to the recipe that has them, and are not handed down.
OWN_KEYS = ("extends", "abstract", "remove", "replace")
# By these keys an item of a list of tables can be named in [remove].
_NAMING = ("name", *KINDS, "path", "code", "check")


@dataclass(frozen=True, slots=True)
class Setting:
    """One place that had a say in a value that does not hold any more.

    Attributes:
        where: the place.
        value: the plain value that it gave.
        ended: the place that took it out or put another in its stead.
        how: what happened to it there.
    """

    where: Location
    value: Any
    ended: Location
    how: Literal["replaced", "removed"]


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a recipe, with where it was set, and what it was before.

    Attributes:
        value: of a table the nodes of its keys, of a list those of its items, else the value.
        where: the place that set it; of a table or list the last that added to it.
        earlier: what it, or an item of it, was before, the oldest first.
        has_template: whether there is a template in it, so that it must be rendered.
    """

    value: Any
    where: Location
    earlier: tuple[Setting, ...] = ()
    has_template: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        value = self.value
        if isinstance(value, str):
            has = is_template(value)
        elif isinstance(value, dict):
            has = any(each.has_template for each in value.values())
        else:
            has = isinstance(value, tuple) and any(each.has_template for each in value)
        object.__setattr__(self, "has_template", has)

    @property
    def is_table(self) -> bool:
        """Whether it has keys."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether it has items."""
        return isinstance(self.value, tuple)

    def plain(self) -> Any:
        """Return the value without the places."""
        if isinstance(self.value, dict):
            return {key: each.plain() for key, each in self.value.items()}
        if isinstance(self.value, tuple):
            return [each.plain() for each in self.value]
        return self.value

    def find(self, path: str) -> Node | None:
        """Return the node of a path such as ``kernel.args.1``, or None."""
        if not path:
            return self
        if isinstance(self.value, tuple):
            head, _, rest = path.partition(".")
            known = head.isdecimal() and len(head) < 10 and int(head) < len(self.value)
            return self.value[int(head)].find(rest) if known else None
        if not isinstance(self.value, dict):
            return None
        # A key may have dots of its own, such as the name of a distro.
        for key, each in self.value.items():
            if path == key:
                return each  # type: ignore[no-any-return]
            if path.startswith(f"{key}."):
                found: Node | None = each.find(path[len(key) + 1 :])
                if found:
                    return found
        return None

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """Give the node and all below it, each with its path."""
        yield path, self
        parts: Iterator[tuple[Any, Node]] = iter(())
        if isinstance(self.value, dict):
            parts = iter(self.value.items())
        elif isinstance(self.value, tuple):
            parts = iter(enumerate(self.value))
        for key, each in parts:
            yield from each.walk(f"{path}.{key}" if path else str(key))


def plant(source: Declaration, data: Mapping[str, Any], prefix: str = "") -> Node:
    """Return the data of a declaration, or of the part of it below a key, as nodes."""
    return _node(source, data, prefix)


def _node(source: Declaration, value: Any, path: str) -> Node:
    below = f"{path}." if path else ""
    if isinstance(value, Mapping):
        value = {key: _node(source, each, f"{below}{key}") for key, each in value.items()}
    elif isinstance(value, list | tuple):
        value = tuple(_node(source, each, f"{below}{n}") for n, each in enumerate(value))
    return Node(value, place(source, path))


def merge(parent: Node, source: Declaration, data: Mapping[str, Any], prefix: str = "") -> Node:
    """Return a parent's values with those of a child added.

    Args:
        parent: the parent's.
        source: the declaration of the child.
        data: the child's values.
        prefix: the key of the declaration below which they stand, "" for all of it.

    Raises:
        InputError: ``remove`` or ``replace`` names what the parent does not have.
    """
    problems: list[InputError] = []
    below = f"{prefix}." if prefix else ""
    made = parent
    if data.get("remove"):
        made = _removed(made, source, data["remove"], f"{below}remove", problems)
    if data.get("replace"):
        made = _replaced(made, source, data["replace"], f"{below}replace", problems)
    if problems:
        raise joined(problems)
    added = {key: value for key, value in data.items() if key not in OWN_KEYS}
    return _added(made, plant(source, added, prefix))


def _added(parent: Node, child: Node) -> Node:
    if parent.is_table and child.is_table:
        keys = dict(parent.value)
        for key, each in child.value.items():
            keys[key] = _added(keys[key], each) if key in keys else each
        return Node(keys, child.where, parent.earlier)
    if parent.is_list and child.is_list:
        return Node((*parent.value, *child.value), child.where, parent.earlier)
    return replace(child, earlier=before(parent, child.where))


def before(node: Node, ended: Location) -> tuple[Setting, ...]:
    """Return what a value was before another takes its place.

    Of a list or table these are its items, each with the place that gave it.

    Args:
        node: the value.
        ended: the place of the other one.
    """
    if node.is_table and node.value:
        parts = ((key, each) for key, inner in node.value.items() for each in before(inner, ended))
        said = tuple(replace(each, value={key: each.value}) for key, each in parts)
    elif node.is_list and node.value:
        said = tuple(Setting(e.where, e.plain(), ended, "replaced") for e in node.value)
    else:
        said = (Setting(node.where, node.plain(), ended, "replaced"),)
    return (*node.earlier, *said)


def _removed(
    node: Node, source: Declaration, wanted: Any, path: str, problems: list[InputError]
) -> Node:
    """Return a node without what a table of ``remove`` takes out of it."""
    where = place(source, path)
    if isinstance(wanted, Mapping):
        if not node.is_table:
            problems.append(_refusal(path, "the parent's is no table", where))
            return node
        keys = dict(node.value)
        for key, each in wanted.items():
            inner = place(source, f"{path}.{key}")
            if key not in keys:
                problems.append(_refusal(f"{path}.{key}", "the parent has none", inner))
                continue
            keys[key] = _removed(keys[key], source, each, f"{path}.{key}", problems)
        return replace(node, value=keys)
    if not isinstance(wanted, list | tuple):
        problems.append(_refusal(path, "a list of what is to be taken out is wanted", where))
        return node
    for n, each in enumerate(wanted):
        node = _without(node, each, f"{path}.{n}", place(source, f"{path}.{n}"), problems)
    return node


def _without(
    node: Node, wanted: Any, path: str, where: Location, problems: list[InputError]
) -> Node:
    if node.is_table and wanted in node.value:
        gone = node.value[wanted]
        ended = Setting(gone.where, {wanted: gone.plain()}, where, "removed")
        rest = {key: each for key, each in node.value.items() if key != wanted}
        return Node(rest, where, (*node.earlier, *gone.earlier, ended))
    if node.is_list and (gone_items := [each for each in node.value if _is_named(each, wanted)]):
        ended_items = [Setting(each.where, each.plain(), where, "removed") for each in gone_items]
        kept = tuple(each for each in node.value if each not in gone_items)
        return Node(kept, where, (*node.earlier, *ended_items))
    if node.is_table:
        there = ", ".join(node.value)
    elif node.is_list:
        there = ", ".join(_label(each) for each in node.value)
    else:
        problems.append(_refusal(path, "the parent's is neither a list nor a table", where))
        return node
    problems.append(
        _refusal(path, f"the parent has no {wanted!r} there", where, f"it has: {there or 'none'}")
    )
    return node


def _is_named(item: Node, wanted: Any) -> bool:
    if not item.is_table:
        return bool(item.value == wanted and type(item.value) is type(wanted))
    return any(key in item.value and str(item.value[key].plain()) == str(wanted) for key in _NAMING)


def _label(item: Node) -> str:
    if not item.is_table:
        return str(item.plain())
    return next((str(item.value[key].plain()) for key in _NAMING if key in item.value), "a table")


def _replaced(
    node: Node, source: Declaration, wanted: Any, path: str, problems: list[InputError]
) -> Node:
    """Return a node with what a table of ``replace`` puts into it."""
    where = place(source, path)
    if isinstance(wanted, Mapping) and wanted and node.is_table:
        keys = dict(node.value)
        for key, each in wanted.items():
            inner = f"{path}.{key}"
            if key not in keys:
                problems.append(
                    _refusal(
                        inner,
                        "the parent has none to replace",
                        place(source, inner),
                        "give it as the recipe's own",
                    )
                )
                continue
            keys[key] = _replaced(keys[key], source, each, inner, problems)
        return replace(node, value=keys)
    made = _node(source, wanted, path)
    return replace(made, earlier=before(node, where))


def _refusal(path: str, why: str, where: Location, fix: str = "") -> InputError:
    return InputError(f"{path}: {why}", where=where, fix=fix)
