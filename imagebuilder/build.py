"""build: run a plan; one build of a recipe at a time, results whole or not at all."""

from __future__ import annotations

import errno
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from imagebuilder import build_record, files, image, several, sharing
from imagebuilder.build_record import Recorder
from imagebuilder.engines import Made, SharingEngine, Step
from imagebuilder.errors import ImageBuilderError, InputError, Interrupted, StepError
from imagebuilder.image import Image, ImageFacts, InputRecord, StepRecord
from imagebuilder.kickstart.redact import hidden_words, shown_value
from imagebuilder.plan import Plan
from imagebuilder.progress import Reporter
from imagebuilder.sbom_ahead import SbomAhead

_NEW = ".new-"
_LATEST = "latest"
_FIXES = {
    errno.ENOSPC: "make room on the disk",
    errno.EEXIST: "it is no folder, or a link that leads nowhere: move it away",
    errno.ENOTDIR: "there is a file where a folder is to be: move it away",
}
FAILED = "failed"  # build/NAME/failed: the logs of the last build that failed


def build(plan: Plan, *, again: bool = False) -> Image:
    """Make the image of a plan, or find it.

    The image is made under another name and renamed when it is whole: whatever ends this, an
    image that was there stays as it was.

    Args:
        plan: what to make.
        again: make it though it is there.

    Raises:
        StepError: a step failed; its logs are kept in ``build/NAME/failed``.
        HostError: this host cannot build.
        Interrupted: the reporter's request to stop was made.
    """
    reporter = plan.request.reporter
    if plan.image and not again:
        reporter.reused("image", f"{plan.image_id}: {plan.steps[-1].reason}")
        return plan.image
    place = plan.folder.parent
    with _in_words():
        place.mkdir(parents=True, exist_ok=True)
        with _locked(place, reporter):
            _clear(place)
            _see_that_it_can_be_pointed_to(place)
            if not again and plan.image is None:
                made = _made_meanwhile(plan)
                if made:
                    return made
                taken = _taken(plan, place)
                if taken:
                    return taken
            made = _make(plan, place, again=again)
        share(plan, made, replace_it=again)
    return made


def take(plan: Plan) -> Image | None:
    """Take the image of a plan from the remote cache, in place of what may be there.

    Returns:
        the image; None if the remote cache does not have it, or what it has is of no use.

    Raises:
        StepError: the disk is full.
        Interrupted: the reporter's request to stop was made.
    """
    remote, reporter = plan.request.remote, plan.request.reporter
    found = remote.look("image", plan.steps[-1].id, reporter) if remote else None
    place = plan.folder.parent
    with _in_words():
        place.mkdir(parents=True, exist_ok=True)
        with _locked(place, reporter):
            _clear(place)
            _see_that_it_can_be_pointed_to(place)
            return _taken(replace(plan, found=found), place)


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn errors of the disk into this library's."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise StepError(
            f"{error.strerror or error}{where}",
            fix=_FIXES.get(error.errno or 0, "see that it can be written"),
        ) from error


def share(plan: Plan, made: Image, *, replace_it: bool = False) -> None:
    """Give what was made to the remote cache, if there is one that takes it and lacks it.

    Nothing that goes wrong there is an error: it is said as a note.

    Args:
        plan: what was made.
        made: the image.
        replace_it: give the image though the remote cache has one.

    Raises:
        Interrupted: the reporter's request to stop was made; the image is as it is.
    """
    sharing.share_image(plan.request, plan.steps[-1].id, made, replace_it=replace_it)
    if isinstance(plan.engine, SharingEngine):
        plan.engine.share(plan.request, plan.steps)


def _taken(plan: Plan, place: Path) -> Image | None:
    """Take the image from the remote cache, if it is there."""
    remote = plan.request.remote
    if not plan.found or not remote:
        return None
    staging = place / f"{_NEW}{secrets.token_hex(4)}"
    staging.mkdir()
    recorder = Recorder(plan.image_id, plan.name, plan.steps, plan.request.reporter.observer)
    request = replace(plan.request, reporter=replace(plan.request.reporter, observer=recorder))
    try:
        if not sharing.fetch_image(request, plan.found, plan.image_id, plan.steps, staging):
            return None
        (staging / "logs").mkdir()  # they are where it was made
        build_record.write(recorder.record(), staging)
        _settle(plan, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    plan.request.reporter.reused(
        "image", f"{plan.image_id}: taken from the remote cache {remote.url}"
    )
    return Image.open(plan.folder)


def _settle(plan: Plan, staging: Path) -> None:
    """Give an image that is whole its place."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(files.sync, (each for each in staging.iterdir() if each.is_file())))
    files.sync(staging)
    files.put_in_place(staging, plan.folder)
    _point(plan.folder.parent / _LATEST, plan.image_id)
    shutil.rmtree(plan.folder.parent / FAILED, ignore_errors=True)


def _made_meanwhile(plan: Plan) -> Image | None:
    """Return the image if another build made it while this one waited for the lock."""
    try:
        return Image.open(plan.folder)
    except InputError:  # it is not there, or what is there cannot be read: make it
        return None


def _make(plan: Plan, place: Path, *, again: bool) -> Image:
    staging = place / f"{_NEW}{secrets.token_hex(4)}"
    staging.mkdir()
    recorder = Recorder(plan.image_id, plan.name, plan.steps, plan.request.reporter.observer)
    reporter = replace(plan.request.reporter, observer=recorder)
    ahead = SbomAhead(plan.name, plan.image_id, plan.resolved.distro, staging, recorder)
    try:
        with ahead:
            request = replace(plan.request, reporter=replace(reporter, observer=ahead.observe))
            made = plan.engine.make(request, plan.steps, staging, again=again)
        with reporter.step("image", "putting the image together"):
            facts = _put_together(plan, made, staging, ahead)
            (staging / image.FACTS).write_text(facts.model_dump_json(indent=1) + "\n")
            build_record.write(recorder.record(), staging)
            _settle(plan, staging)
    except BaseException as error:
        if isinstance(error, ImageBuilderError) and not isinstance(error, Interrupted):
            _keep_logs(staging, place / FAILED, error, recorder)
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Image.open(plan.folder)


def _put_together(plan: Plan, made: Made, staging: Path, ahead: SbomAhead) -> ImageFacts:
    """Write what an image has beside what the engine made; return the facts of all of it."""
    began = time.monotonic()
    (staging / image.KICKSTART).write_text(plan.kickstart.redacted())
    rootfs = image.rootfs_of(plan.resolved.recipe.image.filesystem)
    large = (rootfs, image.INITRD, image.KERNEL)
    with ThreadPoolExecutor() as pool:
        measuring = {name: pool.submit(image.measure, staging / name) for name in large}
        # On its way to the disk meanwhile.
        syncing = [pool.submit(files.sync, staging / name) for name in large]
        known = {name: each.result() for name, each in measuring.items()}
        for each in syncing:
            each.result()
    root = known[rootfs]
    script = image.boot_script(
        title=f"{plan.name} {plan.image_id}",
        base="${cwduri}",
        kernel=image.KERNEL,
        initrd=image.INITRD,
        rootfs=rootfs,
        rootfs_sha256=root.sha256,
        rootfs_size=root.size,
        args=plan.kernel_args,
    )
    (staging / image.BOOT_SCRIPT).write_text(script)
    (staging / image.SBOM).write_text(ahead.text())
    measured = tuple(
        known.get(name) or image.measure(staging / name) for name in image.artefact_names(rootfs)
    )
    hidden = hidden_words(plan.kickstart.lines.texts)
    recipe = plan.resolved.recipe
    seconds = {**made.seconds, "image": time.monotonic() - began}
    return ImageFacts(
        id=plan.image_id,
        recipe=plan.name,
        summary=recipe.summary,
        distro=plan.resolved.distro.id,
        engine=recipe.engine,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        kernel_release=made.kernel_release,
        kernel_args=plan.kernel_args,
        tree_size=made.tree_size,
        package_count=made.package_count,
        artefacts=measured,
        steps=tuple(_record(each, made, seconds) for each in plan.steps),
        tools={**made.tools, "imagebuilder": version("imagebuilder")},
        params={name: shown_value(value, hidden) for name, value in recipe.params.items()},
        notes=(*plan.notes, *made.notes),
    )


def _record(step: Step, made: Made, seconds: Mapping[str, float]) -> StepRecord:
    return StepRecord(
        name=step.name,
        id=step.id,
        reused=step.name in made.reused,
        seconds=round(seconds.get(step.name, 0.0), 3),
        inputs=tuple(
            InputRecord(kind=each.kind, label=each.label, digest=each.digest)
            for each in step.inputs
        ),
    )


@contextmanager
def _locked(place: Path, reporter: Reporter) -> Iterator[None]:
    lock = FileLock(place / ".lock")
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        reporter.note("image", "waiting for another build of this recipe")
        with several.waiting(reporter.cancel):
            while not lock.is_locked:
                reporter.cancel.check()
                with suppress(Timeout):
                    lock.acquire(timeout=0.5)
    try:
        yield
    finally:
        lock.release()


def _clear(place: Path) -> None:
    """Remove what a build that was killed left.  The lock says that no other one runs."""
    for path in place.glob(f"{_NEW}*"):
        shutil.rmtree(path)
    for path in place.glob(f".{_LATEST}.*"):
        path.unlink()


def _see_that_it_can_be_pointed_to(place: Path) -> None:
    """Refuse before any work what would fail after all of it.

    Raises:
        StepError: something else stands where the link to the newest image is to be.
    """
    link = place / _LATEST
    if link.is_dir() and not link.is_symlink():
        raise StepError(
            f"{link} is a folder, and is to be a link to the newest image",
            fix="move it away, and build again",
        )


def _point(link: Path, target: str) -> None:
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    temporary.symlink_to(target)
    temporary.replace(link)


def _keep_logs(staging: Path, kept: Path, error: ImageBuilderError, recorder: Recorder) -> None:
    logs = staging / "logs"
    try:
        logs.mkdir(exist_ok=True)
        build_record.write(recorder.record(error, logs), logs)
    except OSError:
        pass  # the disk may be what failed: the error itself is worth more than its record
    if not logs.is_dir():
        return
    shutil.rmtree(kept, ignore_errors=True)
    logs.rename(kept)
    if error.log and error.log.is_relative_to(logs):
        error.log = kept / error.log.relative_to(logs)
