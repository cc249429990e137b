"""DirectEngine: plans with the package index, runs the worker, keeps package layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from imagebuilder import cache, sandbox, tools
from imagebuilder.engines import messages, squashfs
from imagebuilder.engines.base import Input, Made, Request, Step, StepSpec, Units, Watched
from imagebuilder.engines.direct import (
    checking,
    contents,
    debs,
    files,
    image_sources,
    index,
    initrd,
    inputs,
    layers,
    lock_check,
    locked,
    needs,
    package_options,
    packages,
    preseed,
    sharing,
    watching,
)
from imagebuilder.engines.direct.host_apt import host_proxies
from imagebuilder.engines.direct.job import Job, Outcome
from imagebuilder.engines.direct.resolve import Resolution, resolve
from imagebuilder.engines.direct.simulate import install
from imagebuilder.engines.direct.sources import find_sources
from imagebuilder.errors import HostError, Location, StepError, listed
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.reveal import reveal
from imagebuilder.lockfile import Change, LockedPackage, LockFile
from imagebuilder.project import ResolvedRecipe

_NAMED = 5  # files that an error names
_TIMEOUT = 6 * 3600.0  # seconds for a whole image; each step has a limit of its own
_TOOLS = ("mmdebstrap", "apt-get", "mksquashfs", "unshare", "setpriv")


class DamagedLayer(Exception):  # noqa: N818 - no error of a user's: it is mended at once
    """A package layer is no longer what was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """One image in the making: what is asked, and the folders that serve it alone."""

    request: Request
    layer_id: str
    work: Path
    into: Path
    again: bool


class DirectEngine:
    """Makes images of Debian releases with mmdebstrap, dracut and squashfs-tools."""

    def check(self, request: Request) -> tuple[str, ...]:
        """Refuse what cannot be honoured; see :class:`~imagebuilder.engines.base.Engine`."""
        return checking.check(request)

    def steps(self, request: Request) -> tuple[StepSpec, ...]:
        """Return packages, configure, initrd and rootfs with their inputs."""
        resolved, kickstart = request.resolved, request.kickstart
        sources = find_sources(resolved, kickstart, request.vault)
        found = self._resolved(request)
        if not _can_boot(found):
            packages.check_names(found.versions, _where_packages(kickstart))
        needs.check(kickstart, found.versions)
        return (
            StepSpec(
                name=packages.STEP,
                text=f"install {len(found.versions)} packages of {resolved.distro.id}",
                inputs=inputs.of_packages(request, sources, found),
            ),
            StepSpec(
                name="configure",
                after=packages.STEP,
                text="apply the kickstart's commands and scripts",
                inputs=inputs.of_configure(request, sources),
            ),
            StepSpec(
                name=initrd.STEP,
                after="configure",
                text="make the initrd with dracut, if anything that dracut reads has changed",
                inputs=(
                    inputs.ENGINE,
                    Input.of("fetching", initrd.module_digest(), "how it fetches the root"),
                ),
            ),
            StepSpec(
                name=squashfs.STEP,
                after="configure",
                text=f"make the squashfs with {resolved.recipe.image.compression}",
                inputs=(
                    inputs.ENGINE,
                    Input.of("compression", " ".join(squashfs.arguments(resolved.recipe.image))),
                ),
            ),
        )

    def packages(self, request: Request) -> Mapping[str, str]:
        """Return what the packages come to; see :class:`~imagebuilder.engines.IndexedEngine`."""
        return self._resolved(request).versions

    def check_needs(self, request: Request, packages: Mapping[str, str]) -> None:
        """Refuse commands that need others; see :class:`~imagebuilder.engines.IndexedEngine`."""
        needs.check(request.kickstart, packages)

    def units(self, request: Request, packages: Iterable[str]) -> Units:
        """Return the units of packages; see :class:`~imagebuilder.engines.IndexedEngine`."""
        opened = self._index(replace(request, refresh=False))
        return contents.units_of(
            opened, _arch(request.resolved), packages, request.reporter, offline=request.offline
        )

    def has(self, cache_dir: Path, step: str, step_id: str) -> bool:
        """Return whether the package layer of that id is in the cache."""
        return step == packages.STEP and layers.facts(layers.place(cache_dir, step_id)) is not None

    def make_lock(self, request: Request, keep: Sequence[LockedPackage] = ()) -> LockFile:
        """Return a new lock file; see :class:`~imagebuilder.engines.LockingEngine`."""
        return locked.make(self._index(request), request, _arch(request.resolved), keep)

    def security_of(self, request: Request, changes: Sequence[Change]) -> frozenset[str]:
        """Return security updates; see :class:`~imagebuilder.engines.LockingEngine`."""
        opened = self._index(replace(request, refresh=False))
        return lock_check.security_of(opened, changes, request.reporter)

    def check_lock(self, request: Request, steps: Sequence[Step]) -> None:
        """See that all is to be had; see :class:`~imagebuilder.engines.LockingEngine`."""
        if request.lock and not next(each for each in steps if each.name == packages.STEP).reused:
            opened = self._index(request)
            lock_check.check_there(opened, request.lock, request.kickstart, request.reporter)

    def watched(self, request: Request) -> Watched | None:
        """Return what steps follow from; see :class:`~imagebuilder.engines.WatchedEngine`."""
        return watching.watched(request)

    def shared_step(self) -> str:
        """Return ``packages``; see :class:`~imagebuilder.engines.SharingEngine`."""
        return packages.STEP

    def why_private(self, request: Request) -> str:
        """Say what is not shared; see :class:`~imagebuilder.engines.SharingEngine`."""
        return sharing.why_private(request)

    def share(self, request: Request, steps: Sequence[Step]) -> None:
        """Share the package layer; see :class:`~imagebuilder.engines.SharingEngine`."""
        step = next(each for each in steps if each.name == packages.STEP)
        sharing.share(request, step.id)

    def make(self, request: Request, steps: tuple[Step, ...], into: Path, *, again: bool) -> Made:
        """Run the worker in namespaces of its own, under the lock of its package layer."""
        tools.need(*_TOOLS)
        why_not = sandbox.why_not_enclosed()
        if why_not:
            raise HostError(
                f"this user cannot build here: {why_not}",
                fix="run: imagebuilder doctor; it shows the command that mends it",
            )
        step = next(each for each in steps if each.name == packages.STEP)
        layer = layers.place(request.cache_dir, step.id)
        with cache.work_folder(request.cache_dir / "work", request.resolved.name) as work:
            making = _Making(request=request, layer_id=step.id, work=work, into=into, again=again)
            outcome, is_reused = self._run(making, layer, layers.now() if again else 0)
        reused = frozenset({*outcome.reused, *((packages.STEP,) if is_reused else ())})
        return Made(
            kernel_release=outcome.kernel_release,
            tree_size=outcome.tree_size,
            package_count=outcome.package_count,
            tools=tools.versions("mmdebstrap", "mksquashfs"),
            seconds=outcome.seconds,
            reused=reused,
            notes=outcome.notes,
        )

    def _resolved(self, request: Request) -> Resolution:
        """Return the packages; those of a lock file without a look at any index."""
        if request.lock:
            locked.check_fits(request, request.lock, _arch(request.resolved))
            return locked.resolution(request.lock)
        return resolve(self._index(request), request.kickstart, request.reporter)

    def _run(self, making: _Making, layer: Path, since: int) -> tuple[Outcome, bool]:
        """Run the worker on a package layer, which it makes if there is none since then.

        Returns:
            what it made, and whether the layer was there.
        """
        request = making.request
        while True:
            with layers.held(layer, request.reporter, since=since) as held:
                fetched = None
                if held.facts is None and not since:
                    fetched = sharing.fetch(request, held, making.work)
                    held = fetched or held
                job = self._job(making, held)
                self._check_offline(request, job)
                try:
                    outcome = _run_worker(job, request, held.share)
                except DamagedLayer:
                    if fetched and request.remote:
                        why = "its files are not those that it names"
                        request.remote.distrust("packages", layer.name, why, request.reporter)
                    else:
                        request.reporter.note(
                            packages.STEP,
                            "the packages in the cache were damaged: they are installed anew",
                        )
                    since = held.made + 1
                    continue
                cache.touch(layer / layers.FACTS)
                return outcome, held.facts is not None

    def _check_offline(self, request: Request, job: Job) -> None:
        if request.offline and (lost := debs.lacking(job.debs, job.deb_store)):
            more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
            named = listed(each.file for each in lost[:_NAMED]) + more
            raise StepError(
                f"packages of {request.resolved.name} are not in the cache, and none may be "
                f"fetched: {named}",
                fix="build it once without --offline",
            )

    def _index(self, request: Request) -> index.Index:
        sources = find_sources(request.resolved, request.kickstart, request.vault)
        return index.open_index(
            request.cache_dir,
            sources,
            _arch(request.resolved),
            request.reporter,
            refresh=request.refresh,
            offline=request.offline,
            max_age=request.resolved.project.settings.mirrors_age,
        )

    def _job(self, making: _Making, held: layers.Held) -> Job:
        request, facts = making.request, held.facts
        resolved, kickstart = request.resolved, request.kickstart
        # Without looking at the mirrors again: the plan has just done so.
        opened = self._index(replace(request, refresh=False))
        found = self._resolved(replace(request, refresh=False))
        preferences = opened.preferences
        if request.lock:
            preferences = locked.preferences(request.lock.packages, alone=True)
        apt_options = (*opened.sources.settings(), *package_options.apt_options(kickstart))
        files_of: tuple[debs.Deb, ...] = ()
        if facts is None:
            with locked.told(preferences) as file:
                there = locked.files(opened, found.asked, kickstart, request.reporter, file)
            files_of = debs.of(there.values())
        answers = preseed.answers(resolved)
        copies = (copy for _, _, each in files.find(resolved) for copy in each)
        vault = request.vault
        return Job(
            name=resolved.name,
            kickstart=kickstart.to_dict(reveal(kickstart.lines, vault)),
            preseed=preseed.selections(answers, vault),
            files=tuple(each.revealed(vault) for each in copies),
            secrets=(*vault.values(), *preseed.passwords(answers)),
            suite=resolved.distro.suite,
            arch=_arch(resolved),
            packages=found.asked,
            package_count=len(found.versions),
            recommends=kickstart.weak_dependencies,
            sources=opened.sources.text,
            preferences=preferences,
            apt_options=apt_options,
            proxies=host_proxies(),
            dpkg_options=package_options.dpkg_options(kickstart),
            kept=image_sources.kept(opened.sources, index.targets(opened.folder, request.reporter)),
            lists=opened.lists,
            epoch=facts.epoch if facts else inputs.source_date_epoch(),
            debs=files_of,
            deb_store=request.cache_dir / debs.FOLDER,
            fetching=debs.Fetching(
                argv=install(opened, found.asked, kickstart),
                environment=index.environment(opened.folder),
                options=apt_options,
                preferences=preferences,
                count=len(found.versions),
            ),
            layer=held.layer,
            fresh=None if facts else held.fresh,
            layer_listing=facts.listing if facts else "",
            layer_id=making.layer_id,
            initrds=Path(f"{request.cache_dir}/initrds/uid-{os.geteuid()}"),
            again=making.again,
            work=making.work,
            into=making.into,
            project=resolved.project.root,
            image=resolved.recipe.image,
            missing=found.missing,
        )


@lru_cache(maxsize=256)
def _can_boot(found: Resolution) -> bool:
    return not packages.lacking(found.versions)


def _arch(resolved: ResolvedRecipe) -> str:
    return resolved.distro.package_arch(resolved.recipe.arch)


def _where_packages(kickstart: Kickstart) -> Location | None:
    """Return the last %packages section: the place to mend a choice of packages."""
    sections = [each.where for each in kickstart.sections if each.name == "%packages"]
    return sections[-1] if sections else None


def _run_worker(job: Job, request: Request, on_layer: Callable[[], None]) -> Outcome:
    is_damaged: list[object] = []
    try:
        outcome = messages.run_worker(
            "imagebuilder.engines.direct.worker",
            job.model_dump_json(),
            request.reporter,
            timeout=_TIMEOUT,
            network=not request.offline,
            on={"layer": lambda _: on_layer(), "damaged": is_damaged.append},
        )
    except StepError:
        if is_damaged:
            raise DamagedLayer from None
        raise
    return Outcome.model_validate(outcome)
