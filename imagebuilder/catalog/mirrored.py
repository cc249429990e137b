"""What of a catalog changes, as a mirror takes it over: pointers, signatures, approvals, rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from imagebuilder.catalog import channels, layout, read
from imagebuilder.catalog.model import Channel, Move, dump, parse
from imagebuilder.catalog.signed import CHANNEL_TYPE, Envelope, SignedChannel
from imagebuilder.catalog.update import create, update
from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Cancel
from imagebuilder.stores import Object, ObjectStore


def follow(source: ObjectStore, target: ObjectStore, pointer: Channel, cancel: Cancel) -> bool:
    """Let a mirror's channel name what the original's does, with the same history.

    A mirror that is ahead (the original was taken back to an older copy) is left alone, and so
    is one that is pinned: a pin belongs to the catalog where it was made.

    Returns:
        whether it was moved.

    Raises:
        CatalogError: the mirror's channel was moved by itself, or is pinned and not where the
            original is, or the release is not there.
    """
    name, channel = pointer.name, pointer.channel
    key = layout.channel_key(name, channel)
    release = read.release(target, name, pointer.release, pointer.manifest)
    moves = {each.generation: each for each in read.history(source, pointer)}
    wanted = pointer.model_copy(update={"pin": None})

    def change(current: Object | None) -> bytes | None:
        if current is None:
            return dump(wanted)
        there = read.as_channel(target, name, channel, current.data)
        _check_same_history(target, there, moves)
        if there.generation >= pointer.generation:
            return None
        if there.pin:
            raise CatalogError(
                f"channel {channel} is pinned in the mirror to {there.release}: {there.pin.reason}",
                where=Location(file=target.url_of(key)),
                fix=f"imagebuilder catalog unpin {name} --channel {channel}, if it may follow",
            )
        return dump(wanted)

    _copy_pages(source, target, pointer)
    written = update(target, key, change, cancel)
    now = read.channel(target, name, channel)
    if now and now.generation == pointer.generation:
        channels.publish_script(target, pointer, release, cancel)
    return written is not None


def _check_same_history(target: ObjectStore, there: Channel, moves: Mapping[int, Move]) -> None:
    for each in there.history:
        if each.generation in moves and moves[each.generation] != each:
            raise CatalogError(
                f"channel {there.channel} was moved in the mirror by itself: its move "
                f"{each.generation} is {each.action} of {each.release} by {each.by}",
                where=Location(file=target.url_of(layout.channel_key(there.name, there.channel))),
                fix="remove this pointer (and its history) from the mirror if it may follow again, "
                "and move only the channels of the original",
            )


def _copy_pages(source: ObjectStore, target: ObjectStore, pointer: Channel) -> None:
    prefix = f"history/{pointer.name}/{pointer.channel}/"
    there = {each.key for each in target.list(prefix)}
    for each in source.list(prefix):
        page = source.get(each.key, limit=read.MANIFEST_LIMIT)
        if each.key in there or page is None:
            continue
        if not create(target, each.key, page.data):
            raise CatalogError(
                "differs from the page of the catalog that is mirrored",
                where=Location(file=target.url_of(each.key)),
                fix="the channel was moved in the mirror by itself",
            )


def copy_records(source: ObjectStore, target: ObjectStore, name: str, cancel: Cancel) -> int:
    """Copy signatures of releases, approvals and rules; return how many were new or changed."""
    count = 0
    there = {each.key: each.size for each in target.list(f"signatures/{name}/")}
    known = _versions(target, name)
    for each in source.list(f"signatures/{name}/"):
        cancel.check()
        version = each.key.rpartition("/")[2].removesuffix(".json")
        # Signatures are only ever added, so that the same size means the same ones.
        if version in known and there.get(each.key) != each.size:
            count += _copy_release_signature(source, target, each.key, cancel)
    there = {each.key: each.size for each in target.list(f"approvals/{name}/")}
    for each in source.list(f"approvals/{name}/"):
        cancel.check()
        found = source.get(each.key, limit=read.MANIFEST_LIMIT)
        if each.key not in there and found and each.key.split("/")[2] in known:
            count += create(target, each.key, found.data)
    rules = source.get(layout.rules_key(name), limit=read.MANIFEST_LIMIT)
    if rules is not None:
        count += _replace(target, layout.rules_key(name), rules.data, cancel)
    return count


def _versions(store: ObjectStore, name: str) -> set[str]:
    return {each.version for each in read.index(store) if each.name == name}


def _replace(target: ObjectStore, key: str, data: bytes, cancel: Cancel) -> bool:
    def change(current: Object | None) -> bytes | None:
        return None if current and current.data == data else data

    return update(target, key, change, cancel) is not None


def _copy_release_signature(
    source: ObjectStore, target: ObjectStore, key: str, cancel: Cancel
) -> bool:
    """Add the original's signatures of a release to those that the mirror has."""
    found = source.get(key)
    if found is None:
        return False
    new = parse(Envelope, found.data, source.url_of(key))

    def change(current: Object | None) -> bytes | None:
        return _with_others(current, new, target.url_of(key))

    return update(target, key, change, cancel) is not None


def _with_others(current: Object | None, new: Envelope, url: str) -> bytes | None:
    if current is None:
        return dump(new)
    there = parse(Envelope, current.data, url)
    if (there.payloadType, there.payload) != (new.payloadType, new.payload):
        return dump(new)
    lacking = [each for each in new.signatures if each not in there.signatures]
    if not lacking:
        return None
    ids = {each.keyid for each in lacking}
    kept = [each for each in there.signatures if each.keyid not in ids]
    return dump(new.model_copy(update={"signatures": (*kept, *lacking)}))


def signatures_of_channels(store: ObjectStore, name: str) -> dict[str, Envelope]:
    """Read the signatures of what each channel of a recipe names."""
    found: dict[str, Envelope] = {}
    for each in store.list(f"channels/{name}/"):
        channel = each.key.rpartition("/")[2].removesuffix(".json")
        key = layout.signature_key(name, channel)
        read_ = store.get(key)
        if read_ is not None:
            found[channel] = parse(Envelope, read_.data, store.url_of(key))
    return found


def copy_channel_signature(
    target: ObjectStore,
    name: str,
    channel: str,
    new: Envelope,
    known: Collection[str],
    cancel: Cancel,
) -> bool:
    """Copy what a channel was signed for; an older one never takes the place of a newer one.

    Args:
        target: the mirror.
        name: the recipe.
        channel: the channel.
        new: the original's signature.
        known: the releases that the mirror has.
        cancel: looked at before each attempt.

    Raises:
        CatalogError: it names a release that the mirror has not.
    """
    key = layout.signature_key(name, channel)
    url = target.url_of(key)
    wanted = _payload(new, url)
    if wanted.release not in known:
        raise CatalogError(
            f"the signature of channel {channel} names {wanted.release}, which the mirror has not",
            where=Location(file=url),
            fix="sign the channel again in the catalog that is mirrored",
        )

    def change(current: Object | None) -> bytes | None:
        if current:
            there = _payload(parse(Envelope, current.data, url), url)
            if (there.generation, there.signed) > (wanted.generation, wanted.signed):
                return None
        return _with_others(current, new, url)

    return update(target, key, change, cancel) is not None


def _payload(envelope: Envelope, url: str) -> SignedChannel:
    from imagebuilder.catalog.envelope import open_envelope  # cryptography is slow to import

    data, _ = open_envelope(envelope, CHANNEL_TYPE, {})
    return parse(SignedChannel, data, url)
