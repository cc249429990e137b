"""What the catalog wants of a place that keeps objects: small, so that a new place is easy."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Cancel

PROBE = "probe/conditional-writes.json"  # a store may try with it whether it keeps its promises
METADATA_LIMIT = 64 << 20  # bytes of an object that is read into memory

OnBytes = Callable[[int], None]
"""Called with the number of bytes that moved since the last call, from any thread."""

Sink = Callable[[bytes], object]
"""Takes the next bytes."""

_T = TypeVar("_T")
_R = TypeVar("_R")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_KEY_LIMIT = 900  # S3 allows 1024 bytes; the catalog's own prefix comes on top


class Conflict(Exception):  # noqa: N818 - not a fault: somebody else was first
    """A conditional write found another object than it was told to expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a store tries before it says that its place cannot be reached.

    Attributes:
        attempts: of each request.
        connect_seconds: until a connection stands.
        read_seconds: without a byte of an answer.
    """

    attempts: int
    connect_seconds: float
    read_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """A small object as it was read.  ``etag`` stands for exactly these bytes at this key."""

    key: str
    data: bytes
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """An object that is there: its size in bytes, and when it was written (epoch seconds).

    ``etag`` is what an S3 server calls these bytes; "" where that is not known.
    """

    key: str
    size: int
    modified: float
    etag: str = ""


class ObjectStore(Protocol):
    """A place that keeps objects under keys.

    A key is a relative path of plain names, checked by :func:`check_key`.  An object appears
    whole or not at all, and once a write has returned, every reader sees it.  All methods raise
    :class:`~imagebuilder.errors.CatalogError` when the place cannot be reached or refuses.
    """

    @property
    def url(self) -> str:
        """The place, for people and messages: holds no credentials and ends without a slash."""
        ...

    @property
    def public_url(self) -> str:
        """The place as an HTTP URL that ends in a slash, if it is one; otherwise ""."""
        ...

    @property
    def at_once(self) -> int:
        """How many requests are best made at a time, see :func:`at_once`."""
        ...

    def url_of(self, key: str) -> str:
        """Return where an object is, for messages."""
        ...

    def get(self, key: str, *, limit: int = METADATA_LIMIT) -> Object | None:
        """Read a small object; None when there is none; more than ``limit`` bytes is an error."""
        ...

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        content_type: str = "application/json",
    ) -> None:
        """Write a small object.

        Args:
            key: where.
            data: the whole object.
            if_match: write only if the object there still has this etag.
            if_none_match: write only if there is no object.
            content_type: for places that tell it to readers.

        Raises:
            Conflict: the condition does not hold; nothing was written.
        """
        ...

    def upload(
        self,
        key: str,
        source: Path,
        *,
        size: int,
        sha256: str,
        on_bytes: OnBytes,
        cancel: Cancel,
    ) -> None:
        """Store a file.  It becomes visible only if size and SHA-256 are what they must be."""
        ...

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
        """Hand an object's bytes to ``sink``, piece by piece.

        Whatever the sink got is worth nothing unless this returns: only at the end is it known
        that size and SHA-256 are as given.  What the sink raises comes through.
        """
        ...

    def stat(self, key: str) -> Stat | None:
        """Return what is known of an object without reading it; None when there is none."""
        ...

    def list(self, prefix: str) -> Iterator[Stat]:
        """Go through all objects whose keys start with ``prefix``, in the order of their keys.

        ``prefix`` is "" or ends in a slash.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; it is no error if there is none."""
        ...

    def presigned_url(self, key: str, *, seconds: int) -> str:
        """Return a URL by which anybody can read an object for a while; nothing is asked.

        Raises:
            CatalogError: there are no such URLs here, or no credentials to sign with.
        """
        ...

    def clear(self, before: float, *, dry_run: bool, cancel: Cancel) -> int:
        """Remove what uploads left that were begun before a time and never ended.

        Who goes on with such an upload begins it anew.

        Args:
            before: the time by the store's clock, seconds since the epoch.
            dry_run: remove nothing.
            cancel: looked at before each.

        Returns:
            the bytes that it took.
        """
        ...

    def prepare(self, cancel: Cancel) -> None:
        """Make ready for writing, and clear away what killed writers left.

        Raises:
            CatalogError: the place cannot keep what the catalog promises (conditional writes).
        """
        ...


def at_once(store: ObjectStore, work: Callable[[_T], _R], items: Iterable[_T]) -> tuple[_R, ...]:
    """Do the same small work for several items; return what came of each, in their order.

    Over a network most of the time of a request is waiting, so that several wait together.
    """
    wanted = list(items)
    if min(store.at_once, len(wanted)) < 2:
        return tuple(work(each) for each in wanted)
    with ThreadPoolExecutor(min(store.at_once, len(wanted))) as pool:
        return tuple(pool.map(work, wanted))


def is_key(text: str) -> bool:
    """Whether the text is the key of an object in a catalog."""
    return len(text) <= _KEY_LIMIT and all(_SEGMENT.fullmatch(part) for part in text.split("/"))


def check_key(key: str) -> str:
    """Return the key if it is one.

    Raises:
        CatalogError: it is absolute, leads upwards, or has signs that no key of ours has.
    """
    if not is_key(key):
        raise CatalogError(f"{key[:120]!r} cannot be the key of an object in a catalog")
    return key


def is_denied(error: CatalogError) -> bool:
    """Whether a store refused because these credentials, or this user, may not do that."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    answer = getattr(cause, "response", None) or {}  # of a botocore.exceptions.ClientError
    return str(answer.get("Error", {}).get("Code", "")) in ("AccessDenied", "403")


def missing(url: str) -> CatalogError:
    """Return the error for an object that is named by another one and is not there."""
    return CatalogError(
        "is missing from the catalog",
        where=Location(file=url),
        fix="publish the image again with --force, or choose another release",
    )


def not_built(source: Path) -> CatalogError:
    """Return the error for a file that an image should have and has not."""
    return CatalogError(
        "is missing from the image, so it was not published",
        where=Location(file=str(source)),
        fix="build it again: imagebuilder build -B NAME",
    )


def check_received(url: str, *, size: int, sha256: str, got: int, digest: str) -> None:
    """Compare what was read from the store with what it must be.

    Raises:
        CatalogError: says whether it was cut short, too long, or has other bytes.
    """
    if got == size and digest == sha256:
        return
    if got < size:
        what = f"is cut short: {got} of {size} bytes"
    elif got > size:
        what = f"is longer than the {size} bytes that are named for it"
    else:
        what = f"has other bytes than are named for it: digest {digest[:12]}…, not {sha256[:12]}…"
    raise CatalogError(
        what,
        where=Location(file=url),
        fix="publish the image again with --force, or choose another release",
    )


def check_sent(source: Path, *, size: int, sha256: str, got: int, digest: str) -> None:
    """Compare what was read from an image with what the image's facts say.

    Raises:
        CatalogError: the file is not what was built (and tested).
    """
    if got != size or digest != sha256:
        raise CatalogError(
            "changed after the image was built, so it was not published: "
            f"{got} bytes with digest {digest[:12]}…, not {size} bytes with {sha256[:12]}…",
            where=Location(file=str(source)),
            fix="build it again: imagebuilder build -B NAME",
        )


def download(
    store: ObjectStore,
    key: str,
    target: Path,
    *,
    size: int,
    sha256: str,
    on_bytes: OnBytes,
    cancel: Cancel,
) -> None:
    """Write an object to a new file and flush it to the disk.

    Raises:
        CatalogError: size and SHA-256 are not as given, or the store failed.
        OSError: the file cannot be written.
    """
    with target.open("xb") as file:
        store.fetch(key, file.write, size=size, sha256=sha256, on_bytes=on_bytes, cancel=cancel)
        file.flush()
        os.fsync(file.fileno())


def in_memory(store: ObjectStore, key: str, *, size: int, sha256: str, cancel: Cancel) -> bytes:
    """Return an object's bytes; the caller has seen to it that these are not too many.

    Raises:
        CatalogError: size and SHA-256 are not as given, or the store failed.
    """
    pieces: list[bytes] = []

    def keep(piece: bytes) -> None:
        pieces.append(piece)

    store.fetch(key, keep, size=size, sha256=sha256, on_bytes=lambda _: None, cancel=cancel)
    return b"".join(pieces)
