"""What the worker is told: which layer of packages it makes or takes, and the image on it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.engines.base import Request
from imagebuilder.engines.direct import (
    debs,
    files,
    image_sources,
    index,
    inputs,
    layering,
    layers,
    locked,
    package_options,
    preseed,
)
from imagebuilder.engines.direct.host_apt import host_proxies
from imagebuilder.engines.direct.job import Job
from imagebuilder.kickstart.reveal import reveal
from imagebuilder.project import ResolvedRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """One image in the making.

    Attributes:
        request: what is asked.
        stages: its layers of packages, the lowest first.
        work: a folder for what is in between.
        into: the folder for the results.
        again: make every step, whatever is in the cache.
        since: for the id of each layer from when on one counts that is there, in nanoseconds
            since the epoch.
        files: what apt would fetch, once it has been asked.
        fetched: the layers that came from the remote cache, by their place among the stages.
    """

    request: Request
    stages: tuple[layering.Stage, ...]
    work: Path
    into: Path
    again: bool
    since: dict[str, int]
    files: list[locked.Files] = field(default_factory=list)
    fetched: set[int] = field(default_factory=set)

    def layer(self, n: int) -> Path:
        """Return the folder of a layer."""
        return layers.place(self.request.cache_dir, self.stages[n].layer_id)

    def since_of(self, n: int) -> int:
        """Return from when on a layer counts."""
        return self.since[self.stages[n].layer_id]


def wanted(making: Making, opened: index.Index) -> locked.Files:
    """Return what apt would fetch for all layers; it is asked once.

    Raises:
        StepError: apt cannot say it.
    """
    if not making.files:
        request, found = making.request, making.stages[-1].found
        with locked.told(_preferences(request, opened)) as file:
            making.files.append(
                locked.files(opened, found.asked, request.kickstart, request.reporter, file)
            )
    return making.files[0]


def _preferences(request: Request, opened: index.Index) -> str:
    if request.lock:
        return locked.preferences(request.lock.packages, alone=True)
    return opened.preferences


def arch(resolved: ResolvedRecipe) -> str:
    """Return the archive's name for the architecture of a recipe."""
    return resolved.distro.package_arch(resolved.recipe.arch)


def job(
    making: Making,
    held: layers.Held,
    n: int,
    below: layers.Held | None,
    opened: index.Index,
    work: Path,
    *,
    is_all: bool,
) -> Job:
    """Return what the worker is told.

    Args:
        making: the image.
        held: the layer, which is made if it is not there.
        n: its place among the stages.
        below: the one that it is made on, if it is made on any.
        opened: the package index.
        work: an empty folder on the disk of the layers.
        is_all: whether the layer is all that is to be made.

    Raises:
        InputError: a secret is not to be had.
        StepError: apt cannot say which files the packages are in.
    """
    request, facts, stage = making.request, held.facts, making.stages[n]
    resolved, kickstart, found = request.resolved, request.kickstart, stage.found
    apt_options = (*opened.sources.settings(), *package_options.apt_options(kickstart))
    preferences = _preferences(request, opened)
    files_of: tuple[debs.Deb, ...] = ()
    installed = 0
    if facts is None:
        there = wanted(making, opened)
        files_of = debs.of(each for name, each in there.of.items() if name in stage.new)
        installed = there.installed
    copies = (copy for _, _, each in files.find(resolved) for copy in each)
    vault, epoch = request.vault, inputs.source_date_epoch()
    return Job(
        name=resolved.name,
        kickstart=kickstart.to_dict(reveal(kickstart.lines, vault)),
        preseed=preseed.selections(stage.answers, vault),
        files=tuple(each.revealed(vault) for each in copies),
        secrets=(*vault.values(), *preseed.passwords(preseed.answers(resolved))),
        arch=arch(resolved),
        packages=found.asked,
        new=stage.new,
        planned=dict(found.versions),
        recommends=kickstart.weak_dependencies,
        sources=opened.sources.text,
        preferences=preferences,
        apt_options=apt_options,
        proxies=host_proxies(),
        dpkg_options=package_options.dpkg_options(kickstart),
        kept=image_sources.kept(opened.sources, index.targets(opened.folder, request.reporter)),
        lists=opened.lists,
        epoch=facts.epoch if facts else epoch,
        debs=files_of,
        installed=installed,
        deb_store=request.cache_dir / debs.FOLDER,
        fetching=debs.Fetching(
            versions=stage.new,
            environment=index.environment(opened.folder),
            options=apt_options,
        ),
        layer=held.layer,
        fresh=None if facts else held.fresh,
        layer_listing=facts.listing if facts else "",
        below=below.layer if below else None,
        below_epoch=below.facts.epoch if below and below.facts else 0,
        below_listing=below.facts.listing if below and below.facts else "",
        is_all=is_all,
        layer_id=stage.layer_id,
        initrds=Path(f"{request.cache_dir}/initrds/uid-{os.geteuid()}"),
        again=making.again,
        work=work,
        into=making.into,
        project=resolved.project.root,
        image=resolved.recipe.image,
        missing=found.missing,
    )
