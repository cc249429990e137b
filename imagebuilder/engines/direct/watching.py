"""What the steps of an image follow from beside the recipe, its fragments and the code."""

from __future__ import annotations

from imagebuilder.engines.base import Request, Watched
from imagebuilder.engines.direct import index
from imagebuilder.engines.direct.host_apt import APT
from imagebuilder.engines.direct.sources import find_sources
from imagebuilder.image import sha256_of


def watched(request: Request) -> Watched | None:
    """Return it, or None if it is out of sight: see :class:`~imagebuilder.engines.WatchedEngine`.

    The steps have just been found: the index is there.
    """
    resolved = request.resolved
    sources = find_sources(resolved, request.kickstart, request.vault)
    arch = resolved.distro.package_arch(resolved.recipe.arch)
    used = index.used(request.cache_dir, sources, arch)
    if used is None:
        return None
    file, state = used
    project = resolved.project.root
    copied = [f"{project}/{entry.source}" for entry in resolved.recipe.files]
    named = [
        str(each.path)
        for source in sources.repositories
        for each in (*source.keys, *(file for _, file in source.files))
    ]
    return Watched(
        paths=tuple(
            dict.fromkeys([f"{APT}/sources.list", f"{APT}/sources.list.d", *copied, *named])
        ),
        texts=((str(file), sha256_of(file)),),
        since=state.checked,
        until=state.checked + resolved.project.settings.mirrors_age,
    )
