"""What the steps of an image follow from beside the recipe, its fragments and the code."""

from __future__ import annotations

from pathlib import Path

from imagebuilder import tools
from imagebuilder.engines.base import Request, Watched
from imagebuilder.engines.direct import index
from imagebuilder.engines.direct.host_apt import APT
from imagebuilder.engines.direct.sources import find_sources
from imagebuilder.image import sha256_of
from imagebuilder.steady import once

_ALWAYS = 2.0**62  # seconds


def _digest_of(used: tuple[Path, index.State]) -> str:
    return once(("state of an index", used[0], used[1].checked), lambda: sha256_of(used[0]))


def watched(request: Request) -> Watched | None:
    """Return it, or None if it is out of sight: see :class:`~imagebuilder.engines.WatchedEngine`.

    The steps have just been found: the index is there.
    """
    resolved = request.resolved
    sources = find_sources(resolved, request.kickstart, request.vault)
    arch = resolved.distro.package_arch(resolved.recipe.arch)
    # With a lock file the index was asked only if packages must be installed.
    used = index.used(request.cache_dir, sources, arch)
    if used is None and not request.lock:
        return None
    project = resolved.project.root
    copied = [f"{project}/{entry.source}" for entry in resolved.recipe.files]
    named = [
        str(each.path)
        for source in sources.repositories
        for each in (*source.keys, *(file for _, file in source.files))
    ]
    return Watched(
        paths=tuple(
            dict.fromkeys(
                [
                    *(f"{APT}/sources.list", f"{APT}/sources.list.d"),
                    str(tools.DPKG),
                    *index.local_files(sources),
                    *copied,
                    *named,
                ]
            )
        ),
        texts=((str(used[0]), _digest_of(used)),) if used else (),
        since=used[1].checked if used else 0.0,
        until=used[1].checked + resolved.project.settings.mirrors_age if used else _ALWAYS,
    )
