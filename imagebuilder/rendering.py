"""The templates in a recipe, rendered with its variables.

Recipes that extend the same parent have most of their checks from it: one whose rendered text
was seen before is not checked against its model again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from imagebuilder import secrets, template
from imagebuilder.checks import BaseCheck, Check
from imagebuilder.errors import InputError, Location
from imagebuilder.memo import Memo
from imagebuilder.merge import Node

_KEPT = 20_000  # nodes of checks
_EACH = 1_000  # renderings of one of them


@dataclass(frozen=True, slots=True)
class _Known:
    """A node of a check, its templates, and the checks that it comes to by what these give."""

    node: Node
    templates: tuple[tuple[str, Node], ...]
    checks: Memo[BaseCheck] = field(default_factory=lambda: Memo(_EACH))


# By the node's identity: children share the nodes of their parents.  Each is kept with its node,
# so that no other can have its id.
_nodes: Memo[_Known] = Memo(_KEPT)
_check: TypeAdapter[BaseCheck] = TypeAdapter(Check)


class Rendering:
    """Renders the values of one recipe.

    Args:
        values: the variables of its templates.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._seen: dict[str, Hashable] = {}

    def value(self, node: Node, path: str) -> Any:
        """Return the plain value of a node; ``path`` is the key of the recipe that it stands at.

        Raises:
            InputError: a template is wrong, or a secret is where it would be published.
        """
        if not node.has_template:
            return node.plain()
        if node.is_table:
            return {key: self.value(each, f"{path}.{key}") for key, each in node.value.items()}
        if node.is_list:
            return [self.value(each, f"{path}.{n}") for n, each in enumerate(node.value)]
        return self._text(node, path)

    def checks(self, node: Node) -> list[Any]:
        """Return the recipe's checks; one that its model refuses as the table that it is.

        Raises:
            InputError: as :meth:`value`.
        """
        if not node.is_list:
            return node.plain()  # type: ignore[no-any-return]  # the model refuses it
        return [self._checked(each, f"checks.{n}") for n, each in enumerate(node.value)]

    def _checked(self, node: Node, path: str) -> Any:
        known = _nodes.get(id(node))
        if known is None:
            known = _nodes.put(id(node), _Known(node, tuple(_templates(node))))
        texts = tuple(
            self._text(each, f"{path}.{below}" if below else path)
            for below, each in known.templates
        )
        check = known.checks.get(texts)
        if check is not None:
            return check
        plain = self.value(node, path)
        try:
            return known.checks.put(texts, _check.validate_python(plain))
        except ValidationError:
            return plain  # which is refused with the rest of the recipe, at its place

    def _text(self, node: Node, path: str) -> str:
        where = Location(file=node.where.file, line=node.where.line, key=path)
        rendered = template.render_value(node.value, self._values, where, self._seen)
        if secrets.names_in(rendered) and not path.startswith("preseed."):
            raise InputError(
                f"{path}: a secret is for fragments, files and preseed; this is published",
                where=where,
                fix="let a %post script put it into a file of the image",
            )
        return rendered


def _templates(node: Node) -> Iterator[tuple[str, Node]]:
    """Give the templates of a node, each with its path."""
    if node.has_template:
        for path, each in node.walk():
            if isinstance(each.value, str) and each.has_template:
                yield path, each
