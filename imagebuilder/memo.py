"""Results that are kept to be used again, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """Results by key, up to a weight of all together; then all are forgotten.

    To forget all costs little, since it comes once for as many results as there is room for,
    and needs no order of use to be kept at every look.

    Args:
        limit: the weight of all results together, in what :meth:`put` counts.
    """

    __slots__ = ("_known", "_limit", "_weight")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[Hashable, Value] = {}
        self._weight = 0

    def get(self, key: Hashable) -> Value | None:
        """Return the result that is kept under a key, or None."""
        return self._known.get(key)

    def put(self, key: Hashable, value: Value, weight: int = 1) -> Value:
        """Keep a result, and return it.  One that is too heavy alone is not kept."""
        if weight <= self._limit:
            self._weight += weight
            if self._weight > self._limit:
                self.clear()
                self._weight = weight
            self._known[key] = value
        return value

    def clear(self) -> None:
        """Forget all results."""
        self._known = {}
        self._weight = 0
