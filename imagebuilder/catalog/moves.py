"""Promoting a release to a channel, and taking a channel back to what it named before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from imagebuilder.catalog import channels, gate, layout, leases, read, rules
from imagebuilder.catalog.manifest import clean, now, whoami
from imagebuilder.catalog.model import Channel, Move, Release, check_channel, is_version
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.names import check_name
from imagebuilder.policies import ChannelPolicy
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import at_once


def promote(
    store: ObjectStore,
    name: str,
    version_or_channel: str,
    *,
    to: str,
    reason: str,
    by: str,
    expected: int | None,
    policy: ChannelPolicy | None,
    folder: Path,
    override: str,
    reporter: Reporter,
) -> Channel:
    """Let a channel name a release; see :meth:`imagebuilder.catalog.Catalog.promote`."""
    check_channel(to)
    if version_or_channel == to:
        raise InputError(f"channel {to} cannot be promoted to itself")
    found, _ = _resolve(store, name, version_or_channel)
    excuse = clean(override)
    who = clean(by) or whoami()

    def decide(pointer: Channel | None) -> Move | None:
        lease.renew()
        _check_expected(store, name, to, pointer, expected)
        if pointer and (pointer.release, pointer.manifest) == (release.version, digest):
            return None
        if policy and not excuse:
            gate.check(store, release, to, policy, folder)
        return Move(
            generation=channels.next_generation(pointer),
            release=release.version,
            manifest=digest,
            action="promote",
            time=now(),
            by=who,
            reason=clean(f"override: {excuse} {reason}" if excuse else reason),
        )

    with (
        reporter.step("promote", f"{found.version} to channel {to}"),
        leases.held(store, name, found.image, (), reporter) as lease,
    ):
        # Again, since only now nobody can delete it.
        release, digest = _resolve(store, name, found.version)
        _check_whole(store, release)
        pointer = channels.move(store, name, to, decide, reporter.cancel)
        assert pointer  # decide leaves a channel alone only when there is one
        _follow(store, pointer, reporter)
    return pointer


def rollback(
    store: ObjectStore,
    name: str,
    channel: str,
    *,
    to: str,
    reason: str,
    by: str,
    expected: int | None,
    reporter: Reporter,
) -> Channel:
    """Take a channel back; see :meth:`imagebuilder.catalog.Catalog.rollback`."""
    check_name(name)
    check_channel(channel)
    if to and not is_version(to):
        raise InputError(f"{to!r} is no release's version", fix="leave it out to go back one step")
    who = clean(by) or whoami()

    def decide(pointer: Channel | None) -> Move | None:
        lease.renew()
        _check_expected(store, name, channel, pointer, expected)
        if pointer is None:
            raise CatalogError(
                f"{name} has no channel {channel!r}",
                where=Location(file=store.url_of(layout.channel_key(name, channel))),
            )
        if to == pointer.release:
            return None
        goal = _goal(store, pointer, to)
        _check_whole(store, read.release(store, name, goal.release, goal.manifest))
        return Move(
            generation=channels.next_generation(pointer),
            release=goal.release,
            manifest=goal.manifest,
            action="rollback",
            time=now(),
            by=who,
            reason=clean(reason),
        )

    with (
        reporter.step("rollback", f"channel {channel}"),
        leases.held(store, name, "", (), reporter) as lease,
    ):
        pointer = channels.move(store, name, channel, decide, reporter.cancel)
        assert pointer
        _follow(store, pointer, reporter)
    return pointer


def path_to(history: Sequence[Move]) -> tuple[Move, ...]:
    """Return the moves that a channel stands on, the newest last.

    A rollback takes away what came after the release that it went back to, so that going back
    twice goes back two steps, and not to and fro.
    """
    path: list[Move] = []
    for each in history:
        if each.action == "rollback":
            kept = [n for n, old in enumerate(path) if old.release == each.release]
            path = path[: kept[-1]] if kept else []
        if not path or path[-1].release != each.release:
            path.append(each)
    return tuple(path)


def _goal(store: ObjectStore, pointer: Channel, to: str) -> Move:
    where = Location(file=store.url_of(layout.channel_key(pointer.name, pointer.channel)))
    if to:
        named = [each for each in read.history(store, pointer) if each.release == to]
        if not named:
            raise CatalogError(
                f"channel {pointer.channel} has never named {to}, so it cannot go back to it",
                where=where,
                fix=f"promote it: imagebuilder promote {pointer.name} {to}",
            )
        return named[-1]
    dead = {each.version for each in rules.get(store, pointer.name).dead_ends}
    path = [
        each
        for each in path_to(pointer.history)
        if each.release == pointer.release or each.release not in dead
    ]
    if len(path) < 2:
        raise CatalogError(
            f"channel {pointer.channel} has named nothing before {pointer.release}",
            where=where,
        )
    return path[-2]


def _resolve(store: ObjectStore, name: str, version_or_channel: str) -> tuple[Release, str]:
    """Return a release and the digest of its manifest."""
    check_name(name)
    if not is_version(version_or_channel):
        release = read.resolve(store, name, version_or_channel)
        version_or_channel = release.version
    key = layout.release_key(name, version_or_channel)
    found = store.get(key, limit=read.MANIFEST_LIMIT)
    digest = hashlib.sha256(found.data).hexdigest() if found else ""
    return read.release(store, name, version_or_channel, digest), digest


def _check_whole(store: ObjectStore, release: Release) -> None:
    keys = [layout.blob_key(each.sha256) for each in release.artefacts]
    stats = at_once(store, store.stat, keys)
    for each, key, found in zip(release.artefacts, keys, stats, strict=True):
        if found is None or found.size != each.size:
            raise CatalogError(
                f"release {release.version} is not whole: {each.name} is "
                f"{'missing' if found is None else 'of another size'}",
                where=Location(file=store.url_of(key)),
                fix="publish the image again with --force, or choose another release",
            )


def _check_expected(
    store: ObjectStore, name: str, channel: str, pointer: Channel | None, expected: int | None
) -> None:
    generation = pointer.generation if pointer else 0
    if expected is not None and generation != expected:
        raise CatalogError(
            f"channel {channel} was moved meanwhile: it is at generation {generation}, "
            f"not {expected}",
            where=Location(file=store.url_of(layout.channel_key(name, channel))),
            fix="look at its history, and decide anew",
        )


def _follow(store: ObjectStore, pointer: Channel, reporter: Reporter) -> None:
    release = read.release(store, pointer.name, pointer.release, pointer.manifest)
    channels.publish_script(store, pointer, release, reporter.cancel)
