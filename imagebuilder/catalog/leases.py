"""Leases: how a publisher and a garbage collection that run at the same time see each other.

Whoever is going to name a release or a blob writes a lease that says so *before* it looks
whether they are there, and then reads ``gc.json``.  A collection writes what it is going to
delete into ``gc.json`` *before* it reads the leases.  Each writes first and reads then, so at
least one of them sees the other: the collection spares what a lease names, and whoever finds
its own in ``gc.json`` waits for the collection to end.

Who died is told by time alone: by the time stamps of the store, never by the clocks of the
machines that use it.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagebuilder.catalog import layout, read
from imagebuilder.catalog.manifest import now, whoami
from imagebuilder.catalog.model import dump, parse
from imagebuilder.catalog.records import Collection, Lease
from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Reporter
from imagebuilder.stores import Conflict, ObjectStore

LEASE_SECONDS = 3600.0  # a lease that nobody renewed for so long belongs to somebody dead
RENEW_SECONDS = 300.0
COLLECTION_SECONDS = 900.0  # the same for gc.json, which a collection renews each minute
_POLL_SECONDS = 0.5


@dataclass(slots=True, kw_only=True)
class Held:
    """A lease that is held."""

    store: ObjectStore
    lease: Lease
    renewed: float  # time.monotonic() before its last renewal

    def renew(self, *, always: bool = False) -> float | None:
        """Write the lease again if it is time to; return the store's time of that.

        Called before each piece of work; the pieces must be much shorter than a lease.

        Raises:
            CatalogError: so much time went by that a collection may have taken it for dead.
        """
        began = time.monotonic()
        if began - self.renewed > LEASE_SECONDS / 2:
            raise CatalogError(
                f"this process stood still for {began - self.renewed:.0f} s, so that garbage "
                "collection may have taken it for dead",
                where=Location(file=self.store.url_of(self.key)),
                fix="run the same command again: it goes on where this one ended",
            )
        if not always and began - self.renewed < RENEW_SECONDS:
            return None
        self.store.put(self.key, dump(self.lease))
        found = self.store.stat(self.key)
        self.renewed = began
        return found.modified if found else None

    @property
    def key(self) -> str:
        """The lease's key."""
        return layout.lease_key(self.lease.id)


@contextlib.contextmanager
def held(
    store: ObjectStore,
    name: str,
    image: str,
    digests: Sequence[str],
    reporter: Reporter,
) -> Iterator[Held]:
    """Hold a lease: nothing that it names is deleted while the caller works.

    What it names is to be looked for after this, not before.

    Args:
        store: where.
        name: the recipe whose releases are kept.
        image: only its releases of this image; "": all.
        digests: blobs that are kept.
        reporter: told when a collection must be waited for.

    Raises:
        CatalogError: the store refused.
        Interrupted: the caller was asked to stop while it waited.
    """
    lease = Lease(
        id=secrets.token_hex(16),
        name=name,
        image=image,
        digests=tuple(sorted(set(digests))),
        by=whoami(),
        created=now(),
    )
    found = Held(store=store, lease=lease, renewed=time.monotonic())
    store.put(found.key, dump(lease))
    try:
        _wait(found, reporter)
        yield found
    finally:
        # It would expire by itself: what went wrong in the body is the better thing to report.
        with contextlib.suppress(CatalogError):
            store.delete(found.key)


def collection(store: ObjectStore) -> tuple[Collection, str] | None:
    """Read ``gc.json`` and its etag; None when no collection was ever made."""
    found = store.get(layout.COLLECTION)
    if found is None:
        return None
    return parse(Collection, found.data, store.url_of(layout.COLLECTION)), found.etag


def leases(store: ObjectStore, at: float, *, remove_dead: bool) -> tuple[Lease, ...]:
    """Read the leases of those who are not dead.

    Args:
        store: where.
        at: the store's time now, seconds since the epoch.
        remove_dead: remove the others.

    Raises:
        CatalogError: one cannot be read; what it keeps is then not known.
    """
    alive: list[Lease] = []
    for each in store.list("leases/"):
        if at - each.modified > LEASE_SECONDS:
            if remove_dead:
                store.delete(each.key)
            continue
        found = store.get(each.key, limit=read.MANIFEST_LIMIT)
        if found is not None:  # otherwise its holder has finished
            alive.append(parse(Lease, found.data, store.url_of(each.key)))
    return tuple(alive)


def store_time(store: ObjectStore) -> float:
    """Return the store's own time, seconds since the epoch; takes a write."""
    key = f"probe/time-{secrets.token_hex(8)}.json"
    store.put(key, b"{}\n")
    found = store.stat(key)
    store.delete(key)
    return found.modified if found else time.time()


def keeps(lease: Lease, name: str, version: str) -> bool:
    """Whether a lease keeps a release."""
    return lease.name == name and version.endswith(lease.image)


def _wait(held: Held, reporter: Reporter) -> None:
    """Wait for a collection that is going to delete what the lease names."""
    said = False
    while True:
        reporter.cancel.check()
        found = collection(held.store)
        if found is None or not _concerns(found[0], held.lease):
            return
        if not said:
            said = True
            reporter.note("wait", f"for the garbage collection of {found[0].by} to end")
        at = held.renew(always=True)
        written = held.store.stat(layout.COLLECTION)
        if at and written and at - written.modified > COLLECTION_SECONDS:
            # It died.  Nothing of what it had in mind is deleted by it any more.
            ended = found[0].model_copy(update={"ended": True, "releases": (), "blobs": ()})
            with contextlib.suppress(Conflict):
                held.store.put(layout.COLLECTION, dump(ended), if_match=found[1])
            continue
        time.sleep(_POLL_SECONDS)


def _concerns(found: Collection, lease: Lease) -> bool:
    return not set(lease.digests).isdisjoint(found.blobs) or any(
        keeps(lease, each.name, each.version) for each in found.releases
    )
