"""What signatures look like in a catalog, and the file that says which are trusted."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from imagebuilder.catalog.model import ChannelName, Line, Model, Time, Version
from imagebuilder.image import Sha256
from imagebuilder.names import RecipeName

RELEASE_TYPE = "application/vnd.imagebuilder.release.v1+json"
CHANNEL_TYPE = "application/vnd.imagebuilder.channel.v1+json"

_Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class Signature(Model):
    """One signature of an envelope."""

    keyid: Sha256 = Field(description="the SHA-256 of the public key's SubjectPublicKeyInfo")
    sig: Annotated[_Base64, Field(max_length=200)] = Field(description="Base64")


class Envelope(Model):
    """A DSSE envelope, version 1."""

    payloadType: Line  # noqa: N815 - DSSE calls it so
    payload: Annotated[_Base64, Field(max_length=8 << 20)] = Field(description="Base64")
    signatures: tuple[Signature, ...] = Field(max_length=100)


class SignedChannel(Model):
    """The payload of ``signatures/NAME/CHANNEL.json``: what a channel names, until when."""

    format: Literal[1] = 1
    name: RecipeName
    channel: ChannelName
    generation: int = Field(ge=1, description="that of the channel's pointer; never goes back")
    release: Version
    manifest: Sha256
    signed: Time
    expires: Time = Field(description="from then on readers refuse it: it must be signed anew")


class TrustedKey(Model):
    """A key of a trust root."""

    name: Line = Field(description="for people: whose it is")
    public: str = Field(max_length=2000, description="PEM")
    until: Time | None = Field(
        default=None,
        description="from then on its signatures do not count: for a key that is given up",
    )


class TrustRoot(Model):
    """A trust root: which keys a reader trusts, and how many must have signed."""

    format: Literal[1] = 1
    keys: tuple[TrustedKey, ...] = Field(min_length=1, max_length=100)
    release_threshold: int = Field(
        default=1, ge=1, description="how many keys must have signed a release"
    )
    channel_threshold: int = Field(
        default=1, ge=1, description="how many keys must have signed what a channel names"
    )

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if max(self.release_threshold, self.channel_threshold) > len(self.keys):
            raise ValueError("asks for more signatures than it has keys")
        return self


class Seen(Model):
    """A reader's memory: the highest generation of each signed channel that it has seen."""

    format: Literal[1] = 1
    generations: dict[Line, int] = Field(
        default_factory=dict, description="by the catalog's URL, the recipe and the channel"
    )
    manifests: dict[Line, Sha256] = Field(
        default_factory=dict, description="what each named at that generation"
    )
