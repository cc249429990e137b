"""What an image needs to boot over the network, before anything is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from imagebuilder.engines.direct.packages import lacking
from imagebuilder.errors import Location
from imagebuilder.lint.finding import Finding, found
from imagebuilder.lint.subject import Subject

# Of dracut 059's module network-legacy, which is not made without them (its check() in
# dracut's modules.d/35network-legacy).
_DRACUT_059 = (
    ("dhclient, with which the initrd gets an address", "isc-dhcp-client", "isc-dhcp-client"),
    ("arping, with which the initrd looks whether it is free", "iputils-arping", r".*arping"),
)
# Fedora and EL: what livemedia-creator does not look for, and dracut needs.
_RPM = (
    ("a kernel", "kernel", r"kernel(-core|-rt.*|-64k.*)?"),
    ("a root from the network (dracut's livenet)", "dracut-live", r"dracut-live"),
    ("an initrd for any machine", "dracut-config-generic", r"dracut-config-generic"),
)


def check(subject: Subject) -> Iterator[Finding]:
    """Look for a kernel, dracut, and the modules that fetch the root."""
    names = subject.named if subject.packages is None else subject.packages
    if subject.resolved.recipe.engine == "livemedia":
        return  # it adds what is missing, and refuses that it is left out
    if not subject.is_debian:
        missing = _missing(names, _RPM)
    else:
        missing = lacking(names)
        if subject.resolved.distro.id == "debian-12":
            missing += _missing(names, _DRACUT_059)
    known = "" if subject.packages is not None else " (by the names in %packages alone)"
    for what, package in missing:
        yield found(
            "IB202",
            f"the image could not boot over the network: it lacks {what}{known}",
            _where(subject, package),
            fix=f"add to %packages: {package}",
        )


def _missing(names: frozenset[str], rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [
        (what, package)
        for what, package, pattern in rows
        if not any(re.fullmatch(pattern, name) for name in names)
    ]


def _where(subject: Subject, package: str) -> Location:
    """Return the line that takes the package out, else the last %packages, else the recipe."""
    kickstart = subject.kickstart
    out = [each.where for each in kickstart.packages if each.name == package and each.excluded]
    sections = [each.where for each in kickstart.sections if each.name == "%packages"]
    return (out or sections or [subject.resolved.place("kickstarts")])[-1]
