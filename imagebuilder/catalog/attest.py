"""Attestations: statements about a release in signed envelopes, ours and other people's.

They stand in a bundle, one DSSE envelope to a line, as in-toto has it
(https://github.com/in-toto/attestation/blob/main/spec/v1/bundle.md).  The bundle as a whole is
not signed and anybody may have added to it, so lines that are not understood are passed over,
and what counts is what trusted keys have signed.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder.catalog import layout, statements
from imagebuilder.catalog.envelope import Signer, encoded, key_id, seal, signers_of
from imagebuilder.catalog.model import Release
from imagebuilder.catalog.statements import PAYLOAD_TYPE, Attestation, Statement
from imagebuilder.catalog.update import update
from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Cancel
from imagebuilder.stores import Object, ObjectStore

BUNDLE_TYPE = "application/vnd.in-toto.bundle"
BUNDLE_LIMIT = 32 << 20  # bytes
_SIGNATURES = 100  # of one envelope


class _Signature(BaseModel):
    model_config = ConfigDict(frozen=True)

    keyid: str = Field(default="", max_length=1000)
    sig: str = Field(max_length=10_000)


class _Envelope(BaseModel):
    """A DSSE envelope by whomever."""

    model_config = ConfigDict(frozen=True)

    payloadType: str = Field(max_length=1000)  # noqa: N815 - DSSE calls it so
    payload: str
    signatures: tuple[_Signature, ...] = Field(max_length=_SIGNATURES)


def sign(store: ObjectStore, release: Release, signers: Sequence[Signer], cancel: Cancel) -> None:
    """Sign the statements of a release; others' signatures and statements stay."""
    found = statements.of_release(store, release)
    if not found:
        return  # a release from before there were statements
    made = [seal(PAYLOAD_TYPE, payload, signers) for _, payload in found]
    ours = {key_id(each.public_key) for each in signers}
    key = layout.attestations_key(release.name, release.version)

    def change(current: Object | None) -> bytes | None:
        lines = current.data.splitlines() if current else []
        for envelope in made:
            fresh = [each.model_dump() for each in envelope.signatures]
            where, there = len(lines), []
            for n, line in enumerate(lines):
                old = _envelope(line)
                if old and (old.payloadType, old.payload) == (PAYLOAD_TYPE, envelope.payload):
                    where = n
                    there = [each.model_dump() for each in old.signatures]
                    break
            kept = [each for each in there if each["keyid"] not in ours]
            # What has our signatures already stays as it is, byte by byte.
            if where == len(lines) or any(each not in there for each in fresh):
                whole = envelope.model_dump() | {"signatures": [*kept, *fresh]}
                lines[where : where + 1] = [json.dumps(whole, separators=(",", ":")).encode()]
        data = b"".join(line + b"\n" for line in lines)
        return None if current and current.data == data else data

    update(store, key, change, cancel, content_type=BUNDLE_TYPE)


def attestations(
    store: ObjectStore, release: Release, keys: Mapping[str, Ed25519PublicKey]
) -> tuple[Attestation, ...]:
    """Return the statements in a release's bundle that any of these keys has signed.

    What a statement is about is for the caller to look at.
    """
    key = layout.attestations_key(release.name, release.version)
    found = store.get(key, limit=BUNDLE_LIMIT)
    signed: dict[bytes, set[str]] = {}
    for line in found.data.splitlines() if found else ():
        envelope = _envelope(line)
        if envelope is None or envelope.payloadType != PAYLOAD_TYPE:
            continue
        try:
            payload = base64.b64decode(envelope.payload, validate=True)
        except (binascii.Error, ValueError):
            continue
        pairs = [(each.keyid, each.sig) for each in envelope.signatures]
        found_by = signers_of(encoded(PAYLOAD_TYPE, payload), pairs, keys)
        if found_by:
            signed.setdefault(payload, set()).update(found_by)
    made: list[Attestation] = []
    for payload, by in signed.items():
        try:
            statement = statements.parse(payload, store.url_of(key))
        except CatalogError:
            continue  # of another kind, signed all the same
        made.append(Attestation(statement=statement, payload=payload, signers=frozenset(by)))
    return tuple(made)


def believed(
    store: ObjectStore, release: Release, keys: Mapping[str, Ed25519PublicKey], threshold: int
) -> tuple[Statement, ...]:
    """Return the statements about a release that enough of these keys have signed."""
    return tuple(
        each.statement
        for each in attestations(store, release, keys)
        if len(each.signers) >= threshold and each.statement.is_about(release)
    )


def check(
    store: ObjectStore, release: Release, keys: Mapping[str, Ed25519PublicKey], threshold: int
) -> None:
    """Make sure that enough of these keys have signed each statement of a release.

    Raises:
        CatalogError: they have not.
    """
    signed = {each.payload: each.signers for each in attestations(store, release, keys)}
    for statement, payload in statements.of_release(store, release):
        by = signed.get(payload, frozenset())
        if len(by) < threshold:
            key = layout.attestations_key(release.name, release.version)
            raise CatalogError(
                f"{statement.title} of release {release.version} has valid signatures of "
                f"{len(by)} trusted keys, and needs {threshold}",
                where=Location(file=store.url_of(key)),
                fix=f"sign it: imagebuilder catalog sign {release.name} --version "
                f"{release.version} --key FILE",
            )


def merged(bundle: bytes, more: bytes) -> bytes:
    """Return a bundle with the envelopes and signatures of another one that it has not.

    What is no envelope in the other one is left out.
    """
    lines = bundle.splitlines()
    places = {_about(line): n for n, line in enumerate(lines)}
    for line in more.splitlines():
        new, about = _envelope(line), _about(line)
        if new is None or line in lines:
            continue
        old = _envelope(lines[places[about]]) if about in places else None
        if old is None:
            places[about] = len(lines)
            lines.append(line)
            continue
        lacking = [each for each in new.signatures if each not in old.signatures]
        signatures = [each.model_dump() for each in (*old.signatures, *lacking)]
        if lacking and len(signatures) <= _SIGNATURES:
            whole = old.model_dump() | {"signatures": signatures}
            lines[places[about]] = json.dumps(whole, separators=(",", ":")).encode()
    return b"".join(line + b"\n" for line in lines)


def _about(line: bytes) -> tuple[str, str] | None:
    found = _envelope(line)
    return (found.payloadType, found.payload) if found else None


def _envelope(line: bytes) -> _Envelope | None:
    try:
        return _Envelope.model_validate_json(line)
    except ValidationError:
        return None
