"""The packages that a kickstart's commands need: what is missing is said before all work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagebuilder.engines.direct import (
    certificates,
    clock,
    firewall,
    language,
    network,
    selinux,
)
from imagebuilder.engines.direct.services import DESKTOPS
from imagebuilder.errors import InputError, Location, joined
from imagebuilder.kickstart import Kickstart

_LOGINS = ("gdm3", "greetd", "lightdm", "lxdm", "sddm", "slim", "wdm", "xdm", "nodm")

_Need = tuple[str, Location, tuple[str, ...]]  # what needs it, where, any of these packages


def check(kickstart: Kickstart, packages: Mapping[str, str]) -> None:
    """Refuse commands whose packages the image would not have.

    Args:
        kickstart: whose commands.
        packages: what would be installed.

    Raises:
        InputError: with the file and line of each command, and the package that it needs.
    """
    problems = [
        InputError(
            f"{what} needs the package {' or '.join(names)}, which would not be in the image",
            where=where,
            fix=f"add {names[0]} to %packages",
        )
        for what, where, names in _needs(kickstart)
        if not any(name in packages for name in names)
    ]
    if problems:
        raise joined(problems)


def _needs(kickstart: Kickstart) -> Iterator[_Need]:
    lang = kickstart.last("lang")
    if lang and language.needs_locales(lang):
        yield f"lang {lang.data.lang}", lang.where, ("locales", "locales-all")
    zone = kickstart.last("timezone")
    if zone and zone.data.timezone and zone.data.timezone not in clock.UTC:
        yield f"timezone {zone.data.timezone}", zone.where, ("tzdata",)
    for source in clock.sources(kickstart)[0]:
        clients = ("chrony",) if source.nts else ("systemd-timesyncd", "chrony")
        yield f"{source.command.name} {source.name}", source.command.where, clients
    root = kickstart.last("rootpw")
    if root and getattr(root.data, "allow_ssh", False):
        yield "rootpw --allow-ssh", root.where, ("openssh-server",)
    yield from network.needs(kickstart.all("network"))
    yield from firewall.needs(kickstart.all("firewall"))
    yield from _of_security(kickstart)
    yield from _of_desktop(kickstart)


def _of_security(kickstart: Kickstart) -> Iterator[_Need]:
    command = kickstart.last("selinux")
    if command and selinux.mode(command) == "permissive":
        for name in selinux.PACKAGES:
            yield "selinux --permissive", command.where, (name,)
    for section in kickstart.sections:
        if certificates.needs_trust(section):
            yield "%certificate --type=anchor", section.where, ("ca-certificates",)


def _of_desktop(kickstart: Kickstart) -> Iterator[_Need]:
    face = next((c for c in reversed(kickstart.commands) if c.name in ("skipx", "xconfig")), None)
    if face is None or face.name == "skipx":
        return
    if face.data.startX:
        yield "xconfig --startxonboot", face.where, _LOGINS
    if face.data.defaultdesktop:
        package = DESKTOPS[face.data.defaultdesktop.upper()][1]
        yield "xconfig --defaultdesktop", face.where, (package,)
