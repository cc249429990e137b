"""Where packages come from.

In this order: the recipe's ``url`` and ``repo`` lines; the project file's ``[mirrors]``; the
host's own apt sources for that suite, so that a site's mirror, proxy and keys just work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.command import redact, run
from imagebuilder.errors import HostError, InputError, Location, StepError
from imagebuilder.kickstart import Kickstart
from imagebuilder.project import ResolvedRecipe

_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>\S+\s+\S+.*)$")


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


def find_sources(
    resolved: ResolvedRecipe, kickstart: Kickstart, *, apt: Path = Path("/etc/apt")
) -> Sources:
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
    if not host:
        raise HostError(
            f"nothing says where packages of {suite} come from: this host's apt has no source "
            "for it",
            fix=f"name a mirror: in imagebuilder.toml, [mirrors] with "
            f'{resolved.distro.id} = ["deb URL {suite} main"]',
        )
    return Sources(lines=(*host, *lines), origin=f"{apt} of this host")


def _line(text: str, suite: str, where: Location) -> str:
    """Make a line of a URL, of ``URL SUITE COMPONENT...``, or of a whole ``deb`` line."""
    if "\n" in text or not text.strip():
        raise InputError("a package source is one URL", where=where)
    found = _ONE_LINE.match(text.strip())
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


def host_sources(suite: str, apt: Path) -> tuple[str, ...]:
    """Return the host's own apt sources for a suite and its updates, in one-line format.

    Third-party repositories are left out: what a host has beside the distribution is no part
    of an image that does not name it.  They are told by having no component ``main``, or by
    standing under a suite of another name.
    """
    suites = {suite, f"{suite}-updates", f"{suite}-security", f"{suite}/updates"}
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    lines: list[str] = []
    for file in files:
        for line in _text(file).splitlines():
            found = _ONE_LINE.match(line.strip())
            if not found:
                continue
            _, named, *components = found["rest"].split()
            if named in suites and "main" in components:
                lines.append(line.strip())
    for file in sorted((apt / "sources.list.d").glob("*.sources")):
        lines += _from_deb822(_text(file), suites)
    return tuple(dict.fromkeys(lines))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _from_deb822(text: str, suites: set[str]) -> list[str]:
    lines: list[str] = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        components = fields.get("components", "").split()
        if "main" not in components:
            continue
        key = fields.get("signed-by", "")
        options = f"[signed-by={key}] " if key.startswith("/") and "\n" not in key else ""
        lines += [
            f"deb {options}{url} {suite} {' '.join(components)}"
            for url in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
            if suite in suites
        ]
    return lines


def _fields(stanza: str) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def host_proxies() -> tuple[str, ...]:
    """Return the host's apt settings for proxies, as lines of an apt.conf."""
    try:
        dump = run(["apt-config", "dump"], timeout=20, check=False).stdout
    except (HostError, StepError):
        return ()
    return tuple(
        line
        for line in dump.splitlines()
        if re.match(r'^Acquire::(https?|ftp)::Proxy(::\S+)? ".+";$', line)
        or re.match(r'^Acquire::https?::Proxy-Auto-Detect ".+";$', line)
    )
