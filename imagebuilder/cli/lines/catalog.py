"""Lines of the verbs that deal with a catalog."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from imagebuilder.catalog.model import IndexEntry, Pin
from imagebuilder.cli.lines.common import Line
from imagebuilder.image import Package


class PublishedLine(Line):
    """A release that a channel names now."""

    recipe: str
    version: str
    channel: str
    url: str


class ListedRelease(IndexEntry):
    """A release of the catalog, and the channels that name it."""

    channels: tuple[str, ...]


class ChannelLine(Line):
    """A channel: which release it names; its moves are lines of their own."""

    format: Literal[1]
    name: str
    channel: str
    generation: int = Field(description="how often it was moved")
    release: str
    manifest: str = Field(description="the SHA-256 of the release's manifest")
    pin: Pin | None = Field(description="why it stays where it is")


class CatalogFinding(Line):
    """Something in a catalog that is not as it should be."""

    kind: Literal["broken", "left"]
    where: str
    what: str
    fix: str


class Verified(Line):
    """What a look through a catalog came to."""

    ok: bool
    releases: int
    channels: int


class Freed(Line):
    """What a garbage collection came to."""

    dry_run: bool
    releases: int
    blobs: int
    bytes: int
    unfinished: int
    failures: int


class ReleaseOf(Line):
    """The name of a release."""

    name: str
    version: str


class Deleted(ReleaseOf):
    """A release that was deleted, or would be."""

    dry_run: bool


class Kept(ReleaseOf):
    """A release that stays."""

    reason: str


class Match(ReleaseOf):
    """A package in a release."""

    channels: tuple[str, ...]
    package: Package


class Synced(Line):
    """What a mirror got."""

    releases: int
    blobs: int
    bytes: int
    channels: tuple[str, ...]
    records: int
    findings: tuple[CatalogFinding, ...]


class Choice(Line):
    """Which release a host should boot."""

    version: str
    reason: str


class Attestation(Line):
    """What is said of a release, and who signed it."""

    statement: dict[str, Any] = Field(description="an in-toto statement")
    signers: tuple[str, ...]


class Signed(Line):
    """What was signed."""

    name: str
    what: str
    keys: tuple[str, ...]


class Key(Line):
    """A pair of keys that was made."""

    secret: str
    public: str
    id: str


class Exported(Line):
    """What was written for other tools."""

    formats: tuple[str, ...]
    files: int
    where: str


class Presigned(ReleaseOf):
    """A boot script for a bucket that is not public."""

    expires: str
    urls: dict[str, str]
    script: str
