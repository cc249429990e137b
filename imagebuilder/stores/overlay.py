"""A store for dry runs: what is written to it stays in memory, over what another one holds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from imagebuilder.progress import Cancel
from imagebuilder.stores.base import (
    METADATA_LIMIT,
    Conflict,
    Object,
    ObjectStore,
    OnBytes,
    Sink,
    Stat,
)


class OverlayStore:
    """What another store holds, with changes that nobody else sees.

    Of uploaded files only the size is kept.
    """

    def __init__(self, below: ObjectStore) -> None:
        self._below = below
        self._written: dict[str, bytes] = {}
        self._stats: dict[str, Stat | None] = {}  # None: deleted

    @property
    def changed(self) -> tuple[str, ...]:
        """The keys of what was written or deleted here, in their order."""
        return tuple(sorted(self._stats))

    @property
    def url(self) -> str:
        """The place of the store below."""
        return self._below.url

    @property
    def public_url(self) -> str:
        """The place of the store below for plain HTTP."""
        return self._below.public_url

    @property
    def at_once(self) -> int:
        """As many as the store below wants."""
        return self._below.at_once

    def url_of(self, key: str) -> str:
        """Return where an object is, or would be."""
        return self._below.url_of(key)

    def get(self, key: str, *, limit: int = METADATA_LIMIT) -> Object | None:
        """Read a small object, as it was written here or is below."""
        if key in self._written:
            data = self._written[key]
            return Object(key=key, data=data, etag=hashlib.sha256(data).hexdigest())
        return None if key in self._stats else self._below.get(key, limit=limit)

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        content_type: str = "application/json",  # noqa: ARG002 - nobody asks for it here
    ) -> None:
        """Keep a small object."""
        if if_match is not None or if_none_match:
            current = self.get(key)
            if if_none_match and current is not None:
                raise Conflict(key)
            if if_match is not None and (current is None or current.etag != if_match):
                raise Conflict(key)
        self._written[key] = data
        self._stats[key] = Stat(key=key, size=len(data), modified=time.time())

    def upload(
        self,
        key: str,
        source: Path,  # noqa: ARG002 - not read
        *,
        size: int,
        sha256: str,  # noqa: ARG002
        on_bytes: OnBytes,
        cancel: Cancel,
    ) -> None:
        """Keep the size of a file."""
        cancel.check()
        self._stats[key] = Stat(key=key, size=size, modified=time.time())
        on_bytes(size)

    def fetch(
        self, key: str, sink: Sink, *, size: int, sha256: str, on_bytes: OnBytes, cancel: Cancel
    ) -> None:
        """Hand out an object of the store below."""
        self._below.fetch(key, sink, size=size, sha256=sha256, on_bytes=on_bytes, cancel=cancel)

    def stat(self, key: str) -> Stat | None:
        """Return what is known of an object, as it was written here or is below."""
        return self._stats[key] if key in self._stats else self._below.stat(key)

    def list(self, prefix: str) -> Iterator[Stat]:
        """Go through the objects below and those that were written here, by key."""
        found = {each.key: each for each in self._below.list(prefix)}
        for key, stat in self._stats.items():
            if key.startswith(prefix):
                found.pop(key, None)
                if stat:
                    found[key] = stat
        for key in sorted(found):
            yield found[key]

    def delete(self, key: str) -> None:
        """Let an object seem to be gone."""
        self._written.pop(key, None)
        self._stats[key] = None

    def presigned_url(self, key: str, *, seconds: int) -> str:
        """Return that of the store below."""
        return self._below.presigned_url(key, seconds=seconds)

    def clear(self, before: float, *, dry_run: bool, cancel: Cancel) -> int:  # noqa: ARG002
        """Return what unfinished uploads took in the store below; they stay."""
        return self._below.clear(before, dry_run=True, cancel=cancel)

    def prepare(self, cancel: Cancel) -> None:
        """Do nothing: nothing is written."""
        cancel.check()
