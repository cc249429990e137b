"""How the packages of two images differ, and which files of an image are theirs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from imagebuilder.changes import Difference
from imagebuilder.comparison.members import Member
from imagebuilder.debversion import DebianVersion
from imagebuilder.errors import InputError
from imagebuilder.image import Package, PackageList
from imagebuilder.rpmversion import is_later

_ALTERNATIVES = "/etc/alternatives/"  # where the links of update-alternatives(1) lead
_LISTS = "var/lib/dpkg/info/"
# Folders that are links into usr/ where the two are merged; dpkg's lists have the old names.
_MERGED = ("bin/", "sbin/", "lib/", "lib32/", "lib64/", "libx32/")
# What packages, their scripts and triggers write that no list has: package databases, caches,
# links of update-alternatives(1) and of runlevels, compiled files, indices.
_MADE = re.compile(
    r"var/(?:lib/(?:dpkg|apt|rpm|dnf|ucf|pam|alternatives|systemd/deb-systemd-[^/]*|python)|cache"
    r"|log)(?:/.*)?"
    r"|usr/lib/sysimage/.*"
    r"|etc/(?:ld\.so\.cache|alternatives(?:/.*)?|rc[0-9S]\.d(?:/.*)?|ssl/certs(?:/.*)?|mailcap"
    r"|shells|ca-certificates\.conf|pam\.d/common-[^/]*|udev/hwdb\.bin)"
    r"|(?:usr/)?lib/modules/[^/]*(?:/modules\.[^/]*)?"
    r"|usr/lib/udev/hwdb\.bin|.*/__pycache__(?:/.*)?|.*/giomodule\.cache"
    r"|usr/share/(?:info/dir|mime/.*|glib-2\.0/schemas/gschemas\.compiled"
    r"|applications/mimeinfo\.cache|icons/.*\.cache)"
)


def differences(
    old: PackageList,
    new: PackageList,
    security: Collection[str] = (),
    dropped: Collection[str] = (),
    asked: Collection[str] = (),
) -> Iterator[Difference]:
    """Give the packages that were added, removed, or have another version.

    Args:
        old: one list.
        new: the other.
        security: the names of those of which the change brings a security update.
        dropped: what only the first image was asked to have.
        asked: what only the second was: what is added besides came along with one of these.
    """
    before, after = by_name(old), by_name(new)
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was and now and _is_same(was, now):
            continue
        note = ""
        if was and now and was.version != now.version:
            note = "security" if now.name in security else _direction(was, now, new.manager)
        elif not (was and now):
            wishes = asked if now else dropped
            note = "along" if wishes and name.partition(":")[0] not in wishes else ""
        yield Difference(
            kind="package", name=name, old=_version(was, now), new=_version(now, was), note=note
        )


def _is_same(old: Package, new: Package) -> bool:
    """Return whether two are the same; the architecture of what is only planned is not known."""
    same_arch = old.arch == new.arch or "" in (old.arch, new.arch)
    return old.version == new.version and same_arch


def by_name(packages: PackageList) -> dict[str, Package]:
    """Return the packages by name; of names that several architectures have, with these."""
    found: dict[str, Package] = {}
    for each in packages.packages:
        if each.name in found:
            found[f"{each.name}:{each.arch}"] = each
        else:
            found[each.name] = each
    return found


def _version(package: Package | None, other: Package | None) -> str:
    if package is None:
        return ""
    if other and other.version == package.version:
        return f"{package.version} {package.arch}"
    return package.version


def _direction(old: Package, new: Package, manager: str) -> str:
    """Return ``up`` or ``down``; "" where versions cannot be compared."""
    if manager == "rpm":
        return "up" if is_later(old.version, new.version) else "down"
    try:
        return "up" if DebianVersion(old.version) < DebianVersion(new.version) else "down"
    except InputError:
        return ""


def files_of(packages: Collection[str], sides: Sequence[Mapping[str, Member]]) -> frozenset[str]:
    """Return the paths that dpkg's lists have of some packages, on any of several sides."""
    found: set[str] = set()
    for members in sides:
        for name in packages:
            for path in _lists(name, members):
                found.update(map(_merged, bytes(members[path].data).decode().splitlines()))
    return frozenset(found)


def is_likely(path: str, manager: str) -> bool:
    """Return whether a path is one of packages whose lists cannot be read: those of RPM."""
    return manager == "rpm" and path.startswith("usr/") and not path.startswith("usr/local/")


def is_made(path: str, *members: Member | None) -> bool:
    """Return whether a path is made anew whenever packages are installed.

    Args:
        path: which.
        members: what it is on either side.
    """
    if any(each and each.target.startswith(_ALTERNATIVES) for each in members):
        return True
    return _MADE.fullmatch(path) is not None


def _lists(name: str, members: Mapping[str, Member]) -> Iterator[str]:
    plain = name.partition(":")[0]
    for path in (f"{_LISTS}{plain}.list", *(f"{_LISTS}{plain}:{arch}.list" for arch in _ARCHES)):
        if path in members:
            yield path


_ARCHES = ("amd64", "arm64", "i386", "armhf")


def _merged(path: str) -> str:
    plain = path.strip().removeprefix("/")
    return f"usr/{plain}" if plain.startswith(_MERGED) else plain
