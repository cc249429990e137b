"""What all channels name, in few requests: ``channels.json`` remembers what pointers say.

It is believed only where the listing gives a pointer the etag that is written there, so that it
cannot be out of date: whoever dies or fails before writing it costs readers a request, no more.
A store whose listings have no etags (a folder) has no need of it and does not get it.
"""

from __future__ import annotations

from imagebuilder.catalog import layout, read
from imagebuilder.catalog.model import Channel, ChannelEntry, ChannelIndex, dump, parse
from imagebuilder.errors import CatalogError
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import Conflict, Object, Stat, at_once

_ATTEMPTS = 3  # to write it; when many publish at once it is worth no more


def named(store: ObjectStore, name: str | None = None) -> tuple[ChannelEntry, ...]:
    """Return what all channels, or those of one recipe, name; by recipe and channel.

    Takes a request for a thousand channels, one more, and one for each channel that was moved
    by somebody who did not come to write ``channels.json``.
    """
    there = list(store.list(f"channels/{name}/" if name else "channels/"))
    known: dict[tuple[str, str], ChannelEntry] = {}
    if len(there) > 1 and any(each.etag for each in there):
        try:
            known = _parsed(store, store.get(layout.CHANNELS))
        except CatalogError:
            pass  # spoilt: the pointers say the same

    def entry(stat: Stat) -> ChannelEntry | None:
        recipe, _, channel = stat.key.removeprefix("channels/").removesuffix(".json").partition("/")
        found = known.get((recipe, channel))
        return found if found and found.etag == stat.etag else _look(store, recipe, channel)

    return tuple(each for each in at_once(store, entry, there) if each)


def note(store: ObjectStore, pointer: Channel) -> None:
    """Write what a channel names into ``channels.json``, as far as that succeeds.

    Args:
        store: where.
        pointer: the channel, which was moved or pinned just now.
    """
    try:
        _note(store, pointer.name, pointer.channel)
    except CatalogError:
        pass  # what was moved is moved, and readers look at the pointer itself


def _note(store: ObjectStore, name: str, channel: str) -> None:
    stat = store.stat(layout.channel_key(name, channel))
    # Read again, for the etag that belongs to it: somebody else may have moved it since.
    new = _look(store, name, channel) if stat and stat.etag else None
    if new is None:
        return
    for _ in range(_ATTEMPTS):
        current = store.get(layout.CHANNELS)
        there = _parsed(store, current)
        old = there.get((name, channel))
        if old and (old == new or old.generation > new.generation):
            return
        entries = there | {(name, channel): new}
        try:
            store.put(
                layout.CHANNELS,
                dump(ChannelIndex(channels=tuple(entries[key] for key in sorted(entries)))),
                if_match=current.etag if current else None,
                if_none_match=current is None,
            )
        except Conflict:
            continue
        return


def _look(store: ObjectStore, name: str, channel: str) -> ChannelEntry | None:
    found = store.get(layout.channel_key(name, channel), limit=read.MANIFEST_LIMIT)
    if found is None:
        return None
    pointer = read.as_channel(store, name, channel, found.data)
    return ChannelEntry(
        name=name,
        channel=channel,
        release=pointer.release,
        generation=pointer.generation,
        etag=found.etag,
    )


def _parsed(store: ObjectStore, found: Object | None) -> dict[tuple[str, str], ChannelEntry]:
    if found is None:
        return {}
    entries = parse(ChannelIndex, found.data, store.url_of(layout.CHANNELS)).channels
    return {(each.name, each.channel): each for each in entries}
