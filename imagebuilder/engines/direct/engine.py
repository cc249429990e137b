"""DirectEngine: plans with the package index, runs the worker, keeps package layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from imagebuilder import cache, sandbox, tools, workers
from imagebuilder.engines import messages, rootfs
from imagebuilder.engines.base import Input, Made, Request, Step, StepSpec, Units, Watched
from imagebuilder.engines.direct import (
    checking,
    contents,
    debs,
    index,
    initrd,
    initrd_sharing,
    inputs,
    layering,
    layers,
    lock_check,
    locked,
    needs,
    orders,
    packages,
    room,
    sharing,
    watching,
)
from imagebuilder.engines.direct.job import Job, Outcome
from imagebuilder.engines.direct.resolve import Resolution, resolve
from imagebuilder.engines.direct.sources import Sources, find_sources
from imagebuilder.errors import HostError, Location, StepError, listed
from imagebuilder.kickstart import Kickstart
from imagebuilder.lockfile import Change, LockedPackage, LockFile
from imagebuilder.recipe import ImageOptions
from imagebuilder.steady import once

_NAMED = 5  # files that an error names
_TOOLS = ("mmdebstrap", "apt-get", "unshare", "setpriv")


class DamagedLayer(Exception):  # noqa: N818 - no error of a user's: it is mended at once
    """A package layer is no longer what was kept."""


class DirectEngine:
    """Makes images of Debian releases with mmdebstrap, dracut and squashfs-tools or erofs-utils."""

    def check(self, request: Request) -> tuple[str, ...]:
        """Refuse what cannot be honoured; see :class:`~imagebuilder.engines.base.Engine`."""
        return checking.check(request)

    def steps(self, request: Request) -> tuple[StepSpec, ...]:
        """Return packages, configure, initrd and rootfs with their inputs."""
        resolved, kickstart = request.resolved, request.kickstart
        sources = find_sources(resolved, kickstart, request.vault)
        found = self._resolved(request, sources, with_layers=True)
        if not _can_boot(found):
            packages.check_names(found.versions, _where_packages(kickstart))
        needs.check(kickstart, found.versions)
        made = self._stages(replace(request, refresh=False), sources, found)
        return (
            StepSpec(
                name=packages.STEP,
                text=f"install {len(found.versions)} packages of {resolved.distro.id}"
                f"{layering.summary(made)}",
                inputs=made[-1].inputs,
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
                    Input.of("end", "multiple of 4 bytes", "how the initrd ends"),
                ),
            ),
            StepSpec(
                name=rootfs.STEP,
                after="configure",
                text=f"make the {rootfs.described(resolved.recipe.image)}",
                inputs=(
                    inputs.ENGINE,
                    *inputs.of_tools(rootfs.package(resolved.recipe.image)),
                    Input.of("compression", " ".join(rootfs.arguments(resolved.recipe.image))),
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
            opened,
            orders.arch(request.resolved),
            packages,
            request.reporter,
            offline=request.offline,
        )

    def has(self, cache_dir: Path, step: str, step_id: str) -> bool:
        """Return whether the package layer of that id is in the cache."""
        if step != packages.STEP:
            return False
        return once(
            ("package layer", cache_dir, step_id),
            lambda: layers.facts(layers.place(cache_dir, step_id)) is not None,
        )

    def make_lock(self, request: Request, keep: Sequence[LockedPackage] = ()) -> LockFile:
        """Return a new lock file; see :class:`~imagebuilder.engines.LockingEngine`."""
        return locked.make(self._index(request), request, orders.arch(request.resolved), keep)

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

    def shared_results(self, request: Request) -> tuple[str, ...]:
        """Return the package layers; see :class:`~imagebuilder.engines.SharingEngine`."""
        return tuple(each.layer_id for each in self._stages(replace(request, refresh=False)))

    def why_private(self, request: Request) -> str:
        """Say what is not shared; see :class:`~imagebuilder.engines.SharingEngine`."""
        return sharing.why_private(request)

    def share(self, request: Request, steps: Sequence[Step]) -> None:
        """Share the package layer; see :class:`~imagebuilder.engines.SharingEngine`."""
        step = next(each for each in steps if each.name == packages.STEP)
        sharing.share(request, step.id)
        if request.remote and request.remote.writes:
            # Those below are what other recipes, and this one when it changes, begin with.
            for each in self.shared_results(request)[:-1]:
                sharing.share(request, each)
            if not sharing.why_private(request):
                initrd_sharing.share(request, steps, step.id)

    def make(self, request: Request, steps: tuple[Step, ...], into: Path, *, again: bool) -> Made:
        """Run the worker in namespaces of its own, under the lock of its package layer."""
        packing = request.resolved.recipe.image
        tools.need(*_TOOLS)
        rootfs.see_that_it_can(packing)
        why_not = sandbox.why_not_enclosed()
        if why_not:
            raise HostError(
                f"this user cannot build here: {why_not}",
                fix="run: imagebuilder doctor; it shows the command that mends it",
            )
        # Without looking at the mirrors again: the plan has just done so.
        request = replace(request, refresh=False)
        found = self._stages(request)
        planned = next(each.id for each in steps if each.name == packages.STEP)
        if found[-1].layer_id != planned:
            raise StepError(
                "the package index has changed since this was planned",
                fix="run the same command again",
            )
        with (
            ThreadPoolExecutor(1) as beside,
            cache.work_folder(request.cache_dir / "work", request.resolved.name) as work,
        ):
            versions = beside.submit(_versions, packing)
            making = orders.Making(
                request=request,
                stages=found,
                work=work,
                into=into,
                again=again,
                since=dict.fromkeys(
                    (each.layer_id for each in found), layers.now() if again else 0
                ),
            )
            self._see_that_it_fits(making)
            outcome, is_reused = self._run(making)
        reused = frozenset({*outcome.reused, *((packages.STEP,) if is_reused else ())})
        return Made(
            kernel_release=outcome.kernel_release,
            tree_size=outcome.tree_size,
            package_count=outcome.package_count,
            tools=versions.result(),
            seconds=outcome.seconds,
            reused=reused,
            notes=outcome.notes,
        )

    def _resolved(
        self, request: Request, sources: Sources | None = None, *, with_layers: bool = False
    ) -> Resolution:
        """Return the packages; those of a lock file without a look at any index.

        Args:
            request: the recipe.
            sources: where its packages come from, if that is known.
            with_layers: whether its layers will be asked for as well.
        """
        if request.lock:
            locked.check_fits(request, request.lock, orders.arch(request.resolved))
            return locked.resolution(request.lock)
        opened = self._index(request, sources)
        if with_layers:
            layering.ask_ahead(request.kickstart, opened, request.reporter)
        return resolve(opened, request.kickstart, request.reporter)

    def _stages(
        self, request: Request, sources: Sources | None = None, found: Resolution | None = None
    ) -> tuple[layering.Stage, ...]:
        """Return the layers of packages.

        Args:
            request: the recipe.
            sources: where its packages come from, if that is known.
            found: what they come to, if that is known.
        """
        sources = sources or find_sources(request.resolved, request.kickstart, request.vault)
        found = found or self._resolved(request, sources)
        if request.lock:
            parts = layering.of_lock(request.lock)
        else:
            index_ = self._index(request, sources)
            parts = layering.of_index(request.kickstart, found, index_, request.reporter)
        return layering.stages(request, sources, found, parts)

    def _see_that_it_fits(self, making: orders.Making) -> None:
        request = making.request
        found = room.estimate(making, self._index(request))
        said = room.check(found, request.resolved.name, request.cache_dir, making.into.parent)
        if making.files:
            request.reporter.note("image", said)

    def _run(self, making: orders.Making) -> tuple[Outcome, bool]:
        """Run the worker on the image's package layer; it makes those that are not there.

        Returns:
            what it made, and whether the layer was there.
        """
        while True:
            with ExitStack() as stack:
                held = self._hold(stack, making)
                try:
                    outcome = self._work(making, held)
                except DamagedLayer:
                    continue
                for each in held:
                    cache.touch(each.layer / layers.FACTS)
                return outcome, held[0].facts is not None

    def _hold(self, stack: ExitStack, making: orders.Making) -> list[layers.Held]:
        """Hold the image's package layer, and those below it until the first that is there."""
        found: list[layers.Held] = []
        for n in reversed(range(len(making.stages))):
            held = stack.enter_context(
                layers.held(making.layer(n), making.request.reporter, since=making.since_of(n))
            )
            found.append(self._fetched(making, held, n) or held)
            if found[-1].facts:
                break
        return found

    def _fetched(self, making: orders.Making, held: layers.Held, n: int) -> layers.Held | None:
        """Take a layer that is not there from the remote cache, if it has it."""
        if held.facts or making.since_of(n):
            return None
        fetched = sharing.fetch(making.request, held, making.work)
        if fetched:
            making.fetched.add(n)
            if n == len(making.stages) - 1 and not making.again:
                ids = (each.layer_id for each in reversed(making.stages))
                initrd_sharing.fetch(making.request, ids)
        return fetched

    def _work(self, making: orders.Making, held: Sequence[layers.Held]) -> Outcome:
        """Run the worker.

        Raises:
            DamagedLayer: the layer that was there is no longer what was kept: it does not count.
        """
        request = making.request
        work = making.work / str(len(list(making.work.iterdir())))
        work.mkdir()
        job = orders.job(making, held, self._index(request), work)
        self._check_offline(request, job)
        share = {each.layer.name: each.share for each in held}
        try:
            return _run_worker(job, request, lambda layer_id: share[layer_id]())
        except DamagedLayer:
            bad, at = held[-1], len(making.stages) - len(held)
            if request.remote and at in making.fetched:
                why = "its files are not those that it names"
                request.remote.distrust("packages", bad.layer.name, why, request.reporter)
            else:
                request.reporter.note(
                    packages.STEP,
                    "the packages in the cache were damaged: they are installed anew",
                )
            making.since[making.stages[at].layer_id] = bad.made + 1
            raise

    def _check_offline(self, request: Request, job: Job) -> None:
        wanted = [deb for layer in job.layers for deb in layer.debs]
        if request.offline and (lost := debs.lacking(wanted, job.deb_store)):
            more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
            named = listed(each.file for each in lost[:_NAMED]) + more
            raise StepError(
                f"packages of {request.resolved.name} are not in the cache, and none may be "
                f"fetched: {named}",
                fix="build it once without --offline",
            )

    def _index(self, request: Request, sources: Sources | None = None) -> index.Index:
        sources = sources or find_sources(request.resolved, request.kickstart, request.vault)
        return index.open_index(
            request.cache_dir,
            sources,
            orders.arch(request.resolved),
            request.reporter,
            refresh=request.refresh,
            offline=request.offline,
            max_age=request.resolved.project.settings.mirrors_age,
        )


def _versions(packing: ImageOptions) -> dict[str, str]:
    return {**tools.versions("mmdebstrap"), **rootfs.versions(packing)}


@lru_cache(maxsize=256)
def _can_boot(found: Resolution) -> bool:
    return not packages.lacking(found.versions)


def _where_packages(kickstart: Kickstart) -> Location | None:
    """Return the last %packages section: the place to mend a choice of packages."""
    sections = [each.where for each in kickstart.sections if each.name == "%packages"]
    return sections[-1] if sections else None


def _run_worker(job: Job, request: Request, on_layer: Callable[[str], None]) -> Outcome:
    """Run the worker; return what it has made."""
    is_damaged: list[object] = []
    try:
        outcome = messages.run_worker(
            workers.MODULES["direct"],
            job.model_dump_json(),
            request.reporter,
            timeout=workers.TIMEOUT,
            network=not request.offline,
            on={"layer": on_layer, "damaged": is_damaged.append},
        )
    except StepError:
        if is_damaged:
            raise DamagedLayer from None
        raise
    return Outcome.model_validate(outcome)
