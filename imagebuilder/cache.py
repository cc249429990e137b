"""The cache: what it holds, how much of it, and how it is kept within bounds.

::

    layers/uid-N/ID/          trees with the packages of images, and layer.json
    initrds/uid-N/LAYER/ID/   initrds with what they were made of
    installed/uid-N/ID/       what livemedia-creator installed, and install.json
    debs/SHA256-OWN.deb       files of packages, by the digests of what was fetched and of it
    apt/NAME/                 package indices
    plans/ID.json             what was planned before
    remote/                   which remote caches do not answer
    work/                     what builds have in hand; each has a lock

What is in use is locked by whom it serves, and is never removed.  All of it can be made again.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from imagebuilder import command, sandbox
from imagebuilder.progress import Cancel

Kind = Literal["packages", "initrd", "installed", "deb", "index", "plans"]

# For each kind: where its entries are, and the file in each that is touched when it is used.
_PLACES: tuple[tuple[Kind, str, str], ...] = (
    ("packages", "layers/uid-*/*", "layer.json"),
    ("initrd", "initrds/uid-*/*/*", "initrd.json"),
    ("installed", "installed/uid-*/*", "install.json"),
    ("deb", "debs/*", ""),
    ("index", "apt/*", "index.json"),
    ("plans", "plans/*.json", ""),
)
# A build reads the index for as long as it takes, without holding its lock; plans look at it
# anew once a day.
_INDEX_IN_USE = 2 * 86400.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in the cache.

    Attributes:
        kind: what it is.
        path: where it is.
        size: the bytes that it takes on the disk.
        used: when it was last used, in seconds since the epoch.
    """

    kind: Kind
    path: Path
    size: int
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What pruning came to.

    Attributes:
        removed: what was, or would be, removed; the least recently used first.
        in_use: what should go, and is in use.
        kept: bytes of all that is left.
    """

    removed: tuple[Entry, ...]
    in_use: tuple[Entry, ...]
    kept: int


def entries(cache_dir: Path) -> tuple[Entry, ...]:
    """Return what is in the cache, the least recently used first."""
    return tuple(sorted(_entries(cache_dir), key=lambda each: (each.used, each.path)))


def _entries(cache_dir: Path) -> Iterator[Entry]:
    for kind, pattern, marker in _PLACES:
        for path in cache_dir.glob(pattern):
            if path.name.startswith(".") or path.suffix == ".lock":
                continue
            try:
                used = (path / marker if marker else path).stat().st_mtime
                yield Entry(kind=kind, path=path, size=_disk_size(path), used=used)
            except OSError:
                continue  # half of one, which its next maker removes; or removed just now


def _disk_size(path: Path) -> int:
    """Return the bytes that a tree takes on the disk, of what this user can see.

    Layers share files by hard links: each counts for its part of them, so that all together are
    what they take.
    """
    total = path.lstat().st_blocks * 512
    waiting = [os.fspath(path)] if path.is_dir() else []
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for each in found:
                    facts = each.stat(follow_symlinks=False)
                    if each.is_dir(follow_symlinks=False):
                        total += facts.st_blocks * 512
                        waiting.append(each.path)
                    else:
                        total += facts.st_blocks * 512 // facts.st_nlink
        except PermissionError:
            continue  # a folder of the image that an ordinary user's subordinate id owns
    return total


def prune(
    cache_dir: Path,
    *,
    limit: int | None = None,
    unused_for: float | None = None,
    dry_run: bool = False,
    cancel: Cancel | None = None,
) -> Pruned:
    """Remove what was not used for the longest time.

    Args:
        cache_dir: the cache.
        limit: how many bytes all of it may take; None: as many as it does.
        unused_for: remove what was not used for so many seconds; None: whatever its age.
        dry_run: remove nothing, and say what would be.
        cancel: looked at between two entries.

    Raises:
        StepError: something cannot be removed.
        Interrupted: ``cancel`` was set.
    """
    if not dry_run:
        _clear_halves(cache_dir)
    found = entries(cache_dir)
    left = sum(each.size for each in found)
    oldest = time.time() - unused_for if unused_for is not None else None
    removed: list[Entry] = []
    in_use: list[Entry] = []
    for each in found:
        is_old = oldest is not None and each.used < oldest
        is_much = limit is not None and left > limit
        if not (is_old or is_much):
            continue
        if cancel:
            cancel.check()
        with _claimed(each) as is_free:
            if is_free and _used(each) > each.used:
                continue  # since this began
            if not is_free:
                in_use.append(each)
                continue
            if not dry_run and each.kind == "deb":  # there are thousands of these
                each.path.unlink(missing_ok=True)
            elif not dry_run:
                remove_tree(each.path)
        left -= each.size
        removed.append(each)
    return Pruned(removed=tuple(removed), in_use=tuple(in_use), kept=left)


def _clear_halves(cache_dir: Path) -> None:
    """Remove layers that builds which were killed left half made, and that nobody makes now."""
    for path in cache_dir.glob("layers/uid-*/.*"):
        lock = FileLock(lock_of(path.with_name(path.stem.removeprefix("."))))
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError):  # it is being made; or it is another user's
            continue
        try:
            remove_tree(path)
        finally:
            lock.release()


def _used(entry: Entry) -> float:
    """Return when an entry was last used; 0 if it is gone."""
    marker = next(marker for kind, _, marker in _PLACES if kind == entry.kind)
    try:
        return (entry.path / marker if marker else entry.path).stat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def _claimed(entry: Entry) -> Iterator[bool]:
    """Keep others from using an entry; gives whether that can be had now."""
    # Who reads these can do without, or has a link of his own.
    if entry.kind in ("initrd", "plans", "deb"):
        yield True
        return
    if entry.kind == "index" and time.time() - entry.used < _INDEX_IN_USE:
        yield False
        return
    lock = FileLock(lock_of(entry.path))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def lock_of(path: Path) -> Path:
    """Return the lock of an entry: whoever uses it holds that."""
    return path / "lock" if path.parent.name == "apt" else path.with_name(f"{path.name}.lock")


def touch(path: Path) -> None:
    """Note that an entry is used."""
    try:
        os.utime(path)
    except OSError:
        pass  # an entry of another user: its time is for that user to keep


def remove_tree(path: Path) -> None:
    """Remove a tree that a worker made; an ordinary user needs his namespace for that.

    Raises:
        StepError: it cannot be removed.
    """
    if not path.exists():
        return
    command.run(
        sandbox.enclose(["rm", "-rf", "--one-file-system", "--", str(path)]),
        timeout=900,
        what=f"removing {path}",
    )


@contextmanager
def work_folder(place: Path, name: str) -> Iterator[Path]:
    """Give a folder for one build, and remove those of builds that were killed.

    Each has a lock beside it, which the kernel lets go of when its process ends, however.

    Args:
        place: a folder that has nothing else in it; it is made.
        name: what the folder is called after.
    """
    place.mkdir(parents=True, exist_ok=True)
    for folder in place.glob("*.d"):
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        remove_tree(folder)
        folder.with_suffix(".lock").unlink(missing_ok=True)
        lock.release()
    folder = place / f"{name}-{secrets.token_hex(4)}.d"
    with FileLock(folder.with_suffix(".lock")):
        folder.mkdir()
        try:
            yield folder
        finally:
            remove_tree(folder)
            folder.with_suffix(".lock").unlink(missing_ok=True)
