"""Which units a root file system starts: the links of systemctl(1) enable and mask."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from imagebuilder.changes import Difference
from imagebuilder.comparison.members import Member

_OWN = "etc/systemd/system/"
_FOLDERS = (_OWN, "usr/lib/systemd/system/", "lib/systemd/system/")
_WANTING = (".wants", ".requires", ".upholds")
DEFAULT = "default.target"


def states(members: Mapping[str, Member]) -> dict[str, str]:
    """Return the units that are ``enabled`` or ``masked``, by name.

    Links that packages bring below ``/usr`` say how units belong together, and cannot be taken
    away: these are left out.
    """
    found: dict[str, str] = {}
    for path, member in members.items():
        if not path.startswith(_OWN) or member.kind != "l":
            continue
        folder, _, name = path.removeprefix(_OWN).rpartition("/")
        if folder.endswith(_WANTING) and "/" not in folder:
            found.setdefault(name, "enabled")
        elif not folder and member.target == "/dev/null":
            found[name] = "masked"
    return found


def differences(old: Mapping[str, Member], new: Mapping[str, Member]) -> Iterator[Difference]:
    """Give the units that are started, or kept from it, on one side alone."""
    before, after = states(old), states(new)
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Difference(
                kind="unit",
                name=name,
                old=before.get(name) or _otherwise(old, name),
                new=after.get(name) or _otherwise(new, name),
            )
    targets = [_default(each) for each in (old, new)]
    if targets[0] != targets[1]:
        yield Difference(kind="setting", name=DEFAULT, old=targets[0], new=targets[1])


def is_told(path: str, members: Mapping[str, Member]) -> bool:
    """Return whether a path is one of the links that :func:`differences` tells of.

    The other names of a unit, which come with enabling it, are.
    """
    if not path.startswith(_OWN):
        return False
    name = path.removeprefix(_OWN)
    member = members.get(path)
    if member is None:
        return False
    if member.kind == "d":
        return name.endswith(_WANTING)
    folder = name.rpartition("/")[0]
    return member.kind == "l" and (folder.endswith(_WANTING) or not folder)


def _otherwise(members: Mapping[str, Member], name: str) -> str:
    """Return what a unit is that is neither: "" if there is none of that name."""
    template = f"{name.partition('@')[0]}@.{name.rpartition('.')[2]}" if "@" in name else name
    there = any(f"{folder}{each}" in members for folder in _FOLDERS for each in (name, template))
    return "disabled" if there else ""


def _default(members: Mapping[str, Member]) -> str:
    for folder in _FOLDERS:
        member = members.get(f"{folder}{DEFAULT}")
        if member and member.kind == "l":
            return posixpath.basename(member.target)
    return ""
