"""Where packages come from.

In this order: the recipe's ``url`` and ``repo`` lines; the project file's ``[mirrors]``; the
host's own apt sources for that suite, or those for another release of Debian with the suite
put in place of the other's, so that a site's mirror, proxy and keys just work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.command import redact
from imagebuilder.engines.direct.host_apt import APT, ONE_LINE, host_sources
from imagebuilder.errors import HostError, InputError, Location
from imagebuilder.kickstart import Kickstart
from imagebuilder.project import ResolvedRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The lines of an apt ``sources.list``, and who named them.

    Attributes:
        lines: one-line format, sources.list(5).  They may hold credentials.
        origin: for people: where they were found.
    """

    lines: tuple[str, ...]
    origin: str

    @property
    def text(self) -> str:
        """The whole file."""
        return "".join(f"{line}\n" for line in self.lines)

    def redacted(self) -> str:
        """Return the whole file without credentials."""
        return redact(self.text)


def find_sources(resolved: ResolvedRecipe, kickstart: Kickstart, *, apt: Path = APT) -> Sources:
    """Return where the packages of a recipe come from.

    Args:
        resolved: the recipe.
        kickstart: its kickstart.
        apt: the host's apt configuration.

    Raises:
        InputError: a ``url`` or ``repo`` line, or the project file, names something unusable.
        HostError: nothing names a source.
    """
    suite = resolved.distro.suite
    lines = [
        _line(command.data.url or "", suite, command.where) for command in kickstart.all("url")
    ] + [
        _line(command.data.baseurl or "", suite, command.where) for command in kickstart.all("repo")
    ]
    if kickstart.all("url"):
        return Sources(lines=tuple(lines), origin="the kickstart's url and repo")
    mirrors = resolved.project.settings.mirrors.get(resolved.distro.id)
    if mirrors:
        where = Location(file="imagebuilder.toml", key=f"mirrors.{resolved.distro.id}")
        given = [_line(each, suite, where) for each in mirrors]
        return Sources(lines=(*given, *lines), origin="imagebuilder.toml")
    host = host_sources(suite, apt)
    if not host.lines:
        raise HostError(
            f"nothing says where packages of {suite} come from: this host's apt has no source "
            "for it, nor for another release of Debian",
            fix=f"name a mirror: in imagebuilder.toml, [mirrors] with "
            f'{resolved.distro.id} = ["deb URL {suite} main"]',
        )
    return Sources(lines=(*host.lines, *lines), origin=host.origin)


def _line(text: str, suite: str, where: Location) -> str:
    """Make a line of a URL, of ``URL SUITE COMPONENT...``, or of a whole ``deb`` line."""
    if "\n" in text or not text.strip():
        raise InputError("a package source is one URL", where=where)
    found = ONE_LINE.match(text.strip())
    if found:
        return text.strip()
    url, *rest = text.split()
    if not re.match(r"^[a-z][a-z0-9+-]*:/", url):
        raise InputError(
            f"{url!r} is no URL of a package source",
            where=where,
            fix="write http://…, https://…, file:///…, or a whole line: deb URL SUITE COMPONENT",
        )
    if not rest:
        rest = [suite, "main"]
    return " ".join(["deb", url, *rest])
