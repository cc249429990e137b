"""How two members of file systems differ, in words, and with the lines or bytes that do."""

from __future__ import annotations

import difflib
import stat
import time
from collections.abc import Sequence

from imagebuilder.comparison.members import Member

_LINES = 12  # of a diff
_LONGEST = 160  # characters of a line of it
_TEXT = 1 << 20  # bytes; what is larger is compared as bytes
_SHOWN = 16  # bytes of a file that is no text

KINDS = {
    "-": "a file",
    "d": "a folder",
    "l": "a link",
    "h": "another name of a file",
    "c": "a device",
    "b": "a device",
    "p": "a pipe",
    "s": "a socket",
}


def what_differs(one: Member, other: Member) -> tuple[str, str]:
    """Return in words how two members differ, and the part of their content that does, or ""."""
    if one.kind != other.kind:
        kinds = [KINDS.get(each.kind, each.kind) for each in (one, other)]
        return f"{kinds[0]} became {kinds[1]}", ""
    words: list[str] = []
    if one.mode != other.mode:
        words.append(f"mode {_mode(one)} became {_mode(other)}")
    if one.owner != other.owner:
        words.append(f"owner {one.owner} became {other.owner}")
    if one.time != other.time:
        words.append(f"time {_time(one)} became {_time(other)}")
    if one.target != other.target:
        words.append(f"{one.target!r} became {other.target!r}")
    shown = ""
    if one.data != other.data:
        words.append("content")
        shown = detail(bytes(one.data), bytes(other.data))
    return ", ".join(words), shown


def _mode(member: Member) -> str:
    return stat.filemode(member.mode)[1:]


def _time(member: Member) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(member.time))


def detail(one: bytes, other: bytes) -> str:
    """Return the lines that differ, or of what is no text the first bytes that do."""
    texts = [text_of(each) for each in (one, other)]
    if texts[0] is not None and texts[1] is not None:
        return _lines(texts[0], texts[1])
    shorter = min(len(one), len(other))
    at = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    parts = [each[at : at + _SHOWN].hex(" ") or "the end" for each in (one, other)]
    return f"from byte {at} on: {parts[0]} / {parts[1]}; of {len(one)} / {len(other)} bytes"


def text_of(data: bytes) -> Sequence[str] | None:
    """Return the lines of a text; None: it is none, or is very large."""
    if len(data) > _TEXT or b"\0" in data:
        return None
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError:
        return None


def _lines(one: Sequence[str], other: Sequence[str]) -> str:
    lines = list(difflib.unified_diff(one, other, lineterm="", n=0))[2:]
    shown = [
        f"{line[:_LONGEST]}…" if len(line) > _LONGEST else line
        for line in lines
        if not line.startswith("@@")
    ]
    if not shown:
        return "only the ends of lines differ"
    more = [f"and {len(shown) - _LINES} more lines"] if len(shown) > _LINES else []
    return "\n".join([*shown[:_LINES], *more])
