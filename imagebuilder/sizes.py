"""Sizes and spans of time as people write them."""

from __future__ import annotations

import re

from imagebuilder.errors import InputError

_SIZE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(k|M|G|T)B")
_FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

_SPAN = re.compile(r"([0-9]{1,6})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> int:
    """Read a span of time such as ``12h``.

    Raises:
        InputError: it is none.
    """
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise InputError(f"{text!r} is no time", fix="write a number with m, h or d, such as 12h")
    return int(found[1]) * _SECONDS[found[2]]


def size_of(text: str) -> int:
    """Read a size such as ``20 GB``; units are powers of ten.

    Raises:
        InputError: it is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise InputError(f"{text!r} is no size", fix="write a number with kB, MB, GB or TB")
    return int(float(found[1]) * _FACTORS[found[2]])


def human_size(size: float) -> str:
    """Return bytes for people: 141.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
