"""The distributions that a recipe can name, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imagebuilder.errors import InputError, Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Distro:
    """One release of a distribution.

    Attributes:
        id: what a recipe says, such as ``debian-12``.
        family: decides package names and tools; fragments ask for it.
        name: the distribution, as os-release's ``ID`` has it.
        version: the release, as os-release's ``VERSION_ID`` has it.
        suite: the archive's name for the release.
        kickstart_version: the kickstart syntax that its recipes are checked against.  Debian
            defines none; it gets that of the EL release of its time, so that fragments can
            be shared between the two.
        cpu_baseline: the x86-64 level that its binaries need (x86-64 psABI).
    """

    id: str
    family: Literal["debian"]
    name: str
    version: str
    suite: str
    kickstart_version: str
    cpu_baseline: Literal["v1", "v2", "v3"]


_DISTROS = {
    each.id: each
    for each in (
        Distro(
            id="debian-12",
            family="debian",
            name="debian",
            version="12",
            suite="bookworm",
            kickstart_version="RHEL9",
            cpu_baseline="v1",
        ),
    )
}


def names() -> tuple[str, ...]:
    """Return the ids of all known distributions."""
    return tuple(_DISTROS)


def find(distro_id: str, where: Location | None = None) -> Distro:
    """Return the distribution of that id.

    Raises:
        InputError: there is none; ``where`` is the place that named it.
    """
    try:
        return _DISTROS[distro_id]
    except KeyError:
        raise InputError(
            f"unknown distro {distro_id!r}",
            where=where,
            fix=f"known are: {', '.join(names())}",
        ) from None
