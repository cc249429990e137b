"""What the worker is told: which layers of packages it makes or takes, and the image on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.engines.base import Request
from imagebuilder.engines.direct import (
    debs,
    files,
    image_sources,
    index,
    initrd_reuse,
    inputs,
    layering,
    layers,
    locked,
    package_options,
    preseed,
)
from imagebuilder.engines.direct.host_apt import host_proxies
from imagebuilder.engines.direct.job import Job, Layer, Standing
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


def job(making: Making, held: Sequence[layers.Held], opened: index.Index, work: Path) -> Job:
    """Return what the worker is told.

    Args:
        making: the image.
        held: its package layer, and those below it until the first that is there.
        opened: the package index.
        work: an empty folder on the disk of the layers.

    Raises:
        InputError: a secret is not to be had.
        StepError: apt cannot say which files the packages are in.
    """
    request = making.request
    resolved, kickstart = request.resolved, request.kickstart
    vault, last = request.vault, held[-1].facts
    to_make = [
        (each, stage)
        for each, stage in zip(held, reversed(making.stages), strict=False)
        if not each.facts
    ]
    copies = (copy for _, _, each in files.find(resolved) for copy in each)
    return Job(
        name=resolved.name,
        kickstart=kickstart.to_dict(reveal(kickstart.lines, vault)),
        files=tuple(each.revealed(vault) for each in copies),
        secrets=(*vault.values(), *preseed.passwords(preseed.answers(resolved))),
        arch=arch(resolved),
        layers=tuple(_layer(making, each, stage, opened) for each, stage in reversed(to_make)),
        standing=Standing(place=held[-1].layer, epoch=last.epoch, listing=last.listing)
        if last
        else None,
        installed=wanted(making, opened).installed if to_make else 0,
        recommends=kickstart.weak_dependencies,
        sources=opened.sources.text,
        preferences=_preferences(request, opened),
        apt_options=_apt_options(making, opened),
        proxies=host_proxies(),
        left_out=package_options.left_out(kickstart),
        kept=image_sources.kept(opened.sources, index.targets(opened.folder, request.reporter)),
        lists=opened.lists,
        epoch=inputs.source_date_epoch(),
        deb_store=request.cache_dir / debs.FOLDER,
        initrds=initrd_reuse.place(request.cache_dir),
        again=making.again,
        work=work,
        into=making.into,
        project=resolved.project.root,
        image=resolved.recipe.image,
        missing=making.stages[-1].found.missing,
    )


def _layer(making: Making, held: layers.Held, stage: layering.Stage, opened: index.Index) -> Layer:
    there = wanted(making, opened).of
    return Layer(
        id=stage.layer_id,
        place=held.layer,
        fresh=held.fresh,
        packages=stage.found.asked,
        new=stage.new,
        planned=dict(stage.found.versions),
        preseed=preseed.selections(stage.answers, making.request.vault),
        debs=debs.of(each for name, each in there.items() if name in stage.new),
        fetching=debs.Fetching(
            versions=stage.new,
            environment=index.environment(opened.folder),
            options=_apt_options(making, opened),
        ),
    )


def _apt_options(making: Making, opened: index.Index) -> tuple[str, ...]:
    return (
        *opened.sources.settings(),
        *package_options.apt_options(making.request.kickstart),
    )
