"""What a remote cache holds, and how it is kept within bounds.  Others use it meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pydantic import ValidationError

from imagebuilder.progress import Cancel
from imagebuilder.remote.manifest import (
    BLOBS,
    ENTRIES,
    LIMIT,
    Kind,
    Manifest,
    blob_folder,
    blob_key,
    entry_key,
    entry_of,
)
from imagebuilder.stores import ObjectStore, Stat
from imagebuilder.stores.base import at_once

# Objects without a manifest may be an entry that somebody shares right now.
_GRACE = 86400.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEntry:
    """A result in a remote cache.

    Attributes:
        kind: what it is.
        id: the content id of the step that made it.
        recipe: for which recipe it was made; "" if its manifest cannot be read.
        size: the bytes of its objects.
        used: when it was last shared, or used by who can write, to the day; epoch seconds.
    """

    kind: Kind
    id: str
    recipe: str
    size: int
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePruned:
    """What pruning a remote cache came to.

    Attributes:
        removed: the entries that were, or would be, removed; the least recently used first.
        orphans: bytes of what belonged to no entry, and of uploads that never ended.
        kept: bytes of all entries that are left.
    """

    removed: tuple[RemoteEntry, ...]
    orphans: int
    kept: int


def remote_entries(store: ObjectStore) -> tuple[RemoteEntry, ...]:
    """Return what is in a remote cache, the least recently used first.

    Raises:
        CatalogError: it cannot be reached.
    """
    return tuple(_read(store))


def _read(store: ObjectStore) -> dict[RemoteEntry, Manifest | None]:
    """Return the entries, the least recently used first, with those manifests that can be read."""
    sizes: dict[tuple[Kind, str], int] = {}
    for each in store.list(BLOBS):
        if owner := entry_of(each.key):
            sizes[owner] = sizes.get(owner, 0) + each.size
    stats = [each for each in store.list(ENTRIES) if entry_of(each.key)]
    manifests = at_once(store, lambda each: _manifest(store, each.key), stats)
    found = [
        (_entry(stat, manifest, sizes), manifest)
        for stat, manifest in zip(stats, manifests, strict=True)
    ]
    return dict(sorted(found, key=lambda each: (each[0].used, each[0].kind, each[0].id)))


def _entry(
    stat: Stat, manifest: Manifest | None, sizes: dict[tuple[Kind, str], int]
) -> RemoteEntry:
    named = entry_of(stat.key)
    assert named
    return RemoteEntry(
        kind=named[0],
        id=named[1],
        recipe=manifest.recipe if manifest else "",
        size=stat.size + sizes.get(named, 0),
        used=stat.modified,
    )


def _manifest(store: ObjectStore, key: str) -> Manifest | None:
    found = store.get(key, limit=LIMIT)
    try:
        return Manifest.model_validate_json(found.data) if found else None
    except ValidationError:
        return None


def prune_remote(
    store: ObjectStore,
    *,
    limit: int | None = None,
    unused_for: float | None = None,
    dry_run: bool = False,
    cancel: Cancel,
) -> RemotePruned:
    """Remove what was not used for the longest time, and what belongs to nothing.

    A manifest goes before its objects: whoever comes in between finds no entry.  Whoever is
    fetching them finds one gone, and does the work himself.

    Args:
        store: where the remote cache is.
        limit: how many bytes all of it may take; None: as many as it does.
        unused_for: remove what was not used for so many seconds; None: whatever its age.
        dry_run: remove nothing, and say what would be.
        cancel: looked at between two entries.

    Raises:
        CatalogError: it cannot be reached, or this user may not remove anything.
        Interrupted: somebody asked to stop.
    """
    now = time.time()
    found = _read(store)
    left = sum(each.size for each in found)
    removed: list[RemoteEntry] = []
    for each in found:
        is_old = unused_for is not None and each.used < now - unused_for
        is_much = limit is not None and left > limit
        if not (is_old or is_much):
            continue
        cancel.check()
        if not _remove(store, each, dry_run=dry_run):
            continue  # it has been used since
        left -= each.size
        removed.append(each)
    named = {
        blob_key(each.kind, each.id, item)
        for each, manifest in found.items()
        if manifest
        for item in manifest.items
    }
    orphans = _clear_orphans(store, named, now - _GRACE, dry_run=dry_run, cancel=cancel)
    return RemotePruned(removed=tuple(removed), orphans=orphans, kept=left)


def _remove(store: ObjectStore, entry: RemoteEntry, *, dry_run: bool) -> bool:
    key = entry_key(entry.kind, entry.id)
    stat = store.stat(key)
    if stat and stat.modified > entry.used:
        return False
    if dry_run:
        return True
    store.delete(key)
    for each in list(store.list(blob_folder(entry.kind, entry.id))):
        # What was written since belongs to somebody who shares the entry anew.
        if each.modified <= entry.used:
            store.delete(each.key)
    return True


def _clear_orphans(
    store: ObjectStore,
    named: set[str],
    before: float,
    *,
    dry_run: bool,
    cancel: Cancel,
) -> int:
    """Remove objects that no manifest names, or named; return their bytes."""
    freed = store.clear(before, dry_run=dry_run, cancel=cancel)
    for each in list(store.list(BLOBS)):
        cancel.check()
        if entry_of(each.key) is None or each.key in named or each.modified >= before:
            continue
        freed += each.size
        if not dry_run:
            store.delete(each.key)
    return freed
