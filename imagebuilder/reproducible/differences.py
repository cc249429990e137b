"""How two images of one plan differ, file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagebuilder.comparison.differing import KINDS, detail, what_differs
from imagebuilder.comparison.members import Member, of_initrd
from imagebuilder.comparison.roots import of_root
from imagebuilder.errors import HostError, StepError
from imagebuilder.image import EROFS, INITRD, KERNEL, ROOTFS, artefact_names, rootfs_in, sha256_of
from imagebuilder.progress import Cancel


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
        for name in artefact_names(rootfs_in(one))
        if sha256_of(one / name) != sha256_of(other / name)
        for found in _of_artefact(name, one / name, other / name, work, cancel)
    )


def _of_artefact(
    name: str, one: Path, other: Path, work: Path, cancel: Cancel
) -> Iterator[Difference]:
    readers: Mapping[str, Callable[[Path, Path, Cancel], Mapping[str, Member]]] = {
        ROOTFS: of_root,
        EROFS: of_root,
        INITRD: of_initrd,
    }
    if name not in readers:
        first, second = one.read_bytes(), other.read_bytes()
        what = "the kernel differs" if name == KERNEL else "its text differs"
        yield Difference(artefact=name, path="", what=what, detail=detail(first, second))
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
            what = f"{KINDS.get(there.kind, there.kind)} only in the {_nth(first)} image"
            yield Difference(artefact=name, path=path, what=what)
        elif first != second:
            what, lines = what_differs(first, second)
            yield Difference(artefact=name, path=path, what=what, detail=lines)


def _nth(first: Member | None) -> str:
    return "first" if first else "second"
