"""Pulling: a release becomes a folder again, whole and checked, or nothing changes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from imagebuilder import files
from imagebuilder.catalog import layout
from imagebuilder.catalog.model import MANIFEST_NAME, Release, dump
from imagebuilder.errors import HostError, InputError, Location
from imagebuilder.image import sha256_of
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import download

_MANIFEST_LIMIT = 4 << 20


def pull(store: ObjectStore, release: Release, output_dir: Path, reporter: Reporter) -> Path:
    """Fetch a release into a folder; see :meth:`imagebuilder.catalog.Catalog.pull`."""
    output = Path(os.path.realpath(output_dir))
    there = _pulled(output)
    if there == release and _is_whole(output, release, reporter):
        reporter.reused("pull", f"{output} has release {release.version}")
        return output
    with _reported(output), _new_folder(output) as folder:
        _fetch(store, release, folder, reporter)
        (folder / MANIFEST_NAME).write_bytes(dump(release))
        files.sync(folder / MANIFEST_NAME)
        files.sync(folder)
        files.put_in_place(folder, output)
        files.sync(output.parent)
    return output


def _pulled(output: Path) -> Release | None:
    """Return the release that was pulled into a folder; None when there is nothing yet.

    Raises:
        InputError: there is something that no pull made; it is not ours to replace.
    """
    if not output.exists():
        return None
    refusal = InputError(
        f"{output} is there already and was not made by pull, so it was left alone",
        fix="choose another output folder, or move that one away",
    )
    try:
        names = {each.name for each in output.iterdir()}
        if not names:
            return None
        file = output / MANIFEST_NAME
        if file.stat().st_size > _MANIFEST_LIMIT:
            raise refusal
        there = Release.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        raise refusal from None
    if names - {each.name for each in there.artefacts} - {MANIFEST_NAME}:
        raise refusal
    return there


def _is_whole(output: Path, release: Release, reporter: Reporter) -> bool:
    for each in release.artefacts:
        reporter.cancel.check()
        path = output / each.name
        try:
            if path.stat().st_size != each.size or sha256_of(path) != each.sha256:
                return False
        except OSError:
            return False
    return True


def _fetch(store: ObjectStore, release: Release, folder: Path, reporter: Reporter) -> None:
    done = 0
    lock = threading.Lock()

    def on_bytes(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            now = done
        reporter.progress("pull", now, release.size, "bytes")

    with reporter.step("pull", f"release {release.version}"):
        for each in release.artefacts:
            download(
                store,
                layout.blob_key(each.sha256),
                folder / each.name,
                size=each.size,
                sha256=each.sha256,
                on_bytes=on_bytes,
                cancel=reporter.cancel,
            )


@contextlib.contextmanager
def _new_folder(output: Path) -> Iterator[Path]:
    """Give a folder beside the output, locked while in use; removed at the end."""
    output.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{output.name}.pull-"
    for left in output.parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _lock(left):
            shutil.rmtree(left, ignore_errors=True)  # whoever made it was killed
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=output.parent))
    try:
        with _lock(folder):
            umask = os.umask(0)
            os.umask(umask)
            folder.chmod(0o777 & ~umask)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _reported(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(
            f"cannot be written: {error.strerror or error}",
            where=Location(file=str(error.filename or output)),
            fix="make room there, let this user write there, or choose another output folder",
        ) from error
