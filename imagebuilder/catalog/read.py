"""Reading what a catalog holds; every object is checked to be what its key says."""

from __future__ import annotations

import hashlib

from imagebuilder.catalog import layout
from imagebuilder.catalog.model import (
    CatalogMarker,
    Channel,
    HistoryPage,
    Index,
    IndexEntry,
    Move,
    Release,
    check_channel,
    is_version,
    parse,
)
from imagebuilder.errors import CatalogError, Location
from imagebuilder.names import check_name
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import at_once

MANIFEST_LIMIT = 4 << 20  # bytes


def check_marker(store: ObjectStore) -> None:
    """Make sure that the place is a catalog of a format that this version reads.

    Raises:
        CatalogError: it is not.
    """
    if not has_marker(store):
        raise CatalogError(
            "there is no catalog here",
            where=Location(file=store.url),
            fix="check the URL; the first publish makes a catalog",
        )


def has_marker(store: ObjectStore) -> bool:
    """Whether the place is a catalog.

    Raises:
        CatalogError: it is one of a format that this version does not read.
    """
    found = store.get(layout.MARKER, limit=MANIFEST_LIMIT)
    if found is None:
        return False
    parse(CatalogMarker, found.data, store.url_of(layout.MARKER))
    return True


def release(store: ObjectStore, name: str, version: str, manifest: str = "") -> Release:
    """Read a release.

    Args:
        store: where.
        name: the recipe's name.
        version: the release's version.
        manifest: the digest that its manifest must have, if that is known.

    Raises:
        CatalogError: there is none, or it is not what it should be.
    """
    key = layout.release_key(name, version)
    url = store.url_of(key)
    found = store.get(key, limit=MANIFEST_LIMIT)
    if found is None:
        raise CatalogError(
            f"there is no release {version} of {name}",
            where=Location(file=url),
            fix=f"imagebuilder catalog ls {name} lists what there is",
        )
    digest = hashlib.sha256(found.data).hexdigest()
    if manifest and digest != manifest:
        raise CatalogError(
            f"is not the manifest that was published: digest {digest[:12]}…, not {manifest[:12]}…",
            where=Location(file=url),
            fix="publish the image again with --force, or choose another release",
        )
    read = parse(Release, found.data, url)
    if (read.name, read.version) != (name, version):
        raise CatalogError(
            f"is the manifest of another release: {read.name} {read.version}",
            where=Location(file=url),
        )
    return read


def channel(store: ObjectStore, name: str, channel: str) -> Channel | None:
    """Read a channel's pointer; None when there is no such channel."""
    found = store.get(layout.channel_key(name, channel), limit=MANIFEST_LIMIT)
    return None if found is None else as_channel(store, name, channel, found.data)


def as_channel(store: ObjectStore, name: str, channel: str, data: bytes) -> Channel:
    """Take the bytes of a channel's pointer apart."""
    url = store.url_of(layout.channel_key(name, channel))
    read = parse(Channel, data, url)
    if (read.name, read.channel) != (name, channel):
        raise CatalogError(
            f"is the pointer of another channel: {read.name} {read.channel}",
            where=Location(file=url),
        )
    return read


def channels(store: ObjectStore, name: str | None = None) -> tuple[Channel, ...]:
    """Read the pointers of all channels, or of those of one recipe, by name."""
    prefix = f"channels/{name}/" if name else "channels/"
    found = [
        each.key.removeprefix("channels/").removesuffix(".json").partition("/")
        for each in store.list(prefix)
    ]
    read = at_once(store, lambda each: channel(store, each[0], each[2]), found)
    return tuple(each for each in read if each)


def history(store: ObjectStore, pointer: Channel) -> tuple[Move, ...]:
    """Return all moves of a channel, the oldest first."""
    moves: list[Move] = []
    prefix = f"history/{pointer.name}/{pointer.channel}/"
    for each in store.list(prefix):
        found = store.get(each.key, limit=MANIFEST_LIMIT)
        if found is not None:
            moves += parse(HistoryPage, found.data, store.url_of(each.key)).moves
    first = pointer.history[0].generation
    moves = [each for each in moves if each.generation < first]
    if [each.generation for each in moves] != list(range(1, first)):
        raise CatalogError(
            f"the history of channel {pointer.channel} has a gap before move {first}",
            where=Location(file=store.url_of(prefix.rstrip("/"))),
            fix="the pointer's own history, and the channel, are whole all the same",
        )
    return (*moves, *pointer.history)


def resolve(store: ObjectStore, name: str, version_or_channel: str) -> Release:
    """Read the release that a version or a channel names.

    Raises:
        InputError: the text can be neither.
        CatalogError: there is none.
    """
    check_name(name)
    if is_version(version_or_channel):
        return release(store, name, version_or_channel)
    pointer = channel(store, name, check_channel(version_or_channel))
    if pointer is None:
        known = ", ".join(each.channel for each in channels(store, name))
        raise CatalogError(
            f"{name} has no channel {version_or_channel!r}",
            where=Location(file=store.url_of(layout.channel_key(name, version_or_channel))),
            fix=f"it has: {known}" if known else f"nothing called {name} is in this catalog",
        )
    return release(store, name, pointer.release, pointer.manifest)


def index(store: ObjectStore) -> tuple[IndexEntry, ...]:
    """Return what is known of all releases, by name and then by age, the oldest first."""
    found = store.get(layout.INDEX)
    return parse(Index, found.data, store.url_of(layout.INDEX)).releases if found else ()
