"""Finding: what lint says of one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from imagebuilder.command import redact
from imagebuilder.errors import ImageBuilderError, Location
from imagebuilder.lint.codes import CODES, Severity

# As str(Location) writes it, at the head of a warning or note.
_PLACE = re.compile(r"(?P<file>\S[^\n]*?):(?P<line>\d+)(?: \((?P<key>[^)\n]*)\))?: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waived:
    """Why a finding is accepted.

    Attributes:
        reason: what the recipe's waiver says.
        until: the last day on which it is.
        where: the waiver.
    """

    reason: str
    until: date
    where: Location

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "reason": self.reason,
            "until": self.until.isoformat(),
            "where": self.where.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that would fail later, or is better not as it is.

    Attributes:
        code: which kind; ``docs/lint.md`` has them all.
        severity: ``error`` ends a build or lets a secret out, ``warning`` is most often a
            mistake, ``note`` is worth knowing.
        text: what was found, one sentence.
        where: the place, or None if it has none.
        fix: what the reader can do.
        also: further places that it is about, such as the other of two that contradict.
        recipes: the recipes that have it, sorted.
        waived: the recipe's waiver, if there is one.
    """

    code: str
    severity: Severity
    text: str
    where: Location | None
    fix: str = ""
    also: tuple[Location, ...] = ()
    recipes: tuple[str, ...] = ()
    waived: Waived | None = None

    @property
    def order(self) -> tuple[str, int, str, str, tuple[str, ...]]:
        """By what findings are sorted: the place, then the code."""
        file, line = (self.where.file, self.where.line or 0) if self.where else ("", 0)
        return file, line, self.code, self.text, self.recipes

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON data."""
        return {
            "code": self.code,
            "severity": self.severity,
            "text": self.text,
            "where": self.where.to_dict() if self.where else None,
            "fix": self.fix,
            "also": [each.to_dict() for each in self.also],
            "recipes": list(self.recipes),
            "waived": self.waived.to_dict() if self.waived else None,
        }


def found(
    code: str,
    text: str,
    where: Location | None,
    *,
    fix: str = "",
    also: tuple[Location, ...] = (),
) -> Finding:
    """Return a finding with the severity of its code, and its fix unless another is given."""
    kind = CODES[code]
    return Finding(
        code=code,
        severity=kind.severity,
        text=redact(text),
        where=where,
        fix=redact(fix or kind.fix),
        also=also,
    )


def of_error(code: str, error: ImageBuilderError) -> tuple[Finding, ...]:
    """Return the findings that an error and those in it come to."""
    text = error.what
    if error.excerpt:
        text += ": " + "; ".join(line.strip() for line in error.excerpt.splitlines()[-3:])
    own = found(code, text, error.where, fix=error.fix)
    return (own, *(each for inner in error.also for each in of_error(code, inner)))


def of_text(code: str, text: str) -> Finding:
    """Return the finding of a warning or note that begins with its place."""
    place = _PLACE.match(text)
    if not place:
        return found(code, text, None)
    where = Location(file=place["file"], line=int(place["line"]), key=place["key"])
    return found(code, text[place.end() :], where)
