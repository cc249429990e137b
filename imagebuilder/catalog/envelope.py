"""Signatures: Ed25519 in DSSE envelopes, as in-toto and others have them.

What is signed is the payload together with its type, in DSSE's pre-authentication encoding, so
that a signature of a release can never pass for one of a channel.  A secret key stays in its
file or behind its command; neither it nor what it reads from a command is ever logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from imagebuilder import command
from imagebuilder.catalog.signed import Envelope, Signature
from imagebuilder.errors import CatalogError, InputError, Location

_KEY_LIMIT = 64 << 10  # bytes of a key's file
_COMMAND_SECONDS = 120.0


class Signer(Protocol):
    """Something that can sign."""

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The key with which others check its signatures."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature (64 bytes) of a message.

        Raises:
            ImageBuilderError: it cannot.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FileSigner:
    """A secret key in a PEM file (PKCS #8)."""

    key: Ed25519PrivateKey

    @classmethod
    def open(cls, path: Path) -> FileSigner:
        """Read the key.

        Raises:
            InputError: the file cannot be read, holds no Ed25519 key, or others can read it.
        """
        data = _read(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InputError(
                "other users can read this secret key",
                where=Location(file=str(path)),
                fix=f"chmod 600 {path}",
            )
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None  # what the parser says could quote the key
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError(
                "holds no Ed25519 key in PEM without a password",
                where=Location(file=str(path)),
                fix="make one: imagebuilder catalog key FILE",
            )
        return cls(key=key)

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The key with which others check its signatures."""
        return self.key.public_key()

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        return self.key.sign(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSigner:
    """A secret key behind a command, such as that of a key management service.

    The command reads the message that is to be signed and writes the signature in Base64 or
    hexadecimal digits, on one line.

    Attributes:
        argv: the command.
        public_key: the key with which its signatures are checked at once.
    """

    argv: tuple[str, ...]
    public_key: Ed25519PublicKey

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message.

        Raises:
            StepError: the command failed or ran out of time.
            CatalogError: what it gave is no signature of that message by that key.
        """
        done = command.run(
            self.argv, timeout=_COMMAND_SECONDS, stdin=message, what="signing", keep=20
        )
        signature = _decoded(done.stdout.strip())
        if not _is_valid(self.public_key, signature, message):
            raise CatalogError(
                f"{self.argv[0]} gave no signature that fits public key "
                f"{key_id(self.public_key)[:16]}…",
                fix="it must sign its standard input with Ed25519 and print Base64",
            )
        return signature


def make_key(path: Path) -> Path:
    """Make a key: the secret one in ``path``, the public one beside it (``.pub``).

    Returns:
        The public key's file.

    Raises:
        InputError: one of them is there already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    public = path.with_name(path.name + ".pub")
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        for target, data, mode in (
            (path, secret, 0o600),
            (public, pem(key.public_key()).encode(), 0o644),
        ):
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
    except OSError as error:
        raise InputError(
            f"no key was made: {error.strerror}", where=Location(file=str(error.filename))
        ) from error
    return public


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key from a PEM file.

    Raises:
        InputError: there is none.
    """
    return parse_public_key(_read(path).decode("ascii", "replace"), Location(file=str(path)))


def parse_public_key(text: str, where: Location) -> Ed25519PublicKey:
    """Take a public key from PEM text.

    Raises:
        InputError: it is none.
    """
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("holds no public Ed25519 key in PEM", where=where)
    return key


def pem(key: Ed25519PublicKey) -> str:
    """Return a public key as PEM text."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def key_id(key: Ed25519PublicKey) -> str:
    """Return a key's id: the SHA-256 of its SubjectPublicKeyInfo, in hexadecimal."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def seal(kind: str, payload: bytes, signers: Sequence[Signer]) -> Envelope:
    """Return an envelope with the payload, signed by each of the signers."""
    message = encoded(kind, payload)
    return Envelope(
        payloadType=kind,
        payload=base64.b64encode(payload).decode(),
        signatures=tuple(
            Signature(
                keyid=key_id(each.public_key), sig=base64.b64encode(each.sign(message)).decode()
            )
            for each in signers
        ),
    )


def open_envelope(
    envelope: Envelope, kind: str, keys: Mapping[str, Ed25519PublicKey]
) -> tuple[bytes, frozenset[str]]:
    """Return an envelope's payload, and the ids of the keys that signed it.

    Args:
        envelope: the envelope.
        kind: the type that its payload must have.
        keys: the keys that count, by their ids; what others signed is ignored.

    Raises:
        CatalogError: the payload is of another type, or is no Base64.
    """
    if envelope.payloadType != kind:
        raise CatalogError(f"is a signature of {envelope.payloadType!r}, not of {kind!r}")
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
    except binascii.Error:
        raise CatalogError("holds no Base64") from None
    message = encoded(kind, payload)
    found = {
        each.keyid
        for each in envelope.signatures
        if each.keyid in keys and _is_valid(keys[each.keyid], _decoded(each.sig), message)
    }
    return payload, frozenset(found)


def signers_of(
    message: bytes,
    signatures: Iterable[tuple[str, str]],
    keys: Mapping[str, Ed25519PublicKey],
) -> frozenset[str]:
    """Return the ids of the keys that signed a message.

    Args:
        message: what was signed.
        signatures: pairs of a key's id and a signature.  Other tools have other ids, and may
            leave them out; an id is then no more than a hint, and each key is tried.
        keys: the keys that count, by their ids.
    """
    found: set[str] = set()
    for hint, text in signatures:
        tried = [hint] if hint in keys else list(keys)
        signature = _decoded(text)
        found.update(each for each in tried if _is_valid(keys[each], signature, message))
    return frozenset(found)


def encoded(kind: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding (version 1)."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def _is_valid(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _decoded(text: str) -> bytes:
    """Return the bytes of a signature in hexadecimal or Base64; b"" if it is neither."""
    try:
        return bytes.fromhex(text) if len(text) == 128 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_KEY_LIMIT)
    except OSError as error:
        raise InputError(
            f"this key cannot be read: {error.strerror}", where=Location(file=str(path))
        ) from error
