"""Verifying a catalog: is everything there that something names, and is it what it should be?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from imagebuilder.catalog import layout, read, statements
from imagebuilder.catalog.model import UNIT, Channel, Index, IndexEntry, Release, parse
from imagebuilder.errors import CatalogError
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore, Stat

_AGAIN = "publish the image again with --force, or choose another release"
_FOLLOWS = "publish or promote to the channel again: that writes the script that is due"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in a catalog that is not as it should be.

    Attributes:
        kind: ``broken``: a reader or machine can run into it; ``left``: what an unfinished
            publication left, harmless.
        where: the object's URL.
        what: what is the matter.
        fix: what to do.
    """

    kind: Literal["broken", "left"]
    where: str
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a verification looked at, and what it found.

    Attributes:
        releases: how many releases.
        channels: how many channels.
        blobs: how many different blobs the releases name.
        bytes: the size of these blobs.
        findings: what is not as it should be, by place.
    """

    releases: int
    channels: int
    blobs: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return all(each.kind != "broken" for each in self.findings)


def verify(store: ObjectStore, *, contents: bool, reporter: Reporter) -> Verification:
    """Verify a catalog; see :meth:`imagebuilder.catalog.Catalog.verify`."""
    return _Verifier(store=store, reporter=reporter).run(contents)


@dataclass(slots=True, kw_only=True)
class _Verifier:
    store: ObjectStore
    reporter: Reporter
    findings: list[Finding] = field(default_factory=list)
    releases: dict[tuple[str, str], tuple[Release, str]] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)  # blobs: digest → size

    def run(self, contents: bool) -> Verification:
        read.check_marker(self.store)
        cancel = self.reporter.cancel
        # Pointers first: what is published while this looks on is then not missed below.
        with self.reporter.step("list", "what is there"):
            pointers = list(self._pointers())
            entries = self._index()
            for stat in self.store.list("releases/"):
                cancel.check()
                self._release(stat.key, entries)
            blobs = {each.key: each for each in self.store.list("blobs/")}
            scripts = {each.key for each in self.store.list("boot/")}
        for name, version in sorted(set(entries) - set(self.releases)):
            key = layout.release_key(name, version)
            if self.store.get(key, limit=read.MANIFEST_LIMIT) is None:
                self._broken(key, "is in the index and not there", _AGAIN)
        for pointer in pointers:
            cancel.check()
            self._channel(pointer)
        if self.store.stat(layout.ROOT_SCRIPT) is None:
            what = "is missing, so that boot scripts cannot tell where the catalog is"
            self._broken(layout.ROOT_SCRIPT, what, "publish an image again: that writes it")
        named = {(each.name, each.release) for each in pointers}
        for release, _ in self.releases.values():
            cancel.check()
            self._script(release, scripts, (release.name, release.version) in named, contents)
        self._blobs(blobs, contents)
        for release, _ in self.releases.values():
            cancel.check()
            self._statements(release)
        ordered = sorted(self.findings, key=lambda each: (each.where, each.what))
        return Verification(
            releases=len(self.releases),
            channels=len(pointers),
            blobs=len(self.wanted),
            bytes=sum(self.wanted.values()),
            findings=tuple(ordered),
        )

    def _pointers(self) -> Iterator[Channel]:
        for stat in self.store.list("channels/"):
            name, _, channel = stat.key.removeprefix("channels/").partition("/")
            try:
                found = read.channel(self.store, name, channel.removesuffix(".json"))
            except CatalogError as error:
                self._broken(stat.key, error.what, error.fix)
                continue
            if found:
                yield found

    def _index(self) -> dict[tuple[str, str], IndexEntry]:
        try:
            found = self.store.get(layout.INDEX)
            url = self.store.url_of(layout.INDEX)
            entries = parse(Index, found.data, url).releases if found else ()
        except CatalogError as error:
            self._broken(layout.INDEX, error.what, error.fix)
            entries = ()
        return {(each.name, each.version): each for each in entries}

    def _release(self, key: str, entries: dict[tuple[str, str], IndexEntry]) -> None:
        name, _, file = key.removeprefix("releases/").partition("/")
        version = file.removesuffix(".json")
        try:
            found = self.store.get(key, limit=read.MANIFEST_LIMIT)
            if found is None:
                return
            digest = hashlib.sha256(found.data).hexdigest()
            release = read.release(self.store, name, version, digest)
        except CatalogError as error:
            self._broken(key, error.what, error.fix)
            return
        self.releases[name, version] = (release, digest)
        for each in release.artefacts:
            self.wanted[each.sha256] = each.size
        entry = entries.get((name, version))
        if entry is None:
            self._left(key, "is not in the index: its publication did not come to its end")
        elif entry.manifest != digest:
            self._broken(key, "is not the manifest that the index names", _AGAIN)

    def _statements(self, release: Release) -> None:
        try:
            statements.of_release(self.store, release)
        except CatalogError as error:
            where = error.where.file if error.where else self.store.url
            if all(each.where != where for each in self.findings):  # a blob that is missing is
                found = Finding(kind="broken", where=where, what=error.what, fix=error.fix)
                self.findings.append(found)

    def _channel(self, pointer: Channel) -> None:
        key = layout.channel_key(pointer.name, pointer.channel)
        try:
            release = read.release(self.store, pointer.name, pointer.release, pointer.manifest)
        except CatalogError as error:
            self._broken(key, f"names a release that cannot be used: {error.what}", _AGAIN)
            return
        try:
            read.history(self.store, pointer)
        except CatalogError as error:
            self._broken(key, error.what, error.fix)
        script = self.store.get(layout.script_key(pointer.name, pointer.channel))
        if script is None or script.data != layout.channel_script(release, pointer):
            now = self.store.get(key)
            later = now and read.as_channel(self.store, pointer.name, pointer.channel, now.data)
            if later == pointer:  # otherwise it was moved while this looked on
                what = "is missing" if script is None else "does not boot what the channel names"
                self._broken(layout.script_key(pointer.name, pointer.channel), what, _FOLLOWS)

    def _script(self, release: Release, there: set[str], named: bool, contents: bool) -> None:
        """Look at a release's own script; what no channel names need not have one yet."""
        key = layout.script_key(release.name, release.version)
        found = self.store.get(key) if contents or key not in there else None
        if found is None and key not in there:
            if named:
                self._broken(key, "is missing", "publish the image again: that writes it")
            elif self.store.stat(layout.release_key(release.name, release.version)):
                self._left(key, "is missing: its release's publication did not come to its end")
        elif found is not None:
            # Other versions write it in other words, and the same blobs.
            unit = [each.sha256 for each in release.artefacts if each.role in UNIT]
            if not all(layout.blob_key(digest).encode() in found.data for digest in unit):
                self._broken(key, "does not boot its release", _AGAIN)

    def _blobs(self, there: dict[str, Stat], contents: bool) -> None:
        whole: list[tuple[str, str, int]] = []
        for digest, size in self.wanted.items():
            key = layout.blob_key(digest)
            found = there.get(key) or self.store.stat(key)
            if found is None:
                self._broken(key, "is missing", _AGAIN)
            elif found.size != size:
                self._broken(key, f"has {found.size} bytes, not {size}", _AGAIN)
            else:
                whole.append((key, digest, size))
        known = {layout.blob_key(digest) for digest in self.wanted}
        for key in sorted(set(there) - known):
            self._left(key, "is named by no release")
        if contents:
            self._contents(whole)

    def _contents(self, blobs: list[tuple[str, str, int]]) -> None:
        total = sum(size for _, _, size in blobs)
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            self.reporter.progress("contents", done, total, "bytes")

        with self.reporter.step("contents", f"{len(blobs)} blobs"):
            for key, digest, size in blobs:
                try:
                    self.store.fetch(
                        key,
                        lambda _: None,
                        size=size,
                        sha256=digest,
                        on_bytes=on_bytes,
                        cancel=self.reporter.cancel,
                    )
                except CatalogError as error:
                    self._broken(key, error.what, error.fix)

    def _broken(self, key: str, what: str, fix: str) -> None:
        where = self.store.url_of(key)
        self.findings.append(Finding(kind="broken", where=where, what=what, fix=fix))

    def _left(self, key: str, what: str) -> None:
        self.findings.append(Finding(kind="left", where=self.store.url_of(key), what=what))
