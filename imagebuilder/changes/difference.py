"""One thing that differs between two recipes or images, in words and as data."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from imagebuilder.errors import Location

_SHOWN_LINES = 40  # of the difference of two texts
_NOTES = {"down": " (a step back)", "security": " (security)", "along": " (along with others)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs.

    Attributes:
        kind: what it is: ``package``, ``kernel``, ``kernel argument``, ``unit``, ``user``,
            ``port``, ``file``, ``script``, ``check``, ``setting``, ``kickstart command``…
        name: which one.
        old: what it was, or "" if it was not there.
        new: what it is, or "" if it is no more.
        detail: more lines for people, such as the difference of two texts; or "".
        where: the place that says so now, or said so before.
        note: of a package that is there in another version: ``up``, ``down`` or ``security``; of
            one that nobody asked for, and that another one needs or needed: ``along``.
    """

    kind: str
    name: str
    old: str = ""
    new: str = ""
    detail: str = ""
    where: Location | None = None
    note: str = ""

    @property
    def sign(self) -> str:
        """``+`` if it is new, ``-`` if it is gone, ``~`` if it is other."""
        if self.old and self.new:
            return "~"
        return "+" if self.new else "-"

    def __str__(self) -> str:
        """Return it as one line."""
        value = self.new or self.old
        told = "" if value == "yes" else f": {value}"
        if self.sign == "~":
            same = "" if self.detail else ": another"
            told = f": {self.old} → {self.new}" if self.old != self.new else same
        return f"{self.sign} {self.kind} {self.name}{told}{_NOTES.get(self.note, '')}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "kind": self.kind,
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "detail": self.detail,
            "where": self.where.to_dict() if self.where else None,
            "note": self.note,
        }


def text_lines(old: str, new: str) -> str:
    """Return how texts differ, line by line, in a bounded number of lines."""
    made = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1)
    lines = [line for line in made if not line.startswith(("---", "+++", "@@"))]
    more = len(lines) - _SHOWN_LINES
    return "\n".join([*lines[:_SHOWN_LINES], *([f"… {more} more lines"] if more > 0 else [])])
