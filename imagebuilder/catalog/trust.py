"""Reading a catalog that is not trusted: what counts is what trusted keys have signed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import filelock
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from imagebuilder.catalog import attest, layout, read
from imagebuilder.catalog.envelope import key_id, open_envelope, parse_public_key
from imagebuilder.catalog.manifest import as_time
from imagebuilder.catalog.model import Release, check_channel, dump, is_version, parse
from imagebuilder.catalog.signed import (
    CHANNEL_TYPE,
    RELEASE_TYPE,
    Envelope,
    Seen,
    SignedChannel,
    TrustRoot,
)
from imagebuilder.catalog.verify import Finding
from imagebuilder.errors import CatalogError, HostError, InputError, Location
from imagebuilder.names import check_name
from imagebuilder.stores import ObjectStore

_LIMIT = 4 << 20  # bytes of a trust root or of a reader's memory
_LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Which keys a reader trusts, and what it remembers.

    Attributes:
        root: the trust root.
        keys: its keys by their ids, without those that are given up.
        memory: the file in which the highest generation seen of each channel is kept, so that
            an old signature cannot be shown again; None: nothing is remembered.
    """

    root: TrustRoot
    keys: Mapping[str, Ed25519PublicKey] = field(repr=False)
    memory: Path | None = None

    @classmethod
    def open(cls, root: Path, memory: Path | None = None) -> Trust:
        """Read a trust root.

        Args:
            root: its file, JSON (schema ``catalog-trust-root``).
            memory: the reader's memory; need not exist.

        Raises:
            InputError: it cannot be read, or is none.
        """
        where = Location(file=str(root))
        try:
            with root.open("rb") as file:
                read = TrustRoot.model_validate_json(file.read(_LIMIT))
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=where) from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"is no trust root: {first['msg'].removeprefix('Value error, ')}",
                where=Location(file=str(root), key=key or None),
            ) from error
        now = as_time(datetime.now(UTC))
        keys = [
            parse_public_key(each.public, where)
            for each in read.keys
            if each.until is None or now < each.until
        ]
        return cls(root=read, keys={key_id(each): each for each in keys}, memory=memory)


def resolve(store: ObjectStore, name: str, version_or_channel: str, trust: Trust) -> Release:
    """Return a release, if trusted keys have signed it, and what the channel names.

    Raises:
        CatalogError: too few of them have, or the signature of the channel has expired, or is
            older than one that was seen before.
    """
    check_name(name)
    if is_version(version_or_channel):
        return _release(store, name, version_or_channel, trust)
    signed = channel(store, name, check_channel(version_or_channel), trust)
    return _release(store, name, signed.release, trust, signed.manifest)


def channel(store: ObjectStore, name: str, channel: str, trust: Trust) -> SignedChannel:
    """Return what a channel names, as it was signed; see :func:`resolve`."""
    key = layout.signature_key(name, channel)
    url = store.url_of(key)
    where = Location(file=url)
    payload = _payload(
        store, key, CHANNEL_TYPE, trust, trust.root.channel_threshold, f"channel {channel}"
    )
    signed = parse(SignedChannel, payload, url)
    if (signed.name, signed.channel) != (name, channel):
        raise CatalogError(
            f"is the signature of another channel: {signed.name} {signed.channel}", where=where
        )
    if as_time(datetime.now(UTC)) >= signed.expires:
        raise CatalogError(
            f"the signature of channel {channel} expired at {signed.expires}",
            where=where,
            fix=f"sign it anew: imagebuilder catalog sign {name} --channel {channel} --key FILE",
        )
    if trust.memory:
        _remember(trust.memory, f"{store.url} {name} {channel}", signed, where)
    return signed


def findings(store: ObjectStore, trust: Trust) -> tuple[Finding, ...]:
    """Return which channels a reader with this trust root would refuse, and why."""
    read.check_marker(store)
    found: list[Finding] = []
    for stat in store.list("channels/"):
        name, _, file = stat.key.removeprefix("channels/").partition("/")
        which = file.removesuffix(".json")
        try:
            pointer = read.channel(store, name, which)
            signed = channel(store, name, which, trust)
            release = _release(store, name, signed.release, trust, signed.manifest)
            attest.check(store, release, trust.keys, trust.root.release_threshold)
            if pointer and pointer.generation != signed.generation:
                raise CatalogError(
                    f"is at generation {pointer.generation}, and signed at {signed.generation}",
                    where=Location(file=store.url_of(stat.key)),
                    fix=f"sign it: imagebuilder catalog sign {name} --channel {which} --key FILE",
                )
        except (CatalogError, InputError) as error:
            place = error.where.file if error.where else store.url_of(stat.key)
            found.append(Finding(kind="broken", where=place, what=error.what, fix=error.fix))
    return tuple(found)


def _release(
    store: ObjectStore, name: str, version: str, trust: Trust, manifest: str = ""
) -> Release:
    key = layout.signature_key(name, version)
    payload = _payload(
        store, key, RELEASE_TYPE, trust, trust.root.release_threshold, f"release {version}"
    )
    digest = hashlib.sha256(payload).hexdigest()
    if manifest and digest != manifest:
        raise CatalogError(
            "is the signature of another manifest than the one that the channel names",
            where=Location(file=store.url_of(key)),
        )
    return read.release(store, name, version, digest)


def _payload(
    store: ObjectStore, key: str, kind: str, trust: Trust, threshold: int, what: str
) -> bytes:
    url = store.url_of(key)
    name, _, which = key.removeprefix("signatures/").removesuffix(".json").partition("/")
    option = "--version" if is_version(which) else "--channel"
    fix = f"sign it: imagebuilder catalog sign {name} {option} {which} --key FILE"
    found = store.get(key, limit=_LIMIT * 2)
    if found is None:
        raise CatalogError(f"{what} is not signed", where=Location(file=url), fix=fix)
    envelope = parse(Envelope, found.data, url)
    try:
        payload, signers = open_envelope(envelope, kind, trust.keys)
    except CatalogError as error:
        raise CatalogError(error.what, where=Location(file=url)) from error
    if len(signers) < threshold:
        raise CatalogError(
            f"{what} has valid signatures of {len(signers)} trusted keys, and needs {threshold}",
            where=Location(file=url),
            fix=fix,
        )
    return payload


def _remember(path: Path, key: str, signed: SignedChannel, where: Location) -> None:
    """Compare a signature with what was seen before, and note it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            seen = Seen()
            if path.exists():
                seen = Seen.model_validate_json(path.read_bytes())
            before = seen.generations.get(key, 0)
            if signed.generation < before:
                raise CatalogError(
                    f"shows channel {signed.channel} at generation {signed.generation}, and "
                    f"generation {before} was seen before: somebody shows an old signature again",
                    where=where,
                    fix="do not use this catalog until that is explained",
                )
            known = seen.manifests.get(key, signed.manifest)
            if signed.generation == before and signed.manifest != known:
                raise CatalogError(
                    f"names {signed.release} in channel {signed.channel} at generation "
                    f"{signed.generation}, and another release was seen there at that generation",
                    where=where,
                    fix="do not use this catalog until that is explained: its pointer may come "
                    "from a backup; the next move mends that",
                )
            if signed.generation > before or key not in seen.manifests:
                generations = {**seen.generations, key: signed.generation}
                manifests = {**seen.manifests, key: signed.manifest}
                _replace(path, dump(Seen(generations=generations, manifests=manifests)))
    except (OSError, filelock.Timeout) as error:
        raise HostError(
            f"what was seen of signed channels cannot be kept: {error}",
            where=Location(file=str(path)),
        ) from error
    except ValidationError as error:
        raise HostError(
            "is no memory of signed channels",
            where=Location(file=str(path)),
            fix="remove it if it was damaged by accident: the next read begins a new one",
        ) from error


def _replace(path: Path, data: bytes) -> None:
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
