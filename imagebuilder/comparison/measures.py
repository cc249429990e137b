"""What of two images is measured: sizes, packages, time to boot, memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from imagebuilder.sizes import human_size

Unit = Literal["bytes", "seconds", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number of both images.

    Attributes:
        name: what is measured.
        old: of the first; None: it is not known.
        new: of the second.
        unit: ``bytes``, ``seconds``, or "" for a count.
    """

    name: str
    old: float | None
    new: float | None
    unit: Unit

    @property
    def change(self) -> str:
        """By how much it differs: ``+0.2 MB``; "" if it does not, or one is not known."""
        if self.old is None or self.new is None or self.shown(self.old) == self.shown(self.new):
            return ""
        by = self.new - self.old
        return f"{'+' if by > 0 else '-'}{self.shown(abs(by))}"

    def shown(self, value: float | None) -> str:
        """Return a value for people."""
        if value is None:
            return "not known"
        if self.unit == "bytes":
            return human_size(value)
        return f"{value:.1f} s" if self.unit == "seconds" else f"{value:.0f}"

    def __str__(self) -> str:
        """Return it as one line."""
        if self.old is not None and self.shown(self.old) == self.shown(self.new):
            return f"{self.name}: {self.shown(self.new)}"
        by = f" ({self.change})" if self.change else ""
        return f"{self.name}: {self.shown(self.old)} → {self.shown(self.new)}{by}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return asdict(self)
