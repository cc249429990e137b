"""What of a catalog changes, as a mirror takes it over: pointers, signatures, approvals, rules."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from imagebuilder.catalog import channel_index, channels, layout, read
from imagebuilder.catalog.model import Channel, HistoryPage, Move, dump, parse
from imagebuilder.catalog.records import Approval
from imagebuilder.catalog.rules import Rules
from imagebuilder.catalog.signed import CHANNEL_TYPE, RELEASE_TYPE, Envelope, SignedChannel
from imagebuilder.catalog.update import create, update
from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Cancel
from imagebuilder.stores import Object, ObjectStore

Noted = Callable[[str], AbstractContextManager[None]]
"""Frames the work on an object: what goes wrong with it is noted, and the rest goes on."""


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
    if written and now:
        channel_index.note(target, now)
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
        found = source.get(each.key, limit=read.MANIFEST_LIMIT)
        if each.key in there or found is None:
            continue
        page = parse(HistoryPage, found.data, source.url_of(each.key))
        key = layout.history_key(page.name, page.channel, page.moves[0].generation)
        if (page.name, page.channel, key) != (pointer.name, pointer.channel, each.key):
            raise _stray(source, each.key)
        if not create(target, key, found.data):
            raise CatalogError(
                "differs from the page of the catalog that is mirrored",
                where=Location(file=target.url_of(key)),
                fix="the channel was moved in the mirror by itself",
            )


def _stray(source: ObjectStore, key: str) -> CatalogError:
    return CatalogError(
        "is not what its key says, so it was not mirrored",
        where=Location(file=source.url_of(key)),
        fix="somebody wrote to the catalog by hand: run catalog verify on it",
    )


def copy_records(
    source: ObjectStore, target: ObjectStore, name: str, noted: Noted, cancel: Cancel
) -> int:
    """Copy signatures, attestations, approvals and rules; return how many were new or changed.

    Args:
        source: the original.
        target: the mirror; records of releases that it has not are left out.
        name: the recipe.
        noted: frames each record, by its key, and takes note of what is wrong with it.
        cancel: looked at before each.
    """
    count = 0
    known = {each.version: each.manifest for each in read.index(target) if each.name == name}
    there = {each.key: each.size for each in target.list(f"signatures/{name}/")}
    for each in source.list(f"signatures/{name}/"):
        cancel.check()
        version = each.key.rpartition("/")[2].removesuffix(".json")
        # Signatures are only ever added, so that the same size means the same ones.
        if version in known and there.get(each.key) != each.size:
            with noted(each.key):
                count += _copy_release_signature(
                    source, target, name, version, known[version], cancel
                )
    there = {each.key: each.size for each in target.list(f"attestations/{name}/")}
    for each in source.list(f"attestations/{name}/"):
        cancel.check()
        version = each.key.rpartition("/")[2].partition(".")[0]
        if version in known and there.get(each.key) != each.size:
            with noted(each.key):
                count += _copy_attestations(source, target, name, version, cancel)
    there = {each.key: each.size for each in target.list(f"approvals/{name}/")}
    for each in source.list(f"approvals/{name}/"):
        cancel.check()
        if each.key in there:
            continue
        with noted(each.key):
            count += _copy_approval(source, target, each.key, name, known)
    key = layout.rules_key(name)
    with noted(key):
        rules = source.get(key, limit=read.MANIFEST_LIMIT)
        if rules is not None:
            if parse(Rules, rules.data, source.url_of(key)).name != name:
                raise _stray(source, key)
            count += _replace(target, key, rules.data, cancel)
    return count


def _copy_attestations(
    source: ObjectStore, target: ObjectStore, name: str, version: str, cancel: Cancel
) -> bool:
    """Add the original's bundle of statements to the one that the mirror has."""
    from imagebuilder.catalog import attest  # cryptography is slow to import

    key = layout.attestations_key(name, version)
    found = source.get(key, limit=attest.BUNDLE_LIMIT)
    if found is None:
        return False

    def change(current: Object | None) -> bytes | None:
        there = current.data if current else b""
        data = attest.merged(there, found.data)
        return None if data == there else data

    return update(target, key, change, cancel, content_type=attest.BUNDLE_TYPE) is not None


def _copy_approval(
    source: ObjectStore, target: ObjectStore, key: str, name: str, known: Mapping[str, str]
) -> bool:
    found = source.get(key, limit=read.MANIFEST_LIMIT)
    if found is None:
        return False
    approval = parse(Approval, found.data, source.url_of(key))
    wanted = layout.approval_key(approval.name, approval.version, approval.who)
    if (approval.name, wanted) != (name, key):
        raise _stray(source, key)
    return approval.version in known and create(target, key, found.data)


def _replace(target: ObjectStore, key: str, data: bytes, cancel: Cancel) -> bool:
    def change(current: Object | None) -> bytes | None:
        return None if current and current.data == data else data

    return update(target, key, change, cancel) is not None


def _copy_release_signature(
    source: ObjectStore,
    target: ObjectStore,
    name: str,
    version: str,
    manifest: str,
    cancel: Cancel,
) -> bool:
    """Add the original's signatures of a release to those that the mirror has."""
    key = layout.signature_key(name, version)
    found = source.get(key)
    if found is None:
        return False
    new = parse(Envelope, found.data, source.url_of(key))
    if hashlib.sha256(_opened(new, RELEASE_TYPE)).hexdigest() != manifest:
        raise _stray(source, key)

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


def signature_of_channel(store: ObjectStore, name: str, channel: str) -> Envelope | None:
    """Read the signature of what a channel names; None when there is none."""
    key = layout.signature_key(name, channel)
    found = store.get(key)
    return parse(Envelope, found.data, store.url_of(key)) if found else None


def copy_channel_signature(
    target: ObjectStore, name: str, channel: str, new: Envelope, cancel: Cancel
) -> bool:
    """Copy what a channel was signed for; an older one never takes the place of a newer one.

    Args:
        target: the mirror.
        name: the recipe.
        channel: the channel.
        new: the original's signature.
        cancel: looked at before each attempt.

    Returns:
        whether something was written.

    Raises:
        CatalogError: it is of another channel, or names a release that the mirror has not.
    """
    key = layout.signature_key(name, channel)
    url = target.url_of(key)
    wanted = _signed(new, url)
    if (wanted.name, wanted.channel) != (name, channel):
        raise CatalogError(
            f"is the signature of another channel: {wanted.name} {wanted.channel}",
            where=Location(file=url),
        )
    known = ((each.version, each.manifest) for each in read.index(target) if each.name == name)
    if (wanted.release, wanted.manifest) not in known:
        raise CatalogError(
            f"the signature of channel {channel} names {wanted.release}, which the mirror has not",
            where=Location(file=url),
            fix="sign the channel again in the catalog that is mirrored",
        )

    def change(current: Object | None) -> bytes | None:
        if current:
            there = _signed(parse(Envelope, current.data, url), url)
            if (there.generation, there.signed) > (wanted.generation, wanted.signed):
                return None
        return _with_others(current, new, url)

    return update(target, key, change, cancel) is not None


def _signed(envelope: Envelope, url: str) -> SignedChannel:
    return parse(SignedChannel, _opened(envelope, CHANNEL_TYPE), url)


def _opened(envelope: Envelope, kind: str) -> bytes:
    from imagebuilder.catalog.envelope import open_envelope  # cryptography is slow to import

    return open_envelope(envelope, kind, {})[0]
