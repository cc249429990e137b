"""Where packages come from.

In this order: the recipe's ``url`` and ``repo`` lines; the project file's ``[mirrors]``; the
host's own apt sources for that suite, or those for another release of Debian with the suite
put in place of the other's, so that a site's mirror, proxy and keys just work.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from imagebuilder.command import redact
from imagebuilder.engines.direct.host_apt import APT, HostSources, host_sources
from imagebuilder.engines.direct.repository import LOCAL, File, Repository, host_file, read
from imagebuilder.errors import HostError, InputError, Location
from imagebuilder.kickstart import Command, Kickstart
from imagebuilder.names import PROJECT_FILE
from imagebuilder.project import ResolvedRecipe
from imagebuilder.secrets import Vault, names_in
from imagebuilder.steady import once

_PATTERN = re.compile(r"^[a-z0-9*?][a-z0-9+.*?\[\]!-]*$")
_MOMENT = "{snapshot}"  # in a line of the project file: where the moment stands
_PROXY = re.compile(r"^([a-z][a-z0-9+.-]*://[^\s\"\\]+|DIRECT)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The lines of an apt ``sources.list``, and who named them.

    Attributes:
        lines: one-line format, sources.list(5).  They may hold credentials.
        origin: for people: where they were found.
        repositories: those that the kickstart or the project file names.
        kept: the lines among ``lines`` that are of the host, and so in the image as they are.
    """

    lines: tuple[str, ...]
    origin: str
    repositories: tuple[Repository, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole file."""
        return "".join(f"{line}\n" for line in self.lines)

    def redacted(self) -> str:
        """Return the whole file without credentials."""
        return redact(self.text)

    def identity(self) -> str:
        """Return what decides which packages there are: no credentials, no places of keys."""
        return _identity(self)

    def settings(self) -> tuple[str, ...]:
        """Return what apt is told of the hosts, as lines of an apt.conf."""
        found = {name: value for each in self.repositories for name, value in each.configuration()}
        return tuple(f'{name} "{value}";' for name, value in found.items())


@lru_cache(maxsize=64)
def _identity(sources: Sources) -> str:
    said = {each.line(): each.identity() for each in sources.repositories}
    return "".join(f"{said.get(line) or redact(line)}\n" for line in sources.lines)


def find_sources(
    resolved: ResolvedRecipe, kickstart: Kickstart, vault: Vault | None = None, *, apt: Path = APT
) -> Sources:
    """Return where the packages of a recipe come from.

    Args:
        resolved: the recipe.
        kickstart: its kickstart.
        vault: what the secrets in URLs stand for.
        apt: the host's apt configuration.

    Raises:
        InputError: a ``url`` or ``repo`` line, or the project file, names something unusable, or
            a secret that is not to be had; a snapshot is named of mirrors that have none.
        HostError: nothing names a source.
    """
    suite, root = resolved.distro.suite, resolved.project.root
    reveal = (vault or Vault()).reveal_url

    def repository(each: Command, url: str | None) -> Repository:
        return _repository(each, url, suite, root, reveal)

    urls = [repository(each, each.data.url) for each in kickstart.all("url")]
    repos = [repository(each, each.data.baseurl) for each in kickstart.all("repo")]
    mirrors = _mirrors(resolved)
    if urls and resolved.snapshot:
        raise InputError(
            "url says where packages come from: the snapshot would have no effect",
            where=urls[0].where,
            fix='put the moment into the URL, and say in the recipe: snapshot = ""',
        )
    if urls:
        return _sources([*urls, *repos], (), "the kickstart's url and repo")
    if mirrors:
        where = Location(file="imagebuilder.toml", key=f"mirrors.{resolved.distro.id}")
        named = (_of_moment(read(each, suite, root, where), resolved.snapshot) for each in mirrors)
        return _sources([*named, *repos], (), where.file)
    host = _host_sources(suite, apt, once(("apt", apt), lambda: _state_of(apt)))
    if not host.lines:
        raise HostError(
            f"nothing says where packages of {suite} come from: this host's apt has no source "
            "for it, nor for another release of Debian",
            fix=f"name a mirror: in imagebuilder.toml, [mirrors] with "
            f'{resolved.distro.id} = ["deb URL {suite} main"]',
        )
    return _sources(repos, host.lines, host.origin) if repos else _of_host(host)


def _mirrors(resolved: ResolvedRecipe) -> list[str]:
    """Return the project's lines for a distribution, of the moment that the recipe names.

    Raises:
        InputError: it names one, and no line has a place for it.
    """
    lines = resolved.project.settings.mirrors.get(resolved.distro.id, [])
    if not resolved.snapshot:
        return [each for each in lines if _MOMENT not in each]
    found = [each.replace(_MOMENT, resolved.snapshot) for each in lines if _MOMENT in each]
    if not found:
        where = resolved.place("snapshot")
        if resolved.recipe.snapshot is None:
            where = Location(file=PROJECT_FILE, key="snapshot")
        raise InputError(
            f"no mirror of {resolved.distro.id} has snapshots",
            where=where,
            fix=f"name one in imagebuilder.toml, [mirrors]: {resolved.distro.id} = "
            f'["deb URL/{_MOMENT} {resolved.distro.suite} main"]',
        )
    return found


def _of_moment(repository: Repository, snapshot: str) -> Repository:
    """Return a repository that apt takes though its release has been out of date for long."""
    if not snapshot or any(name == "check-valid-until" for name, _ in repository.options):
        return repository
    return replace(repository, options=(*repository.options, ("check-valid-until", "no")))


@lru_cache(maxsize=16)
def _of_host(host: HostSources) -> Sources:
    return _sources((), host.lines, host.origin)


def _state_of(apt: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes with the host's own sources."""
    names = [f"{apt}/sources.list"]
    try:
        with os.scandir(f"{apt}/sources.list.d") as found:
            names += sorted(each.path for each in found)
    except OSError:
        pass  # there need be no such folder
    return tuple(each for name in names for each in _stamp(name))


def _stamp(name: str) -> Iterator[tuple[str, int, int]]:
    try:
        facts = os.stat(name)  # noqa: PTH116 - once for each of many recipes
    except OSError:
        return
    if stat.S_ISREG(facts.st_mode):
        yield name, facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=16)
def _host_sources(suite: str, apt: Path, _state: tuple[tuple[str, int, int], ...]) -> HostSources:
    return host_sources(suite, apt)


def _sources(named: Sequence[Repository], host: Sequence[str], origin: str) -> Sources:
    """Put the lines in order: of one version in several places apt takes the first."""
    _check_hosts(named)
    here = [re.sub(r"\sfile:/", " copy:/", line) for line in host]  # as in repository.read
    lines = [(1000, line) for line in here] + [(each.cost, each.line()) for each in named]
    lines.sort(key=lambda each: each[0])
    return Sources(
        lines=tuple(dict.fromkeys(line for _, line in lines)),
        origin=origin,
        repositories=tuple(named),
        kept=tuple(line for line in here if not any(f" {each}" in line for each in LOCAL)),
    )


def _repository(
    command: Command, url: str | None, suite: str, root: Path, reveal: Callable[..., str]
) -> Repository:
    data, where = command.data, command.where
    if not url:
        raise InputError(
            f"{command.name} names no URL",
            where=where,
            fix=f"add {'--url' if command.name == 'url' else '--baseurl'}=URL",
        )
    found = read(reveal(url, where), suite, root, where)
    if names_in(url):
        found = replace(found, said=url)
    settings = _settings(data, where, reveal)
    files = _files(data, root, where)
    if (settings or files) and not found.host:
        raise InputError(f"{redact(found.url)} has no host that a proxy leads to", where=where)
    if command.name == "url":
        return replace(found, settings=settings, files=files)
    keep = bool(data.install)
    if keep and any(name in ("SslCert", "SslKey") for name, _ in files):
        raise InputError(
            "repo --install: the key for its host would be in the image",
            where=where,
            fix="take out --install, and set apt up in the image at boot",
        )
    if keep and found.is_local:
        raise InputError(
            f"repo --install: {found.url} is on the build host alone",
            where=where,
            fix="take out --install",
        )
    return replace(
        found,
        name=data.name or "",
        cost=int(data.cost) if data.cost is not None else found.cost,
        include=_patterns(data.includepkgs, where),
        exclude=_patterns(data.excludepkgs, where),
        keep=keep,
        settings=settings,
        files=files,
    )


def _settings(
    data: Any, where: Location, reveal: Callable[..., str]
) -> tuple[tuple[str, str], ...]:
    settings: list[tuple[str, str]] = []
    if data.proxy:
        proxy = reveal(data.proxy, where)
        if not _PROXY.match(proxy):
            raise InputError(
                f"--proxy={redact(proxy)} is no URL", where=where, fix="write http://HOST:PORT"
            )
        settings.append(("Proxy", proxy))
    if data.noverifyssl:
        settings += [("Verify-Peer", "false"), ("Verify-Host", "false")]
    return tuple(settings)


def _files(data: Any, root: Path, where: Location) -> tuple[tuple[str, File], ...]:
    given = (
        ("CaInfo", data.sslcacert),
        ("SslCert", data.sslclientcert),
        ("SslKey", data.sslclientkey),
    )
    return tuple(
        (name, host_file(path, root, where, what="certificate")) for name, path in given if path
    )


def _patterns(names: Sequence[str] | None, where: Location) -> tuple[str, ...]:
    found = tuple(each.strip() for each in names or () if each.strip())
    for each in found:
        if not _PATTERN.match(each):
            raise InputError(
                f"{each!r} is no name or pattern of a package",
                where=where,
                fix="write names, with * and ? for what may be anything, and commas between them",
            )
    return found


def _check_hosts(named: Sequence[Repository]) -> None:
    """Refuse two lines that would have apt treat one host in two ways."""
    said: dict[str, tuple[str, Repository]] = {}
    for each in named:
        for name, value in each.configuration():
            before, first = said.setdefault(name, (value, each))
            if before != value:
                raise InputError(
                    f"{each.host} is fetched from in another way in {first.where}",
                    where=each.where,
                    fix="apt has one proxy and one certificate for each host: say the same in both",
                )
