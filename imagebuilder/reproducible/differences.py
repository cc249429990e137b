"""How two images of one plan differ, file by file."""

from __future__ import annotations

import difflib
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagebuilder.errors import HostError, StepError
from imagebuilder.image import ARTEFACTS, INITRD, KERNEL, ROOTFS, sha256_of
from imagebuilder.progress import Cancel
from imagebuilder.reproducible.members import Member, of_initrd, of_squashfs

_LINES = 12  # of a diff
_LONGEST = 160  # characters of a line of it
_TEXT = 1 << 20  # bytes; what is larger is compared as bytes
_SHOWN = 16  # bytes of a file that is no text

_KINDS = {
    "-": "a file",
    "d": "a folder",
    "l": "a link",
    "h": "another name of a file",
    "c": "a device",
    "b": "a device",
    "p": "a pipe",
    "s": "a socket",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs.

    Attributes:
        artefact: the file of the image: ``rootfs.squashfs``, ``initrd.img``…
        path: the file in that, or "" for all of it.
        what: in words: what differs of it.
        detail: the lines or bytes that differ, as far as they are few.
    """

    artefact: str
    path: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        place = f"{self.artefact}: {self.path}" if self.path else self.artefact
        detail = "".join(f"\n    {line}" for line in self.detail.splitlines())
        return f"{place}: {self.what}{detail}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return asdict(self)


def explain(one: Path, other: Path, work: Path, cancel: Cancel) -> tuple[Difference, ...]:
    """Return how the artefacts of two images differ; empty if all have the same bytes.

    Args:
        one: the folder of an image.
        other: that of another.
        work: an empty folder, for as much as both root file systems have.
        cancel: the request to stop.

    Raises:
        StepError: one of them cannot be read.
        Interrupted: somebody asked to stop.
    """
    return tuple(
        found
        for name in ARTEFACTS
        if sha256_of(one / name) != sha256_of(other / name)
        for found in _of_artefact(name, one / name, other / name, work, cancel)
    )


def _of_artefact(
    name: str, one: Path, other: Path, work: Path, cancel: Cancel
) -> Iterator[Difference]:
    readers: Mapping[str, Callable[[Path, Path, Cancel], Mapping[str, Member]]] = {
        ROOTFS: of_squashfs,
        INITRD: of_initrd,
    }
    if name not in readers:
        first, second = one.read_bytes(), other.read_bytes()
        what = "the kernel differs" if name == KERNEL else "its text differs"
        yield Difference(artefact=name, path="", what=what, detail=_detail(first, second))
        return
    try:
        trees = [readers[name](each, work, cancel) for each in (one, other)]
    except (HostError, StepError) as error:
        yield Difference(artefact=name, path="", what=f"it differs; where is not known: {error}")
        return
    found = list(_of_trees(name, *trees))
    yield from found
    if list(trees[0]) != list(trees[1]) and set(trees[0]) == set(trees[1]):
        yield Difference(artefact=name, path="", what="its files are in another order")
    elif not found:
        what = "all that is in it is the same: it is packed in another way, or dated otherwise"
        yield Difference(artefact=name, path="", what=what)


def _of_trees(
    name: str, one: Mapping[str, Member], other: Mapping[str, Member]
) -> Iterator[Difference]:
    for path in sorted({*one, *other}):
        first, second = one.get(path), other.get(path)
        if first is None or second is None:
            there = first or second
            assert there
            what = f"{_KINDS.get(there.kind, there.kind)} only in the {_nth(first)} image"
            yield Difference(artefact=name, path=path, what=what)
        elif first != second:
            yield _of_members(name, path, first, second)


def _nth(first: Member | None) -> str:
    return "first" if first else "second"


def _of_members(name: str, path: str, one: Member, other: Member) -> Difference:
    if one.kind != other.kind:
        kinds = [_KINDS.get(each.kind, each.kind) for each in (one, other)]
        return Difference(artefact=name, path=path, what=f"{kinds[0]} became {kinds[1]}")
    words: list[str] = []
    if one.mode != other.mode:
        words.append(f"mode {_mode(one)} became {_mode(other)}")
    if one.owner != other.owner:
        words.append(f"owner {one.owner} became {other.owner}")
    if one.time != other.time:
        words.append(f"time {_time(one)} became {_time(other)}")
    if one.target != other.target:
        words.append(f"{one.target!r} became {other.target!r}")
    detail = ""
    if one.data != other.data:
        words.append("content")
        detail = _detail(bytes(one.data), bytes(other.data))
    return Difference(artefact=name, path=path, what=", ".join(words), detail=detail)


def _mode(member: Member) -> str:
    return stat.filemode(member.mode)[1:]


def _time(member: Member) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(member.time))


def _detail(one: bytes, other: bytes) -> str:
    """Return the lines that differ, or of what is no text the first bytes that do."""
    texts = [_text(each) for each in (one, other)]
    if texts[0] is not None and texts[1] is not None:
        return _lines(texts[0], texts[1])
    shorter = min(len(one), len(other))
    at = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    parts = [each[at : at + _SHOWN].hex(" ") or "the end" for each in (one, other)]
    return f"from byte {at} on: {parts[0]} / {parts[1]}; of {len(one)} / {len(other)} bytes"


def _text(data: bytes) -> Sequence[str] | None:
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
