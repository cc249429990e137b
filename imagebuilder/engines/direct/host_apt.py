"""What the host's own apt knows of mirrors and proxies: a site's settings just work."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.command import run
from imagebuilder.errors import HostError, StepError

APT = Path("/etc/apt")

ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>\S+\s+\S+.*)$")

# Names under which a mirror of Debian has its releases.  A mirror that has one of them nearly
# always has those beside it, and under the same URL.  sid has neither updates nor security.
_RELEASES = ("forky", "trixie", "bookworm", "bullseye", "stable", "oldstable", "testing")
_PARTS = ("", "-updates", "-security")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSources:
    """What the host's apt has for a release of Debian.

    Attributes:
        lines: in one-line format, sources.list(5); empty if it has nothing.
        origin: for people: where they were found.
    """

    lines: tuple[str, ...]
    origin: str


def host_sources(suite: str, apt: Path = APT) -> HostSources:
    """Return the host's apt sources for a suite, its updates and its security updates.

    A host that has none for this suite but for another release of Debian gives those, with the
    suite's name put in place of the other's: a mirror that has one has the other as well.

    Third-party repositories are left out: what a host has beside the distribution is no part
    of an image that does not name it.  They are told by having no component ``main``, or by
    standing under a suite of another name.

    Args:
        suite: the name of a release of Debian.
        apt: the host's apt configuration.
    """
    found = [line for line in _lines(apt) if "main" in line.components]
    for release in (suite, *(each for each in _RELEASES if each != suite)):
        names = {f"{release}{part}": f"{suite}{part}" for part in _PARTS}
        lines = tuple(
            dict.fromkeys(
                f"deb {line.options}{line.url} {names[line.suite]} {' '.join(line.components)}"
                for line in found
                if line.suite in names
            )
        )
        if lines:
            instead = "" if release == suite else f", with {suite} in place of {release}"
            return HostSources(lines=lines, origin=f"{apt} of this host{instead}")
    return HostSources(lines=(), origin=f"{apt} of this host")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    options: str  # with brackets and a space after them, or ""
    url: str
    suite: str
    components: tuple[str, ...]


def _lines(apt: Path) -> Iterator[_Line]:
    for file in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]:
        for line in _text(file).splitlines():
            found = ONE_LINE.match(line.strip())
            if not found:
                continue
            url, suite, *components = found["rest"].partition("#")[0].split()
            options = f"[{found['options'].strip()}] " if found["options"] else ""
            yield _Line(options=options, url=url, suite=suite, components=tuple(components))
    for file in sorted((apt / "sources.list.d").glob("*.sources")):
        yield from _from_deb822(_text(file))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _from_deb822(text: str) -> Iterator[_Line]:
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        key = fields.get("signed-by", "")
        options = f"[signed-by={key}] " if key.startswith("/") and "\n" not in key else ""
        components = tuple(fields.get("components", "").split())
        for url in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield _Line(options=options, url=url, suite=suite, components=components)


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
