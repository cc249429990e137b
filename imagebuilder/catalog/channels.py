"""Moving a channel, and what follows from it for the machines that boot."""

from __future__ import annotations

from collections.abc import Callable

from imagebuilder.catalog import channel_index, layout, read, rules
from imagebuilder.catalog.model import Channel, HistoryPage, Move, Pin, Release, dump
from imagebuilder.catalog.update import create, update
from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Cancel
from imagebuilder.stores import Object, ObjectStore

_ROOM = 200  # moves in a pointer
_PAGE = 100  # moves that leave it together

Decide = Callable[[Channel | None], Move | None]
"""Gets the channel as it is; returns its next move, None to leave it.  May raise."""


def move(
    store: ObjectStore, name: str, channel: str, decide: Decide, cancel: Cancel
) -> Channel | None:
    """Move a channel by compare-and-swap.

    Args:
        store: where.
        name: the recipe's name.
        channel: the channel's name.
        decide: asked again each time that somebody else has moved the channel meanwhile.
        cancel: looked at before each attempt.

    Returns:
        The channel as it is now; None when there is none and ``decide`` made none.
    """
    seen: list[Channel | None] = []

    def change(current: Object | None) -> bytes | None:
        pointer = read.as_channel(store, name, channel, current.data) if current else None
        step = decide(pointer)
        if step is None:
            seen.append(pointer)
            return None
        if pointer and pointer.pin:
            raise CatalogError(
                f"channel {channel} was pinned to {pointer.release} by {pointer.pin.by} at "
                f"{pointer.pin.time}: {pointer.pin.reason}",
                where=Location(file=store.url_of(layout.channel_key(name, channel))),
                fix=f"imagebuilder catalog unpin {name} --channel {channel}, if it may move again",
            )
        rules.check_alive(store, name, step.release)
        moved = _moved(store, name, channel, pointer, step)
        seen.append(moved)
        return dump(moved)

    written = update(store, layout.channel_key(name, channel), change, cancel)
    if written:
        channel_index.note(store, read.as_channel(store, name, channel, written))
    # A write whose answer was lost is found again by its bytes, so they say what is there.
    return read.as_channel(store, name, channel, written) if written else seen[-1]


def pin(store: ObjectStore, name: str, channel: str, pin: Pin | None, cancel: Cancel) -> Channel:
    """Pin a channel to what it names, or (None) let it move again.

    Raises:
        CatalogError: there is no such channel.
    """
    seen: list[Channel] = []

    def change(current: Object | None) -> bytes | None:
        if current is None:
            raise CatalogError(
                f"{name} has no channel {channel!r}",
                where=Location(file=store.url_of(layout.channel_key(name, channel))),
            )
        pointer = read.as_channel(store, name, channel, current.data)
        seen.append(pointer.model_copy(update={"pin": pin}))
        return None if pointer.pin == pin else dump(seen[-1])

    if update(store, layout.channel_key(name, channel), change, cancel):
        channel_index.note(store, seen[-1])
    return seen[-1]


def next_generation(pointer: Channel | None) -> int:
    """Return the number of a channel's next move."""
    return pointer.generation + 1 if pointer else 1


def publish_script(store: ObjectStore, pointer: Channel, release: Release, cancel: Cancel) -> None:
    """Let machines that boot the channel get what its pointer names.

    A script of a later generation is left alone: its publisher was just faster.
    """
    script = layout.channel_script(release, pointer)

    def change(current: Object | None) -> bytes | None:
        if current is None:
            return script
        there = layout.script_generation(current.data)
        newer = there > pointer.generation
        return None if newer or current.data == script else script

    key = layout.script_key(pointer.name, pointer.channel)
    update(store, key, change, cancel, content_type=layout.SCRIPT_TYPE)


def _moved(
    store: ObjectStore, name: str, channel: str, pointer: Channel | None, step: Move
) -> Channel:
    kept = pointer.history if pointer else ()
    if len(kept) >= _ROOM:
        # The page is written before the pointer forgets these moves, and is the same whoever
        # writes it, so that it does not matter who wins.
        page = HistoryPage(name=name, channel=channel, moves=kept[:_PAGE])
        key = layout.history_key(name, channel, kept[0].generation)
        if not create(store, key, dump(page)):
            raise CatalogError(
                "differs from the moves that the channel's pointer remembers",
                where=Location(file=store.url_of(key)),
                fix="somebody wrote to the catalog by hand: compare the two, remove the wrong page",
            )
        kept = kept[_PAGE:]
    return Channel(
        name=name,
        channel=channel,
        generation=step.generation,
        release=step.release,
        manifest=step.manifest,
        history=(*kept, step),
    )
