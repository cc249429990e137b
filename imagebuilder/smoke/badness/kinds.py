"""Badness: a kind of line on the console that tells of trouble."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Badness:
    """A kind of line that tells of trouble.

    Attributes:
        pattern: what the line has in it.
        severity: ``fatal``: the guest will not come further, the test ends; ``warn``: listed,
            and the diagnosis of a boot that then stands still.
        meaning: what it means, in plain words; ``{1}`` stands for the pattern's first group, and
            ": {1}" for nothing where that is empty.
        fix: what the reader can do.
        follows: it says that something failed before, not what: a line that names a cause is
            the better diagnosis, even if it reaches the console later.  Several processes
            write there (dracut's queue through the journal), so the order is not to be relied on.
    """

    pattern: re.Pattern[str]
    severity: Literal["fatal", "warn"]
    meaning: str
    fix: str = ""
    follows: bool = False


def bad(
    severity: Literal["fatal", "warn"],
    pattern: str,
    meaning: str,
    fix: str = "",
    *,
    follows: bool = False,
) -> Badness:
    """Return a kind of line."""
    return Badness(
        pattern=re.compile(pattern), severity=severity, meaning=meaning, fix=fix, follows=follows
    )


MORE_MEMORY = "raise memory_mib in the recipe's [smoke] table; the image lies in memory as a whole"
EARLIER_LINES = "look at the lines before it on the console"
