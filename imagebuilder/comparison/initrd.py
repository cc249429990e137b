"""How two initrds differ: drivers, dracut's modules, and the files that are not explained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from imagebuilder.changes import Difference
from imagebuilder.comparison.members import Member

_DRIVER = re.compile(r"(?:usr/)?lib/modules/[^/]+/(?:.*/)?(?P<name>[^/]+)\.ko(?:\.\w+)?")
# What dracut says of itself: which of its modules are in.
_LISTS = ("usr/lib/dracut/modules.txt", "lib/dracut/modules.txt")
# What follows from the drivers and the kernel, or tells when and by what it was made.
_FOLLOWS = re.compile(
    r"(?:usr/)?lib/(?:modules(?:/.*)?|dracut/(?:modules|build-parameter)\.txt|dracut/dracut-[^/]*)"
    r"|early_cpio"
)


def drivers(members: Mapping[str, Member]) -> frozenset[str]:
    """Return the drivers, as lsmod(8) calls them."""
    found = (_DRIVER.fullmatch(path) for path in members)
    return frozenset(each["name"].replace("-", "_") for each in found if each)


def modules(members: Mapping[str, Member]) -> frozenset[str]:
    """Return the modules of dracut that it was made with."""
    for path in _LISTS:
        if path in members:
            return frozenset(bytes(members[path].data).decode(errors="replace").split())
    return frozenset()


def differences(old: Mapping[str, Member], new: Mapping[str, Member]) -> Iterator[Difference]:
    """Give the drivers and dracut modules that only one of two initrds has."""
    for kind, read in (("initrd driver", drivers), ("initrd module", modules)):
        before, after = read(old), read(new)
        for name in sorted(before ^ after):
            yield Difference(
                kind=kind,
                name=name,
                old="yes" if name in before else "",
                new="yes" if name in after else "",
            )


def is_told(path: str) -> bool:
    """Return whether a path is told of as a driver or a module, or follows from these."""
    return _FOLLOWS.fullmatch(path) is not None
