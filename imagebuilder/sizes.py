"""Sizes as people write them."""

from __future__ import annotations

import re

from imagebuilder.errors import InputError

_SIZE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(k|M|G|T)B")
_FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


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
