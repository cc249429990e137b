"""Publishing: blobs, then the manifest, then the index, the pointer last.

Whatever dies in between, a reader sees the channel's old release or its new one, whole.  Each
step first looks whether its result is there, so that publishing again mends what is missing
and otherwise does nothing.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import partial

from imagebuilder.catalog import channels, gate, layout, leases, read, statements
from imagebuilder.catalog.leases import Held
from imagebuilder.catalog.manifest import (
    REPORT_NAME,
    Content,
    TestEvidence,
    check_evidence,
    clean,
    contents,
    make_release,
    now,
    version_time,
    whoami,
)
from imagebuilder.catalog.model import (
    UNIT,
    CatalogMarker,
    Channel,
    Index,
    IndexEntry,
    Move,
    Release,
    check_channel,
    dump,
    parse,
)
from imagebuilder.catalog.update import create, update
from imagebuilder.errors import CatalogError, Location
from imagebuilder.image import Image
from imagebuilder.policies import ChannelPolicy
from imagebuilder.progress import Cancel, Reporter
from imagebuilder.stores import Object, ObjectStore
from imagebuilder.stores.base import PROBE, at_once

_VERSION_ATTEMPTS = 100
# Files that say something about an image, and with which it is the same one all the same.
_SAYS = {REPORT_NAME, statements.PROVENANCE_NAME, statements.TEST_RESULT_NAME}


def publish(
    store: ObjectStore,
    image: Image,
    *,
    channel: str,
    evidence: TestEvidence | None,
    override: str,
    force: bool,
    git_commit: str,
    by: str,
    builder: str,
    policy: ChannelPolicy | None,
    reporter: Reporter,
) -> Release:
    """Publish an image; see :meth:`imagebuilder.catalog.Catalog.publish`."""
    check_channel(channel)
    if builder:
        statements.check_builder(builder)
    gate.check_publish(store, channel, policy, evidence)
    check_evidence(image, evidence, override)
    who = clean(by) or whoami()
    parts = contents(image, evidence)
    parts += statements.contents(image, parts, evidence, git_commit=git_commit, builder=builder)
    cancel = reporter.cancel
    cancel.check()
    if not read.has_marker(store):
        make_catalog(store, cancel)
        read.check_marker(store)

    if not force:
        done = _nothing_to_do(store, image, parts, evidence, channel, reporter)
        if done:
            return done
    store.prepare(cancel)
    digests = [each.artefact.sha256 for each in parts]
    with leases.held(store, image.recipe, image.id, digests, reporter) as lease:
        release, digest = (None, "") if force else _published(store, image, parts, evidence)
        if release:
            parts = _of_release(parts, release)
        _send(store, parts, force, lease, reporter)
        with reporter.step("release", f"channel {channel}"):
            lease.renew()
            if release is None:
                release, digest = _write_manifest(
                    store,
                    image,
                    parts,
                    evidence=evidence,
                    override=override,
                    by=who,
                    git_commit=git_commit,
                )
            add_to_index(store, [entry_of(release, digest)], cancel)
            if store.stat(layout.ROOT_SCRIPT) is None:
                _write_root_script(store)
            key = layout.script_key(release.name, release.version)
            if store.stat(key) is None:
                create(store, key, layout.release_script(release), content_type=layout.SCRIPT_TYPE)
            pointer = _move(store, release, digest, channel, who, lease, cancel)
            channels.publish_script(store, pointer, release, cancel)
    return release


def _nothing_to_do(
    store: ObjectStore,
    image: Image,
    parts: Sequence[Content],
    evidence: TestEvidence | None,
    channel: str,
    reporter: Reporter,
) -> Release | None:
    """Return the release if the channel names it and nothing of it is missing.

    No lease is needed to find that out: what a channel names is never deleted.
    """
    release, _ = _published(store, image, parts, evidence)
    was = read.channel(store, image.recipe, channel)
    if was is None:
        return None
    said = f"channel {channel} has release {was.release} of this image"
    if release is None or was.release != release.version:
        try:
            release = read.release(store, image.recipe, was.release, was.manifest)
        except CatalogError:
            return None  # damaged, as verify says: a new release takes its place
        if not _has_same_effect(release, image, parts, evidence):
            return None
        parts = [Content(artefact=each, source=b"") for each in release.artefacts]
        said = (
            f"no effective change: channel {channel} has release {was.release}, with the same "
            "kernel, initrd, root file system and kernel arguments"
        )
    script = store.get(layout.script_key(release.name, channel))
    if (
        script is None
        or script.data != layout.channel_script(release, was)
        or store.stat(layout.script_key(release.name, release.version)) is None
        or store.stat(layout.ROOT_SCRIPT) is None
        or not all(at_once(store, partial(_is_stored, store), _of_release(parts, release)))
    ):
        return None
    reporter.reused("publish", said)
    return release


def _has_same_effect(
    release: Release, image: Image, parts: Sequence[Content], evidence: TestEvidence | None
) -> bool:
    """Return whether a machine gets from a release what it would get from an image.

    Of another image that is: what its recipe says in other words, or in a comment, can give it
    another id, and the same bytes.
    """
    mine = {each.artefact.role: each.artefact.sha256 for each in parts}
    its = {each.role: each.sha256 for each in release.artefacts}
    return (
        all(mine.get(role) == its.get(role) for role in (*UNIT, "packages"))
        and release.kernel_args == image.facts.kernel_args
        and release.distro == clean(image.facts.distro)
        and (release.tested or not (evidence and evidence.passed))
    )


def make_catalog(store: ObjectStore, cancel: Cancel) -> None:
    """Make an empty place a catalog.

    Raises:
        CatalogError: the place holds something else, or refuses.
    """
    # Not into a folder or bucket that is something else.
    ours = (layout.MARKER, layout.ROOT_SCRIPT, PROBE)
    stranger = next((each.key for each in store.list("") if each.key not in ours), None)
    if stranger and store.stat(layout.MARKER):
        return  # somebody who publishes at the same time has just made it one
    if stranger:
        raise CatalogError(
            f"this is no catalog, and not empty: it holds {stranger!r}",
            where=Location(file=store.url),
            fix="choose an empty or new folder or prefix for the catalog",
        )
    store.prepare(cancel)
    _write_root_script(store)
    create(store, layout.MARKER, dump(CatalogMarker(created=now())))


def _write_root_script(store: ObjectStore) -> None:
    script = layout.root_script(store.public_url)
    create(store, layout.ROOT_SCRIPT, script, content_type=layout.SCRIPT_TYPE)


def _published(
    store: ObjectStore, image: Image, parts: Sequence[Content], evidence: TestEvidence | None
) -> tuple[Release | None, str]:
    """Return the newest release of exactly this image that is as well proved, if there is one.

    With it comes the digest of its manifest.
    """
    entries = [each for each in read.index(store) if each.name == image.recipe]
    wanted = {(each.artefact.name, each.artefact.sha256) for each in parts}
    for entry in reversed(entries):
        if entry.image != image.id:
            continue
        try:
            found = read.release(store, entry.name, entry.version, entry.manifest)
        except CatalogError:
            continue  # damaged, as verify says: a new release takes its place
        has = {(each.name, each.sha256) for each in found.artefacts}
        # Another test of the same image makes no new release, unless it is the first to pass.
        same = {each for each in has ^ wanted if each[0] not in _SAYS} == set()
        if same and (found.tested or not (evidence and evidence.passed)):
            return found, entry.manifest
    return None, ""


def _of_release(parts: Sequence[Content], release: Release) -> tuple[Content, ...]:
    """Return what of an image is in a release that is published already."""
    names = {each.sha256 for each in release.artefacts}
    return tuple(each for each in parts if each.artefact.sha256 in names)


def _send(
    store: ObjectStore, parts: Sequence[Content], force: bool, lease: Held, reporter: Reporter
) -> None:
    """Store the blobs that are not there yet; all of them with ``force``."""
    there = (False,) * len(parts) if force else at_once(store, partial(_is_stored, store), parts)
    lacking = {
        each.artefact.sha256: each for each, stored in zip(parts, there, strict=True) if not stored
    }
    if not lacking:
        return
    total = sum(each.artefact.size for each in lacking.values())
    done = 0
    lock = threading.Lock()

    def on_bytes(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            now = done
            lease.renew()
        reporter.progress("upload", now, total, "bytes")

    with reporter.step("upload", f"{len(lacking)} files, {total} bytes"):
        for digest, each in lacking.items():
            reporter.cancel.check()
            lease.renew()
            key = layout.blob_key(digest)
            if isinstance(each.source, bytes):
                store.put(key, each.source, content_type="application/octet-stream")
                on_bytes(len(each.source))
            else:
                store.upload(
                    key,
                    each.source,
                    size=each.artefact.size,
                    sha256=digest,
                    on_bytes=on_bytes,
                    cancel=reporter.cancel,
                )


def _is_stored(store: ObjectStore, content: Content) -> bool:
    found = store.stat(layout.blob_key(content.artefact.sha256))
    return found is not None and found.size == content.artefact.size


def _write_manifest(
    store: ObjectStore,
    image: Image,
    parts: Sequence[Content],
    *,
    evidence: TestEvidence | None,
    override: str,
    by: str,
    git_commit: str,
) -> tuple[Release, str]:
    last = max((e.version for e in read.index(store) if e.name == image.recipe), default=None)
    for _ in range(_VERSION_ATTEMPTS):
        release = make_release(
            image,
            [each.artefact for each in parts],
            evidence=evidence,
            override=override,
            by=by,
            git_commit=git_commit,
            when=version_time(last),
        )
        data = dump(release)
        if create(store, layout.release_key(release.name, release.version), data):
            return release, hashlib.sha256(data).hexdigest()
        last = release.version  # somebody publishes the same image in the same second
    raise CatalogError(
        f"found no free version for a release of {image.recipe} in {_VERSION_ATTEMPTS} attempts",
        where=Location(file=store.url),
        fix="run the same command again",
    )


def entry_of(release: Release, digest: str) -> IndexEntry:
    """Return what the index says of a release whose manifest has that digest."""
    return IndexEntry(
        name=release.name,
        version=release.version,
        image=release.image,
        manifest=digest,
        created=release.created,
        distro=release.distro,
        kernel_release=release.kernel_release,
        package_count=release.package_count,
        size=release.size,
        tested=release.tested,
        git_commit=release.git_commit,
    )


def add_to_index(store: ObjectStore, entries: Sequence[IndexEntry], cancel: Cancel) -> None:
    """Add releases to the index, by compare-and-swap."""

    def change(current: Object | None) -> bytes | None:
        there = parse(Index, current.data, store.url_of(layout.INDEX)).releases if current else ()
        if set(entries) <= set(there):
            return None
        known = {(each.name, each.version): each for each in (*there, *entries)}
        return dump(Index(releases=tuple(known[key] for key in sorted(known))))

    update(store, layout.INDEX, change, cancel)


def _move(
    store: ObjectStore,
    release: Release,
    digest: str,
    channel: str,
    by: str,
    lease: Held,
    cancel: Cancel,
) -> Channel:
    def decide(pointer: Channel | None) -> Move | None:
        lease.renew()
        if pointer and (pointer.release, pointer.manifest) == (release.version, digest):
            return None
        return Move(
            generation=channels.next_generation(pointer),
            release=release.version,
            manifest=digest,
            action="publish",
            time=now(),
            by=by,
            reason=release.override.reason if release.override else "",
        )

    moved = channels.move(store, release.name, channel, decide, cancel)
    assert moved  # decide leaves a channel alone only when there is one
    return moved
