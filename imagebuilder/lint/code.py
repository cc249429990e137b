"""What a code of lint says of the findings that have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A kind of finding.

    Attributes:
        code: its name.
        severity: how bad it is.
        title: what was found, in few words.
        meaning: why it matters.
        example: a piece of a fragment, or of a recipe, that has it.
        example_is: which of the two.
        fix: what to do about it, unless the finding itself says more.
    """

    code: str
    severity: Severity
    title: str
    meaning: str
    example: str
    example_is: Literal["fragment", "recipe"] = "fragment"
    fix: str
