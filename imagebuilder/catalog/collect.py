"""Garbage collection: deletes what a policy does not keep, while others publish.

How it and they see each other is told in :mod:`imagebuilder.catalog.leases`.  What is deleted
was doomed twice: when the list for ``gc.json`` was made, and after it was written.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from imagebuilder.catalog import layout, leases, read
from imagebuilder.catalog.manifest import now, whoami
from imagebuilder.catalog.model import Index, Release, dump, parse
from imagebuilder.catalog.records import Collection, ReleaseName
from imagebuilder.catalog.survey import Survey, survey
from imagebuilder.catalog.update import update
from imagebuilder.catalog.verify import Finding
from imagebuilder.errors import CatalogError, Location
from imagebuilder.policies import Retention
from imagebuilder.progress import Reporter
from imagebuilder.stores import Conflict, Object, ObjectStore

_BEAT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What a garbage collection deleted, or would delete.

    Attributes:
        dry_run: whether it only would.
        releases: the releases that are gone.
        blobs: how many blobs are gone.
        bytes: how much room they took.
        unfinished: how much room uploads took that were begun and never ended, in bytes.
        kept: the releases that stay, each with the reason.
        failures: what could not be deleted and is still there; the next collection tries again.
    """

    dry_run: bool
    releases: tuple[ReleaseName, ...]
    blobs: int
    bytes: int
    kept: tuple[tuple[ReleaseName, str], ...]
    unfinished: int = 0
    failures: tuple[Finding, ...] = ()


def collect(
    store: ObjectStore,
    policy: Retention,
    *,
    dry_run: bool,
    unlisted: Callable[[Sequence[ReleaseName]], None],
    reporter: Reporter,
) -> Freed:
    """Delete what nothing keeps; see :meth:`imagebuilder.catalog.Catalog.gc`.

    ``unlisted`` is called when releases are no longer listed, and before they are deleted.
    """
    read.check_marker(store)
    if dry_run:
        with reporter.step("list", "what is there"):
            at = time.time()
            found = survey(store, policy, at=at, known={}, remove_dead=False, reporter=reporter)
        return Freed(
            dry_run=True,
            releases=tuple(found.releases),
            blobs=len(found.blobs),
            bytes=sum(found.blobs.values()) + sum(found.releases.values()),
            unfinished=store.clear(at - _patience(policy), dry_run=True, cancel=reporter.cancel),
            kept=tuple(found.kept.items()),
        )
    # Two collections must not run at once, which only conditional writes can prevent.
    store.prepare(reporter.cancel)
    record = Collection(id=secrets.token_hex(16), by=whoami(), started=now())
    collector = _Collector(
        store=store, reporter=reporter, record=record, etag=_free(store), unlisted=unlisted
    )
    collector.write()
    try:
        return collector.run(policy)
    finally:
        collector.record = record.model_copy(update={"ended": True})
        # If this fails it is taken for dead after a while.
        with contextlib.suppress(CatalogError):
            collector.write()


@dataclass(slots=True, kw_only=True)
class _Collector:
    store: ObjectStore
    reporter: Reporter
    record: Collection
    etag: str | None
    unlisted: Callable[[Sequence[ReleaseName]], None]
    beginning: float = 0.0  # the store's time of the first survey
    beaten: float = 0.0  # time.monotonic() before gc.json was last written
    failures: list[Finding] = field(default_factory=list)

    def run(self, policy: Retention) -> Freed:
        known: dict[ReleaseName, Release] = {}
        with self.reporter.step("list", "what is there"):
            first = self._survey(policy, known)
        doomed = {"releases": tuple(first.releases), "blobs": tuple(sorted(first.blobs))}
        self.record = self.record.model_copy(update=doomed)
        # From here on whoever is going to name any of these waits; who began before has a lease.
        self.write()
        with self.reporter.step("list", "again"):
            found = self._survey(policy, known)
        releases = [name for name in found.releases if name in first.releases]
        blobs = {key: size for key, size in found.blobs.items() if key in first.blobs}
        with self.reporter.step("delete", f"{len(releases)} releases, {len(blobs)} blobs"):
            gone = self._delete_releases(releases)
            # A manifest that could not be deleted keeps its blobs, or it would name nothing.
            left = (name for name in found.releases if name not in gone)
            named = {each.sha256 for name in left for each in found.manifests[name].artefacts}
            freed: list[int] = []
            for n, (digest, size) in enumerate(blobs.items(), 1):
                if digest not in named and self._delete(layout.blob_key(digest)):
                    freed.append(size)
                self.reporter.progress("delete", n, len(blobs), "blobs")
            unfinished = self._clear(self.beginning - _patience(policy))
        return Freed(
            dry_run=False,
            releases=tuple(gone),
            blobs=len(freed),
            bytes=sum(freed) + sum(found.releases[name] for name in gone),
            unfinished=unfinished,
            kept=tuple(found.kept.items()),
            failures=tuple(self.failures),
        )

    def write(self) -> None:
        """Write gc.json, provided that nobody else has taken it meanwhile."""
        self.beaten = time.monotonic()
        data = dump(self.record)
        with contextlib.suppress(Conflict):
            self.store.put(
                layout.COLLECTION, data, if_match=self.etag, if_none_match=self.etag is None
            )
        # A write whose answer was lost is found again by its bytes.
        found = self.store.get(layout.COLLECTION)
        if found is None or found.data != data:
            raise CatalogError(
                "another garbage collection began meanwhile, so this one stopped",
                where=Location(file=self.store.url_of(layout.COLLECTION)),
                fix="wait for that one to end",
            )
        self.etag = found.etag

    def _survey(self, policy: Retention, known: dict[ReleaseName, Release]) -> Survey:
        self.write()
        written = self.store.stat(layout.COLLECTION)
        assert written  # it was read just now, and nobody deletes it
        self.beginning = self.beginning or written.modified
        return survey(
            self.store,
            policy,
            at=written.modified,
            known=known,
            remove_dead=True,
            reporter=self.reporter,
        )

    def _delete_releases(self, doomed: Sequence[ReleaseName]) -> list[ReleaseName]:
        """Delete releases; return those that are gone."""
        if not doomed:
            return []
        names = {(each.name, each.version) for each in doomed}

        def without(current: Object | None) -> bytes | None:
            if current is None:
                return None
            there = parse(Index, current.data, self.store.url_of(layout.INDEX)).releases
            kept = tuple(each for each in there if (each.name, each.version) not in names)
            return dump(Index(releases=kept)) if len(kept) < len(there) else None

        # First from the list, then the thing itself: what is listed is there.
        update(self.store, layout.INDEX, without, self.reporter.cancel)
        self.unlisted(doomed)
        return [
            each
            for each in doomed
            if self._delete(layout.script_key(each.name, each.version))
            and self._delete(layout.signature_key(each.name, each.version))
            and self._delete(layout.attestations_key(each.name, each.version))
            and all(
                self._delete(approval.key)
                for approval in self.store.list(f"approvals/{each.name}/{each.version}/")
            )
            and self._delete(layout.release_key(each.name, each.version))
        ]

    def _clear(self, before: float) -> int:
        try:
            return self.store.clear(before, dry_run=False, cancel=self.reporter.cancel)
        except CatalogError as error:
            where = str(error.where.file) if error.where else self.store.url
            self.failures.append(
                Finding(kind="broken", where=where, what=error.what, fix=error.fix)
            )
            return 0

    def _delete(self, key: str) -> bool:
        self.reporter.cancel.check()
        waited = time.monotonic() - self.beaten
        if waited > leases.COLLECTION_SECONDS / 3:
            raise CatalogError(
                f"this process stood still for {waited:.0f} s, so that others may have taken it "
                "for dead",
                where=Location(file=self.store.url_of(layout.COLLECTION)),
                fix="run the same command again",
            )
        if waited > _BEAT_SECONDS:
            self.write()
        try:
            self.store.delete(key)
        except CatalogError as error:
            self.failures.append(
                Finding(kind="broken", where=self.store.url_of(key), what=error.what, fix=error.fix)
            )
            return False
        return True


def _patience(policy: Retention) -> float:
    """Return how long an upload can take, in seconds: who is sending it is not to begin anew."""
    return max(policy.grace_hours * 3600.0, leases.LEASE_SECONDS)


def _free(store: ObjectStore) -> str | None:
    """Return the etag of gc.json if no collection is at work.

    Raises:
        CatalogError: one is.
    """
    found = leases.collection(store)
    if found is None:
        return None
    record, etag = found
    written = store.stat(layout.COLLECTION)
    if record.ended or written is None:
        return etag
    idle = leases.store_time(store) - written.modified
    if idle > leases.COLLECTION_SECONDS:
        return etag
    raise CatalogError(
        f"the garbage collection of {record.by} is at work since {record.started}",
        where=Location(file=store.url_of(layout.COLLECTION)),
        fix="wait for it to end; if it died, another can begin "
        f"{leases.COLLECTION_SECONDS / 60:.0f} minutes after its last sign of life",
    )
