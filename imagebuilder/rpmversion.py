"""Which of two versions of an RPM package is the later."""

from __future__ import annotations

import re
from itertools import zip_longest

# What a version is compared by: numbers, words, and two signs that mean something; what else
# stands in it only parts these.  rpm-version(7).
_PART = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")


def is_later(one: str, other: str) -> bool:
    """Return whether the second of two ``[EPOCH:]VERSION[-RELEASE]`` is the later one."""
    for mine, others in zip(_split(one), _split(other), strict=True):
        order = _compared(mine, others)
        if order:
            return order < 0
    return False


def _split(text: str) -> tuple[str, str, str]:
    epoch, colon, rest = text.rpartition(":")
    version, _, release = rest.partition("-")
    return epoch if colon else "0", version, release


def _compared(one: str, other: str) -> int:
    """Return less than 0 if the first comes first, more if it comes last, else 0."""
    for mine, others in zip_longest(_PART.findall(one), _PART.findall(other), fillvalue=""):
        first, second = _key(mine), _key(others)
        if first != second:
            return -1 if first < second else 1
    return 0


def _key(part: str) -> tuple[int, int, str]:
    """Return what sorts: ``~`` before the end, ``^`` just after it, then words, then numbers."""
    if part.isdigit():  # as texts: a version of somebody else's may have any number of digits
        digits = part.lstrip("0")
        return 4, len(digits), digits
    if part.isalpha():
        return 3, 0, part
    return {"~": 0, "": 1, "^": 2}[part], 0, ""
