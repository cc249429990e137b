"""Mirroring: a catalog gets what another one has, in the order in which it was published there.

Blobs, manifests, index, scripts, then pointers, so that the mirror is whole at any time, as
after a publication.  What is there already is not sent again; a sync that died goes on where it
ended.  The mirror decides nothing: its pointers have the generations and the history of the
original, so that the original's signatures hold for it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.catalog import layout, leases, mirrored, read
from imagebuilder.catalog.leases import Held
from imagebuilder.catalog.model import Channel, IndexEntry, Release, ReleaseArtefact, parse
from imagebuilder.catalog.publish import add_to_index, entry_of, make_catalog
from imagebuilder.catalog.signed import Envelope
from imagebuilder.catalog.update import create
from imagebuilder.catalog.verify import Finding
from imagebuilder.errors import CatalogError, HostError, InputError, Location
from imagebuilder.names import check_name
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import download
from imagebuilder.stores.overlay import OverlayStore

_AT_ONCE = 20  # releases that come into the index with one write


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a sync did.

    Attributes:
        releases: how many releases the mirror got.
        blobs: how many blobs it got.
        bytes: the size of these blobs.
        channels: the channels that were moved, as ``NAME CHANNEL``.
        records: how many signatures, attestations, approvals and rules were new or changed.
        findings: what could not be mirrored, and why.
    """

    releases: int
    blobs: int
    bytes: int
    channels: tuple[str, ...]
    records: int
    findings: tuple[Finding, ...]


def sync(
    source: ObjectStore,
    target: ObjectStore,
    *,
    names: Sequence[str],
    dry_run: bool,
    reporter: Reporter,
) -> Synced:
    """Mirror a catalog; see :meth:`imagebuilder.catalog.Catalog.sync`."""
    for name in names:
        check_name(name)
    if source.url == target.url:
        raise InputError(f"{source.url} is the source and the mirror at once")
    read.check_marker(source)
    if dry_run:
        target = OverlayStore(target)
    if target.get(layout.MARKER, limit=read.MANIFEST_LIMIT) is None:
        make_catalog(target, reporter.cancel)
    read.check_marker(target)
    target.prepare(reporter.cancel)
    work = _Sync(source=source, target=target, reporter=reporter, dry_run=dry_run)
    for name in names or sorted({each.name for each in read.index(source)}):
        reporter.cancel.check()
        work.recipe(name)
    return work.done()


@dataclass(slots=True, kw_only=True)
class _Sync:
    source: ObjectStore
    target: ObjectStore
    reporter: Reporter
    dry_run: bool
    releases: int = 0
    blobs: int = 0
    bytes: int = 0
    channels: list[str] = field(default_factory=list)
    records: int = 0
    findings: list[Finding] = field(default_factory=list)

    def done(self) -> Synced:
        return Synced(
            releases=self.releases,
            blobs=self.blobs,
            bytes=self.bytes,
            channels=tuple(self.channels),
            records=self.records,
            findings=tuple(self.findings),
        )

    def recipe(self, name: str) -> None:
        """Mirror one recipe.

        What points is read before what it points to, so that whatever is published meanwhile
        does not leave the mirror with a pointer to a release that was not copied.
        """
        target, cancel = self.target, self.reporter.cancel
        # The lease keeps all releases of the recipe that the mirror has, so that none goes
        # between the look at the index and the pointer that names it.
        with leases.held(target, name, "", (), self.reporter) as lease:
            pointers: list[Channel] = []
            signed: dict[str, Envelope] = {}
            for channel in self._channels_of(name):
                with self._noted(layout.signature_key(name, channel)):
                    if envelope := mirrored.signature_of_channel(self.source, name, channel):
                        signed[channel] = envelope
                with self._noted(layout.channel_key(name, channel)):
                    if pointer := read.channel(self.source, name, channel):
                        pointers.append(pointer)
            entries = [each for each in read.index(self.source) if each.name == name]
            there = set(read.index(target))
            self._releases([each for each in entries if each not in there], lease)
            self.records += mirrored.copy_records(self.source, target, name, self._noted, cancel)
            for pointer in pointers:
                lease.renew()
                with self._noted(layout.channel_key(name, pointer.channel)):
                    if mirrored.follow(self.source, target, pointer, cancel):
                        self.channels.append(f"{name} {pointer.channel}")
            for channel, envelope in signed.items():
                lease.renew()
                with self._noted(layout.signature_key(name, channel)):
                    self.records += mirrored.copy_channel_signature(
                        target, name, channel, envelope, cancel
                    )

    def _channels_of(self, name: str) -> list[str]:
        prefix = f"channels/{name}/"
        keys = [each.key for each in self.source.list(prefix)]
        return [key.removeprefix(prefix).removesuffix(".json") for key in keys]

    def _releases(self, entries: Sequence[IndexEntry], lease: Held) -> None:
        """Copy releases that the mirror has not; they come into its index in groups."""
        if not entries:
            return
        name = entries[0].name
        with self.reporter.step("sync", f"{len(entries)} releases of {name}"):
            for n in range(0, len(entries), _AT_ONCE):
                whole: list[IndexEntry] = []
                try:
                    for entry in entries[n : n + _AT_ONCE]:
                        lease.renew()
                        with self._noted(layout.release_key(entry.name, entry.version)):
                            self._release(entry, lease)
                            whole.append(entry)
                finally:
                    add_to_index(self.target, whole, self.reporter.cancel)
                    self.releases += len(whole)

    def _release(self, entry: IndexEntry, lease: Held) -> None:
        key = layout.release_key(entry.name, entry.version)
        found = self.source.get(key, limit=read.MANIFEST_LIMIT)
        data = found.data if found else b""
        if hashlib.sha256(data).hexdigest() != entry.manifest:
            raise CatalogError(
                "is missing" if found is None else "is not the manifest that the index names",
                where=Location(file=self.source.url_of(key)),
                fix="run catalog verify on the catalog that is mirrored",
            )
        release = parse(Release, data, self.source.url_of(key))
        if entry_of(release, entry.manifest) != entry:
            raise CatalogError(
                "the index says other things of this release than its manifest",
                where=Location(file=self.source.url_of(key)),
                fix="run catalog verify on the catalog that is mirrored",
            )
        digests = [each.sha256 for each in release.artefacts]
        with leases.held(self.target, entry.name, entry.image, digests, self.reporter) as own:
            for artefact in {each.sha256: each for each in release.artefacts}.values():
                self._blob(artefact, (lease, own))
            if not create(self.target, key, data):
                raise CatalogError(
                    "is another release than the one of that name in the catalog that is mirrored",
                    where=Location(file=self.target.url_of(key)),
                    fix="this mirror was published to by itself: use another place",
                )
            create(
                self.target,
                layout.script_key(entry.name, entry.version),
                layout.release_script(release),
                content_type=layout.SCRIPT_TYPE,
            )

    def _blob(self, artefact: ReleaseArtefact, held: Sequence[Held]) -> None:
        key = layout.blob_key(artefact.sha256)
        there = self.target.stat(key)
        if there is not None and there.size == artefact.size:
            return
        seen = 0

        def on_bytes(count: int) -> None:
            nonlocal seen
            seen += count
            self.reporter.progress("sync", seen, 2 * artefact.size, "bytes", artefact.name)
            for each in held:
                each.renew()

        cancel = self.reporter.cancel
        size, sha256 = artefact.size, artefact.sha256
        with _spool() as folder:
            file = folder / sha256
            if not self.dry_run:  # there the target keeps the size alone
                download(
                    self.source,
                    key,
                    file,
                    size=size,
                    sha256=sha256,
                    on_bytes=on_bytes,
                    cancel=cancel,
                )
            self.target.upload(
                key, file, size=size, sha256=sha256, on_bytes=on_bytes, cancel=cancel
            )
        self.blobs += 1
        self.bytes += size

    @contextmanager
    def _noted(self, key: str) -> Iterator[None]:
        """Note what cannot be mirrored, and go on with the rest."""
        try:
            yield
        except CatalogError as error:
            # If one of them cannot be reached at all, nothing of the rest can be done.
            read.check_marker(self.source)
            read.check_marker(self.target)
            where = error.where.file if error.where and error.where.file else None
            self.findings.append(
                Finding(
                    kind="broken",
                    where=where or self.target.url_of(key),
                    what=error.what,
                    fix=error.fix,
                )
            )


@contextmanager
def _spool() -> Iterator[Path]:
    """Give a folder for one blob: its digest must be known before the mirror gets a byte."""
    try:
        with tempfile.TemporaryDirectory(prefix="imagebuilder-sync-") as folder:
            yield Path(folder)
    except OSError as error:
        raise HostError(
            f"a blob could not be kept meanwhile: {error.strerror or error}",
            where=Location(file=str(error.filename or tempfile.gettempdir())),
            fix="make room there, or let TMPDIR name a folder with room for the largest blob",
        ) from error
