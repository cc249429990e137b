"""What the reader of an imported kickstart should know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from imagebuilder.errors import Location

Kind = Literal["left out", "changed", "secret", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One of them.

    Attributes:
        kind: ``left out``: it could not be carried over.  ``changed``: it stands there in another
            form, and means the same.  ``secret``: a password that is no longer in the file.
            ``note``: something else to look at.
        text: what it is.
        where: the place in the project; lines have the numbers that they had.
        fix: what to do, or "".
    """

    kind: Kind
    text: str
    where: Location
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "kind": self.kind,
            "text": self.text,
            "where": self.where.to_dict(),
            "fix": self.fix,
        }
