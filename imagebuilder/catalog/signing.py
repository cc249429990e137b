"""Signing releases and channels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from imagebuilder.catalog import attest, layout, read
from imagebuilder.catalog.envelope import Signer, key_id, open_envelope, seal
from imagebuilder.catalog.manifest import as_time, check_is_of
from imagebuilder.catalog.model import Channel, dump, is_version, parse
from imagebuilder.catalog.signed import CHANNEL_TYPE, RELEASE_TYPE, Envelope, SignedChannel
from imagebuilder.catalog.update import update
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.image import Image
from imagebuilder.progress import Cancel, Reporter
from imagebuilder.stores import Object, ObjectStore

DAYS = 30.0  # how long what a channel names is signed for


def sign(
    store: ObjectStore,
    name: str,
    version_or_channel: str,
    *,
    signers: Sequence[Signer],
    days: float,
    image: Image | None,
    reporter: Reporter,
) -> tuple[str, ...]:
    """Sign a release, or a channel; see :meth:`imagebuilder.catalog.Catalog.sign`."""
    read.check_marker(store)
    if not signers:
        raise InputError("there is no key to sign with", fix="name one: --key FILE")
    if not 0 < days <= 3650:
        raise InputError(f"{days:g} days is no time that a signature can hold")
    with reporter.step("sign", f"{name} {version_or_channel}"):
        version = version_or_channel
        pointer = None
        if not is_version(version):
            pointer = read.channel(store, name, version_or_channel)
            version = read.resolve(store, name, version_or_channel).version
        key = layout.release_key(name, version)
        found = store.get(key, limit=read.MANIFEST_LIMIT)
        data = found.data if found else b""
        digest = hashlib.sha256(data).hexdigest()
        release = read.release(store, name, version, digest)  # it is what it says that it is
        if pointer and (pointer.release, pointer.manifest) != (version, digest):
            raise CatalogError(
                f"channel {version_or_channel} was moved meanwhile, so it was not signed",
                where=Location(file=store.url_of(layout.channel_key(name, version_or_channel))),
                fix="look at what it names now, and run the same command again",
            )
        if image:
            check_is_of(image, release, store.url_of(key))
        _sign_release(store, name, version, data, signers, reporter.cancel)
        attest.sign(store, release, signers, reporter.cancel)
        if pointer:
            _sign_channel(store, pointer, signers, days, reporter.cancel)
    return tuple(key_id(each.public_key) for each in signers)


def _sign_release(
    store: ObjectStore,
    name: str,
    version: str,
    data: bytes,
    signers: Sequence[Signer],
    cancel: Cancel,
) -> None:
    key = layout.signature_key(name, version)
    new = seal(RELEASE_TYPE, data, signers)

    def change(current: Object | None) -> bytes | None:
        if current is None:
            return dump(new)
        there = parse(Envelope, current.data, store.url_of(key))
        return _changed(there, _merged(there, new))

    update(store, key, change, cancel)


def _sign_channel(
    store: ObjectStore, pointer: Channel, signers: Sequence[Signer], days: float, cancel: Cancel
) -> None:
    key = layout.signature_key(pointer.name, pointer.channel)
    url = store.url_of(key)
    begin = datetime.now(UTC)
    wanted = SignedChannel(
        name=pointer.name,
        channel=pointer.channel,
        generation=pointer.generation,
        release=pointer.release,
        manifest=pointer.manifest,
        signed=as_time(begin),
        expires=as_time(begin + timedelta(days=days)),
    )
    ours = {key_id(each.public_key) for each in signers}

    def change(current: Object | None) -> bytes | None:
        there = parse(Envelope, current.data, url) if current else None
        payload = dump(wanted)
        if there:
            data, _ = open_envelope(there, CHANNEL_TYPE, {})
            old = parse(SignedChannel, data, url)
            if old.generation > pointer.generation:
                raise CatalogError(
                    f"channel {pointer.channel} was signed at generation {old.generation}, and its "
                    f"pointer is at {pointer.generation}",
                    where=Location(file=url),
                    fix="somebody put an old pointer in its place: publish or promote again",
                )
            same = (old.generation, old.release, old.manifest) == (
                wanted.generation,
                wanted.release,
                wanted.manifest,
            )
            # A further signer joins the others; one who has signed before begins a new term.
            if same and old.expires > wanted.signed and not ours & _ids(there):
                payload = data
        new = seal(CHANNEL_TYPE, payload, signers)
        return dump(_merged(there, new) if there else new)

    update(store, key, change, cancel)


def _merged(there: Envelope, new: Envelope) -> Envelope:
    """Return the new envelope with the signatures of the old one, if that has the same payload."""
    if (there.payloadType, there.payload) != (new.payloadType, new.payload):
        return new
    others = tuple(each for each in there.signatures if each.keyid not in _ids(new))
    return new.model_copy(update={"signatures": (*others, *new.signatures)})


def _changed(there: Envelope, wanted: Envelope) -> bytes | None:
    order: Callable[[Envelope], object] = lambda each: sorted(  # noqa: E731
        (one.keyid, one.sig) for one in each.signatures
    )
    same = there.payload == wanted.payload and order(there) == order(wanted)
    return None if same else dump(wanted)


def _ids(envelope: Envelope) -> set[str]:
    return {each.keyid for each in envelope.signatures}
