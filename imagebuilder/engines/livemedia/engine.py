"""LivemediaEngine: plans a run of livemedia-creator, keeps what it installed, packs it again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from imagebuilder import cache, sandbox, tools
from imagebuilder.engines import messages, squashfs
from imagebuilder.engines.base import Made, Request, Step, StepSpec
from imagebuilder.engines.direct import files
from imagebuilder.engines.livemedia import (
    keeping,
    mend,
    place,
    preflight,
    program,
    refusals,
    steps,
    watch,
)
from imagebuilder.engines.livemedia.arguments import (
    Places,
    arguments,
    dracut_arguments,
    is_image_only,
)
from imagebuilder.engines.livemedia.job import Job, Kept, Outcome
from imagebuilder.errors import ImageBuilderError, InputError, StepError, joined
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.reveal import reveal
from imagebuilder.livemedia_options import LivemediaOptions

_GONE = 10.0  # seconds in which the kernel takes what a namespace held
_SLACK = 900.0  # seconds beside those that the recipe gives livemedia-creator


class LivemediaEngine:
    """Makes images of Fedora, RHEL and their kin with livemedia-creator and Anaconda.

    Its plans are not remembered: which program PATH and the environment lead to is to be seen
    each time.  What that program said of itself is kept, so that it need not be asked.
    """

    def check(self, request: Request) -> tuple[str, ...]:
        """Refuse what cannot be made; see :class:`~imagebuilder.engines.base.Engine`."""
        errors: list[ImageBuilderError] = []
        resolved = request.resolved
        if resolved.recipe.preseed:
            errors.append(
                InputError(
                    "the livemedia engine does not know preseed",
                    where=resolved.place("preseed"),
                    fix="take it out: Anaconda asks no debconf",
                )
            )
        if resolved.recipe.files and not resolved.recipe.livemedia.flat:
            errors.append(
                InputError(
                    "with flat = false the root is taken as it is: files cannot be copied into it",
                    where=resolved.place("files"),
                    fix="write them in a %post section, or take out flat = false",
                )
            )
        if resolved.recipe.image.filesystem != "squashfs":
            errors.append(
                InputError(
                    "the livemedia engine makes no EROFS",
                    where=resolved.place("image.filesystem"),
                    fix='say filesystem = "squashfs"',
                )
            )
        notes: tuple[str, ...] = ()
        for look in (
            lambda: refusals.check(request),
            lambda: mend.mend(request).notes,
            lambda: files.find(resolved) and None,
        ):
            try:
                notes += look() or ()
            except InputError as error:
                errors.append(error)
        if errors:
            raise joined(errors)
        return notes

    def steps(self, request: Request) -> tuple[StepSpec, ...]:
        """Return install, initrd and repack with their inputs.

        There is an initrd to make where livemedia-creator is to leave its disk image alone.
        """
        return steps.steps(request)

    def has(self, cache_dir: Path, step: str, step_id: str) -> bool:
        """Return whether the results of an installation are in the cache."""
        return step == watch.STEP and keeping.kept(keeping.place(cache_dir, step_id)) is not None

    def make(self, request: Request, steps: tuple[Step, ...], into: Path, *, again: bool) -> Made:
        """Run the worker in namespaces of its own, under the lock of its results."""
        step = next(each for each in steps if each.name == watch.STEP)
        home = keeping.place(request.cache_dir, step.id)
        home.parent.mkdir(parents=True, exist_ok=True)
        options = request.resolved.recipe.livemedia
        with FileLock(cache.lock_of(home), timeout=60 * options.timeout + _SLACK):
            kept = None if again else keeping.kept(home)
            notes: tuple[str, ...] = ()
            if kept:
                outcome = self._pack(request, home, kept, into, again=again)
                version = kept.version
            else:
                outcome, notes, version = self._install(request, home, step.id, into, again=again)
            cache.touch(home / keeping.FACTS)
        return Made(
            kernel_release=outcome.kernel_release,
            tree_size=outcome.tree_size,
            package_count=outcome.package_count,
            tools={program.NAME: version, **tools.versions("mksquashfs")},
            seconds=outcome.seconds,
            reused=frozenset((*((watch.STEP,) if kept else ()), *outcome.reused)),
            notes=(*notes, *outcome.notes),
        )

    def _pack(
        self, request: Request, home: Path, kept: Kept, into: Path, *, again: bool
    ) -> Outcome:
        """Make the image of results that are kept."""
        request.reporter.reused(watch.STEP, f"installed before, with {kept.version}")
        with cache.work_folder(request.cache_dir / "work", request.resolved.name) as work:
            job = _job(request, kept, work, into, results=home, tmp=work, again=again)
            return _run_worker(job, request)

    def _install(
        self, request: Request, home: Path, step_id: str, into: Path, *, again: bool
    ) -> tuple[Outcome, tuple[str, ...], str]:
        """Install and make the image; keep what was installed."""
        mended = mend.mend(request)
        found = program.find(request, ask=True)
        if request.offline and not _is_local(mended.kickstart):
            raise StepError(
                f"{request.resolved.name} is not in the cache, and nothing may be fetched",
                fix="build it once without --offline",
            )
        options = request.resolved.recipe.livemedia
        root = request.resolved.project.root.absolute()
        folders = {
            key: root / Path(given).expanduser() / "imagebuilder"
            if given
            else request.cache_dir / "work"
            for key, given in (("tmp", options.tmp_dir), ("results", options.result_dir))
        }
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        notes = preflight.check(request, found, mended, {**folders, "the image": into})
        for note in notes:
            request.reporter.note(watch.STEP, note)
        name = request.resolved.name
        with (
            cache.work_folder(request.cache_dir / "work", name) as work,
            cache.work_folder(folders["tmp"], name) as tmp,
            cache.work_folder(folders["results"], name) as results,
        ):
            name = place.token()
            places = _places(options, name, work, tmp, results, into)
            argv = arguments(request, found, places)
            facts = Kept(
                id=step_id,
                version=found.title,
                epoch=int(time.time()),
                image_only=is_image_only(request, found),
            )
            job = _job(
                request, facts, work, into, results=results / "results", tmp=tmp, again=again
            ).model_copy(
                update={
                    "token": name,
                    "argv": argv,
                    "environment": dict(found.environment),
                    "kickstart": mended.kickstart.to_dict(
                        reveal(mended.kickstart.lines, request.vault)
                    ),
                    "kickstart_file": work / "kickstart" / "flat.ks",
                }
            )
            wholes: list[bool] = []
            try:
                outcome = _run_worker(job, request, lambda: wholes.append(True))
            finally:
                place.end(options, name)
                _see_that_nothing_is_left((work, tmp, results))
                if wholes:  # whatever came of the image: Anaconda need not run for the next
                    keeping.keep(job.results, home, facts)
        return outcome, notes, found.title


def _places(
    options: LivemediaOptions, name: str, work: Path, tmp: Path, results: Path, into: Path
) -> Places:
    """Return the paths that livemedia-creator is told, which are those where it runs."""
    if options.where == "host":
        kickstart = work / "kickstart" / "flat.ks"
        return Places(kickstart=kickstart, results=results / "results", tmp=tmp, logs=into / "logs")
    kickstart = place.kickstart_path(name)
    if options.where == "ssh":
        there = place.remote_folder(options, name)
        return Places(
            kickstart=kickstart,
            results=there / "results",
            tmp=there / "tmp",
            logs=there / "logs",
        )
    return Places(
        kickstart=kickstart,
        results=results.absolute() / "results",
        tmp=tmp.absolute(),
        logs=into.absolute() / "logs",
    )


def _is_local(kickstart: Kickstart) -> bool:
    urls = [each.data.url or "" for each in kickstart.all("url")]
    urls += [each.data.baseurl or "" for each in kickstart.all("repo")]
    return bool(urls) and all(each.startswith("file:") for each in urls)


def _job(
    request: Request,
    kept: Kept,
    work: Path,
    into: Path,
    *,
    results: Path,
    tmp: Path,
    again: bool,
) -> Job:
    recipe = request.resolved.recipe
    return Job(
        name=request.resolved.name,
        token="",
        argv=(),
        environment={},
        version=kept.version,
        kickstart={},
        secrets=request.vault.values(),
        kickstart_file=work / "none",
        results=results.absolute(),
        tmp=tmp.absolute(),
        work=work.absolute(),
        into=into.absolute(),
        image_only=kept.image_only,
        dracut=dracut_arguments(request) if kept.image_only else (),
        install_id=kept.id,
        initrds=Path(f"{request.cache_dir.absolute()}/initrds/uid-{os.geteuid()}"),
        offline=request.offline,
        again=again,
        files=tuple(
            copy.revealed(request.vault)
            for _, _, copies in files.find(request.resolved)
            for copy in copies
        ),
        options=recipe.livemedia,
        image=recipe.image,
        epoch=kept.epoch,
    )


def _see_that_nothing_is_left(folders: Sequence[Path]) -> None:
    """Raise if something of a run outlived its namespaces.

    Raises:
        StepError: a mount, a loop device or a process did.
    """
    deadline = time.monotonic() + _GONE
    while True:
        left = [trace for folder in folders for trace in sandbox.traces(folder)]
        if not left:
            return
        if time.monotonic() > deadline:
            raise StepError(
                f"livemedia-creator left behind: {', '.join(left)}",
                fix="this is a fault of imagebuilder: umount and losetup -d undo it",
            )
        time.sleep(0.2)


def _run_worker(job: Job, request: Request, whole: Callable[[], None] = lambda: None) -> Outcome:
    """Run the worker; ``whole`` is called once what was installed may be kept."""
    outcome = messages.run_worker(
        "imagebuilder.engines.livemedia.worker",
        job.model_dump_json(),
        request.reporter,
        timeout=60 * job.options.timeout + squashfs.TIMEOUT + _SLACK,
        network=not job.offline,
        on={"whole": lambda _: whole()},
    )
    return Outcome.model_validate(outcome)
