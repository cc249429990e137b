"""The three fates that a line of a kickstart can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["honoured", "without effect", "refused"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a command, an option or a section.

    Attributes:
        kind: which of the three.
        text: what it does, or why it has no effect, or why it is refused.
        fix: what to write instead of what is refused.
    """

    kind: Kind
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What becomes of a command or section with its options.

    Attributes:
        fate: of the command; unless it is honoured, its options share it.
        options: the fate of each option of a command that is honoured.
    """

    fate: Fate
    options: Mapping[str, Fate] = field(default_factory=dict)


def honoured(text: str) -> Fate:
    """Return the fate of what is done."""
    return Fate("honoured", text)


def idle(text: str) -> Fate:
    """Return the fate of what changes nothing on a live image."""
    return Fate("without effect", text)


def refused(text: str, fix: str) -> Fate:
    """Return the fate of what cannot be done."""
    return Fate("refused", text, fix)
