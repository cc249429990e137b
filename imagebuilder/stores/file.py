"""A catalog in a directory.

A write goes to a file below ``.tmp/`` first, is flushed to the disk, and is renamed into its
place.  Conditional writes compare and rename under a lock (one of ``.locks/``, which depends on
the key), which the kernel lets go when its holder dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat as stat_module
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import filelock

from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Cancel
from imagebuilder.stores.base import (
    METADATA_LIMIT,
    Conflict,
    Object,
    OnBytes,
    Sink,
    Stat,
    check_key,
    check_received,
    check_sent,
    is_key,
    missing,
    not_built,
)

_CHUNK = 1 << 20
_LOCK_SECONDS = 60.0
_STALE_SECONDS = 3600.0  # a temporary file of this age whose writer is gone is removed

_FIXES = {
    errno.ENOSPC: "make room on that disk, or choose another catalog",
    errno.EDQUOT: "make room within the quota, or choose another catalog",
    errno.EFBIG: "raise this process's limit on file sizes (ulimit -f)",
    errno.EACCES: "let this user write there, or choose another catalog",
    errno.EPERM: "let this user write there, or choose another catalog",
    errno.EROFS: "the file system is mounted read-only: mount it for writing",
}


class FileStore:
    """Objects as files below one directory, which need not exist before the first write."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))

    @property
    def url(self) -> str:
        """The directory as a ``file://`` URL."""
        return self._root.as_uri()

    @property
    def public_url(self) -> str:
        """Nothing: which web server shows this folder, and where, is not known here."""
        return ""

    @property
    def at_once(self) -> int:
        """One: a folder does not keep anybody waiting."""
        return 1

    def url_of(self, key: str) -> str:
        """Return the path of the object's file."""
        return str(self._root / key)

    def get(self, key: str, *, limit: int = METADATA_LIMIT) -> Object | None:
        """Read a small object; None when there is none."""
        with self._reported(key, "read"):
            try:
                with self._open(key) as file:
                    data = file.read(limit + 1)
            except FileNotFoundError:
                return None
        if len(data) > limit:
            raise CatalogError(
                f"is larger than the {limit} bytes that such an object may have",
                where=Location(file=self.url_of(key)),
            )
        return Object(key=key, data=data, etag=hashlib.sha256(data).hexdigest())

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        content_type: str = "application/json",  # noqa: ARG002 - a file has none
    ) -> None:
        """Write a small object, under a condition if one is given."""
        with self._reported(key, "written"):
            target = self._path(key)
            with self._temporary() as (file, path):
                file.write(data)
                _flush(file)
                self._make_folders(target.parent)
                with self._locked(key):
                    if if_match is not None or if_none_match:
                        current = self.get(key)
                        if if_none_match and current is not None:
                            raise Conflict(key)
                        if if_match is not None and (current is None or current.etag != if_match):
                            raise Conflict(key)
                    path.replace(target)
                # Not under the lock: with a slow disk many writers would wait for it in turn.
                _sync_folder(target.parent)

    def upload(
        self, key: str, source: Path, *, size: int, sha256: str, on_bytes: OnBytes, cancel: Cancel
    ) -> None:
        """Copy a file into the store."""
        with self._reported(key, "written"):
            target = self._path(key)
            with self._temporary() as (file, path):
                chunks = _chunks(source, lambda: source.open("rb"), size + 1, not_built(source))
                got, digest = _copy(chunks, file.write, on_bytes, cancel)
                check_sent(source, size=size, sha256=sha256, got=got, digest=digest)
                _flush(file)
                self._make_folders(target.parent)
                path.replace(target)
                _sync_folder(target.parent)

    def fetch(
        self,
        key: str,
        sink: Sink,
        *,
        size: int,
        sha256: str,
        on_bytes: OnBytes,
        cancel: Cancel,
    ) -> None:
        """Read an object's file."""
        gone = missing(self.url_of(key))
        chunks = _chunks(Path(self.url_of(key)), lambda: self._open(key), size + 1, gone)
        got, digest = _copy(chunks, sink, on_bytes, cancel)
        check_received(self.url_of(key), size=size, sha256=sha256, got=got, digest=digest)

    def stat(self, key: str) -> Stat | None:
        """Return size and time of an object; None when there is none."""
        with self._reported(key, "read"):
            try:
                found = os.lstat(self._path(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not stat_module.S_ISREG(found.st_mode):
            return None
        return Stat(key=key, size=found.st_size, modified=found.st_mtime)

    def list(self, prefix: str) -> Iterator[Stat]:
        """Go through the files below a folder; hidden ones and links are none of ours."""
        top = self._path(prefix.rstrip("/")) if prefix else self._root
        yield from self._walk(top, prefix)

    def delete(self, key: str) -> None:
        """Remove an object's file."""
        with self._reported(key, "deleted"):
            path = self._path(key)
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _sync_folder(path.parent)

    def presigned_url(self, key: str, *, seconds: int) -> str:  # noqa: ARG002 - there is none
        """Refuse: a folder has no URLs of its own.

        Raises:
            CatalogError: always.
        """
        raise CatalogError(
            "a folder has no URLs that could be signed",
            where=Location(file=self.url),
            fix="let a web server show it, and boot from boot/NAME/CHANNEL.ipxe",
        )

    def clear(self, before: float, *, dry_run: bool, cancel: Cancel) -> int:
        """Remove temporary files of writers that were killed."""
        freed = 0
        with self._reported(".tmp", "read"):
            folder = self._root / ".tmp"
            for path in folder.iterdir() if folder.is_dir() else ():
                cancel.check()
                with contextlib.suppress(OSError):
                    found = path.lstat()
                    if found.st_mtime < before:
                        _lock_dead(path, remove=not dry_run)
                        freed += found.st_size
        return freed

    def prepare(self, cancel: Cancel) -> None:
        """Make the directory, and remove temporary files of writers that were killed."""
        cancel.check()
        with self._reported(".tmp", "written"):
            self._make_folders(self._root / ".tmp")
        self.clear(time.time() - _STALE_SECONDS, dry_run=False, cancel=cancel)

    # ----- how -----------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        path = self._root / check_key(key)
        # A link that somebody put into the catalog must not lead a reader or writer out of it.
        if not Path(os.path.realpath(path)).is_relative_to(self._root):
            raise CatalogError(
                "is, or is below, a symbolic link that leads out of the catalog",
                where=Location(file=str(path)),
                fix="remove the link",
            )
        return path

    def _open(self, key: str) -> IO[bytes]:
        # O_NONBLOCK: opening a pipe that somebody put there must not wait for its other end.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(self._path(key), flags)
        except NotADirectoryError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
        file = os.fdopen(fd, "rb")
        if not stat_module.S_ISREG(os.fstat(fd).st_mode):
            file.close()
            raise CatalogError("is no regular file", where=Location(file=self.url_of(key)))
        return file

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[IO[bytes], Path]]:
        """Give a new file; it is removed at the end unless it was renamed."""
        folder = self._root / ".tmp"
        self._make_folders(folder)
        path = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        with path.open("xb") as file:  # the umask decides who can read what is published
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # says that the writer is alive
                yield file, path
            finally:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        # Writers of different objects need not wait for each other.
        path = self._root / ".locks" / hashlib.sha256(key.encode()).hexdigest()[:2]
        self._make_folders(path.parent)
        lock = filelock.FileLock(path, timeout=_LOCK_SECONDS, mode=0o666)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise CatalogError(
                f"other processes have held the lock of {key} for {_LOCK_SECONDS:.0f} s",
                where=Location(file=str(path)),
                fix="end the process that holds it (fuser names it) and run the same command again",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def _walk(self, folder: Path, prefix: str) -> Iterator[Stat]:
        with self._reported(prefix.rstrip("/"), "listed"):
            try:
                entries = list(os.scandir(folder))
            except (FileNotFoundError, NotADirectoryError):
                return
        # A folder sorts as its name with the slash, so that the order is that of whole keys.
        named = [
            (entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
            for entry in entries
            if is_key(entry.name)
        ]
        for name, entry in sorted(named, key=lambda each: each[0]):
            if name.endswith("/"):
                yield from self._walk(folder / entry.name, prefix + name)
            elif entry.is_file(follow_symlinks=False):
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # deleted meanwhile
                yield Stat(key=prefix + name, size=found.st_size, modified=found.st_mtime)

    @contextlib.contextmanager
    def _reported(self, key: str, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CatalogError(
                f"cannot be {verb}: {error.strerror or error}",
                where=Location(file=self.url_of(key)),
                fix=_FIXES.get(error.errno or 0, ""),
            ) from error


def _chunks(
    path: Path, opened: Callable[[], IO[bytes]], limit: int, gone: CatalogError
) -> Iterator[bytes]:
    """Go through at most ``limit`` bytes of a file; failures to read it name it."""
    try:
        reader = opened()
    except FileNotFoundError:
        raise gone from None
    except OSError as error:
        raise _unreadable(path, error) from error
    with reader:
        left = limit
        while left:
            try:
                data = reader.read(min(_CHUNK, left))
            except OSError as error:
                raise _unreadable(path, error) from error
            if not data:
                return
            left -= len(data)
            yield data


def _unreadable(path: Path, error: OSError) -> CatalogError:
    return CatalogError(
        f"cannot be read: {error.strerror or error}",
        where=Location(file=str(path)),
        fix=_FIXES.get(error.errno or 0, ""),
    )


def _copy(
    chunks: Iterator[bytes], sink: Sink, on_bytes: OnBytes, cancel: Cancel
) -> tuple[int, str]:
    """Hand on the chunks; return how many bytes there were, and their SHA-256."""
    digest = hashlib.sha256()
    got = 0
    for data in chunks:
        cancel.check()
        digest.update(data)
        sink(data)
        got += len(data)
        on_bytes(len(data))
    return got, digest.hexdigest()


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock_dead(path: Path, *, remove: bool) -> None:
    """Make sure that a temporary file's writer is gone, and perhaps remove it."""
    with path.open("rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if remove:
            path.unlink()
