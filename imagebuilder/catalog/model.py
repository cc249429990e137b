"""What stands in a catalog's objects: releases, channel pointers, the index.

Everything here may come from a store that somebody else can write to, so names, sizes and
lengths are bounded, and no text can hold a control character.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.image import ImageId, Sha256
from imagebuilder.names import RecipeName, why_no_argument

CHANNEL_PATTERN = r"^[a-z][a-z0-9._-]{0,62}$"
VERSION_PATTERN = r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}$"
LINE_LIMIT = 500
MANIFEST_NAME = "release.json"  # what the manifest is called beside the files of a release


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("holds a control character")
    return value


def _one_word(value: str) -> str:
    if why := why_no_argument(value):
        raise ValueError(why)
    return value


Line = Annotated[str, StringConstraints(max_length=LINE_LIMIT), AfterValidator(_printable)]
Time = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
]
KernelArgument = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_one_word)]
ChannelName = Annotated[str, StringConstraints(pattern=CHANNEL_PATTERN)]
Version = Annotated[str, StringConstraints(pattern=VERSION_PATTERN)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Role = Literal[
    "kernel",
    "initrd",
    "rootfs",
    "boot-script",
    "facts",
    "packages",
    "sbom",
    "kickstart",
    "test-report",
    "provenance",
    "test-result",
    "other",
]
UNIT: tuple[Role, ...] = ("kernel", "initrd", "rootfs")  # what boots, and only together
_SIZE_LIMIT = 1 << 44  # bytes of one artefact


class Model(BaseModel):
    """The base of all models here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compact: ClassVar[bool] = False  # may have thousands of entries: only for machines to read


class CatalogMarker(Model):
    """``catalog.json``: says that this place is a catalog, and in which version of the format."""

    format: Literal["imagebuilder-catalog"] = "imagebuilder-catalog"
    version: Literal[1] = 1
    created: Time


class ReleaseArtefact(Model):
    """A file of a release; its bytes are the blob of that digest."""

    name: FileName = Field(description="what the file is called in the image's folder")
    role: Role = Field(description="what it is for")
    size: int = Field(ge=0, le=_SIZE_LIMIT, description="bytes")
    sha256: Sha256


class Evidence(Model):
    """What a test of exactly this image found."""

    passed: bool
    summary: Line = Field(default="", description="one line for people")
    report: Sha256 = Field(description="the digest of the report: the artefact test-report")


class Override(Model):
    """Why a release was published although no passing test of it was shown, and by whom."""

    reason: Line
    by: Line


class Release(Model):
    """``releases/NAME/VERSION.json``: a published image.  Never changes once written."""

    format: Literal[1] = 1
    name: RecipeName = Field(description="the recipe's name")
    version: Version = Field(
        description="when it was published and which image: sorts by time as plain text"
    )
    image: ImageId
    created: Time = Field(description="when it was published, UTC")
    built: Line = Field(description="when the image's build ended, as its facts say")
    by: Line = Field(description="who published it")
    summary: Line = ""
    distro: Line
    engine: Line
    kernel_release: Line
    kernel_args: tuple[KernelArgument, ...] = Field(
        default=(), max_length=500, description="beside those that name the root"
    )
    package_count: int = Field(ge=0)
    tree_size: int = Field(ge=0, description="bytes of the files in the rootfs, unpacked")
    tools: dict[Line, Line] = Field(
        default_factory=dict, max_length=200, description="the programs that made it"
    )
    git_commit: Line = Field(default="", description="the commit of the recipes, if known")
    artefacts: tuple[ReleaseArtefact, ...] = Field(max_length=100)
    evidence: Evidence | None = None
    override: Override | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        names = [each.name for each in self.artefacts]
        if len(set(names)) != len(names):
            raise ValueError("two artefacts have the same name")
        if MANIFEST_NAME in names:
            raise ValueError(f"no artefact can be called {MANIFEST_NAME}")
        for role in UNIT:
            if sum(each.role == role for each in self.artefacts) != 1:
                raise ValueError(f"a release has exactly one {role}")
        if not self.version.endswith(self.image):
            raise ValueError("the version does not name the image")
        return self

    def artefact(self, role: Role) -> ReleaseArtefact | None:
        """Return the first artefact with that role, if there is one."""
        return next((each for each in self.artefacts if each.role == role), None)

    @property
    def tested(self) -> bool:
        """Whether a passing test of exactly this image was shown when it was published."""
        return self.evidence is not None and self.evidence.passed

    @property
    def size(self) -> int:
        """Bytes of all artefacts."""
        return sum(each.size for each in self.artefacts)


class Move(Model):
    """One change of a channel."""

    generation: int = Field(ge=1, description="counts the channel's moves, from 1")
    release: Version
    manifest: Sha256 = Field(description="the digest of the release's manifest")
    action: Literal["publish", "promote", "rollback"]
    time: Time
    by: Line
    reason: Line = ""


class Pin(Model):
    """Why a channel must stay where it is."""

    reason: Line
    by: Line
    time: Time


class Channel(Model):
    """``channels/NAME/CHANNEL.json``: which release a channel names, and how it came there."""

    format: Literal[1] = 1
    name: RecipeName
    channel: ChannelName
    generation: int = Field(ge=1)
    release: Version
    manifest: Sha256
    pin: Pin | None = Field(default=None, description="while there is one the channel is not moved")
    history: tuple[Move, ...] = Field(
        min_length=1, max_length=1000, description="the latest moves, the newest last"
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        last = self.history[-1]
        if (last.generation, last.release, last.manifest) != (
            self.generation,
            self.release,
            self.manifest,
        ):
            raise ValueError("the newest move of its history is another one")
        if any(b.generation != a.generation + 1 for a, b in pairwise(self.history)):
            raise ValueError("its history has a gap")
        return self


class HistoryPage(Model):
    """``history/NAME/CHANNEL/GENERATION.json``: moves that a pointer has no more room for."""

    format: Literal[1] = 1
    name: RecipeName
    channel: ChannelName
    moves: tuple[Move, ...] = Field(min_length=1, max_length=1000)


class IndexEntry(Model):
    """What a list shows of a release."""

    name: RecipeName
    version: Version
    image: ImageId
    manifest: Sha256
    created: Time
    distro: Line
    kernel_release: Line
    package_count: int = Field(ge=0)
    size: int = Field(ge=0, description="bytes of all artefacts")
    tested: bool
    git_commit: Line = ""


class Index(Model):
    """``index.json``: all releases, so that a list takes one request; sorted."""

    compact: ClassVar[bool] = True

    format: Literal[1] = 1
    releases: tuple[IndexEntry, ...]


class ChannelEntry(Model):
    """What a list shows of a channel."""

    name: RecipeName
    channel: ChannelName
    release: Version
    generation: int = Field(ge=1)
    etag: Line = Field(description="what the store calls the pointer that says so")


class ChannelIndex(Model):
    """``channels.json``: what pointers said; true of those that the store calls the same yet."""

    compact: ClassVar[bool] = True

    format: Literal[1] = 1
    channels: tuple[ChannelEntry, ...]


_M = TypeVar("_M", bound=Model)


def dump(model: Model) -> bytes:
    """Return the bytes of an object: JSON, the same each time."""
    indent = None if model.compact else 2
    return (model.model_dump_json(indent=indent) + "\n").encode()


def parse(kind: type[_M], data: bytes, url: str) -> _M:
    """Read an object.

    Raises:
        CatalogError: it is not what it should be; ``url`` says where it came from.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise CatalogError(
            f"is no {kind.__name__.lower()} that this version of imagebuilder understands: "
            f"{first['msg'].removeprefix('Value error, ')}",
            where=Location(file=url, key=key or None),
            fix="use the version that wrote it, or a newer one; otherwise it was tampered with",
        ) from error


def check_channel(name: str) -> str:
    """Return the name if a channel may be called so.

    Raises:
        InputError: it may not.
    """
    if not re.fullmatch(CHANNEL_PATTERN.strip("^$"), name):
        raise InputError(
            f"{name!r} is no channel name",
            fix="a name has lower-case letters, digits and . _ -, starts with a letter, and has "
            "at most 63 characters",
        )
    return name


def is_version(text: str) -> bool:
    """Whether the text is the version of a release (a channel's name never is)."""
    return re.fullmatch(VERSION_PATTERN.strip("^$"), text) is not None
