"""The distributions that a recipe can name, and what differs between them."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from imagebuilder.errors import InputError, Location

Family = Literal["debian", "fedora", "el"]
Arch = Literal["x86_64", "aarch64"]
PackageManager = Literal["apt", "dnf"]

# What the distributions call the machines that a recipe names as the kernel does (uname(2)).
_DEBIAN_ARCH: dict[Arch, str] = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distro:
    """One release of a distribution.

    Attributes:
        id: what a recipe says, such as ``debian-12``.
        family: decides package names and tools; fragments ask for it.  Fedora is one of its
            own: it has packages that EL has not, and is years ahead of it.
        name: the distribution, as os-release's ``ID`` has it.
        version: the release, as os-release's ``VERSION_ID`` has it: ``12``, ``9``, ``9.6``.
        major: the first number of the version, to be compared with others.
        suite: the archive's name for the release, as Debian has one; else "".
        kickstart_version: the kickstart syntax that its recipes are checked against: one of
            pykickstart's.  Debian defines none; it gets that of the EL release of its time, so
            that fragments can be shared between the two.
        cpu_baseline: the x86-64 level that its binaries need (x86-64 psABI).
        package_manager: what installs its packages.
    """

    id: str
    family: Family
    name: str
    version: str
    major: int
    suite: str = ""
    kickstart_version: str
    cpu_baseline: Literal["v1", "v2", "v3"]
    package_manager: PackageManager

    def package_arch(self, arch: Arch) -> str:
        """Return what its packages call an architecture: Debian's ``amd64`` is ``x86_64``."""
        return _DEBIAN_ARCH[arch] if self.family == "debian" else arch


def _debian(major: int, suite: str, kickstart_version: str) -> Distro:
    return Distro(
        id=f"debian-{major}",
        family="debian",
        name="debian",
        version=str(major),
        major=major,
        suite=suite,
        kickstart_version=kickstart_version,
        cpu_baseline="v1",
        package_manager="apt",
    )


def _fedora(major: int) -> Distro:
    return Distro(
        id=f"fedora-{major}",
        family="fedora",
        name="fedora",
        version=str(major),
        major=major,
        kickstart_version=f"F{major}",
        cpu_baseline="v1",
        package_manager="dnf",
    )


# AlmaLinux 10 has a second build for v2; what it installs from by default is that for v3.
_EL_BASELINE: dict[int, Literal["v1", "v2", "v3"]] = {8: "v1", 9: "v2", 10: "v3"}


def _el(id_: str, major: int) -> Distro:
    return Distro(
        id=f"{id_}-{major}",
        family="el",
        name=id_.removesuffix("-stream"),
        version=str(major),
        major=major,
        kickstart_version=f"RHEL{major}",
        cpu_baseline=_EL_BASELINE[major],
        package_manager="dnf",
    )


def _all() -> Iterator[Distro]:
    yield _debian(12, "bookworm", "RHEL9")
    yield _debian(13, "trixie", "RHEL10")
    for major in range(40, 45):
        yield _fedora(major)
    for id_ in ("rhel", "almalinux", "rocky"):
        for major in (8, 9, 10):
            yield _el(id_, major)
    for major in (9, 10):
        yield _el("centos-stream", major)


_DISTROS = {each.id: each for each in _all()}
_WITH_MINOR = re.compile(r"((?:rhel|almalinux|rocky)-\d+)\.(0|[1-9]\d?)")


def names() -> tuple[str, ...]:
    """Return the ids of all known distributions; minor releases of EL are not listed."""
    return tuple(_DISTROS)


def of_family(family: Family) -> tuple[Distro, ...]:
    """Return all known distributions of a family, the oldest first."""
    return tuple(each for each in _DISTROS.values() if each.family == family)


def host_arch() -> str:
    """Return the architecture of this host, as the kernel calls it (uname(2)): ``x86_64``."""
    return platform.machine()


def find(distro_id: str, where: Location | None = None) -> Distro:
    """Return the distribution of that id.

    ``rhel``, ``almalinux`` and ``rocky`` may be given with a minor release, ``almalinux-9.6``:
    it has the syntax and the baseline of ``almalinux-9`` and ``9.6`` for its version.

    Raises:
        InputError: there is none; ``where`` is the place that named it.
    """
    found = _DISTROS.get(distro_id)
    minor = _WITH_MINOR.fullmatch(distro_id)
    if minor and minor[1] in _DISTROS:
        major = _DISTROS[minor[1]]
        found = replace(major, id=distro_id, version=f"{major.version}.{minor[2]}")
    if found is None:
        raise InputError(
            f"unknown distro {distro_id!r}",
            where=where,
            fix=f"known are: {', '.join(names())}; a minor release is written almalinux-9.6",
        )
    return found
