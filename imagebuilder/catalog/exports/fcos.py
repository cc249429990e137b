"""Fedora CoreOS stream metadata, and the update metadata beside it.

The shapes are those of ``stream-metadata-go`` (package ``stream``) and of the files
``updates/STREAM.json`` that Fedora's Cincinnati server reads.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from imagebuilder.catalog.exports.file import ExportModel, File, arch_of, digest_of, when
from imagebuilder.catalog.exports.place import Place
from imagebuilder.catalog.exports.view import ChannelView, RecipeView
from imagebuilder.catalog.model import Line, Release, Time, Version
from imagebuilder.image import Sha256

_GENERATOR = "imagebuilder"


class Metadata(ExportModel):
    """When the stream was moved last, and what wrote the file."""

    last_modified: Time = Field(serialization_alias="last-modified")
    generator: Line | None = None


class Artifact(ExportModel):
    """One file."""

    location: str
    sha256: Sha256


class Pxe(ExportModel):
    """What is booted by PXE."""

    kernel: Artifact
    initramfs: Artifact
    rootfs: Artifact


class Formats(ExportModel):
    """The formats of the platform ``metal``: the only one that there is."""

    pxe: Pxe


class Platform(ExportModel):
    """A release on a platform."""

    release: Version
    formats: Formats


class Artifacts(ExportModel):
    """The platforms."""

    metal: Platform


class Architecture(ExportModel):
    """What there is for an architecture."""

    artifacts: Artifacts


class Stream(ExportModel):
    """``streams/CHANNEL.json``."""

    stream: Line
    metadata: Metadata
    architectures: dict[str, Architecture]


class Reason(ExportModel):
    """Why a release is a barrier or a dead end."""

    reason: Line


class UpdateRollout(ExportModel):
    """A staged rollout; ``start_percentage`` is a share from 0 to 1."""

    start_epoch: int
    start_percentage: float
    duration_minutes: int


class UpdateMetadata(ExportModel):
    """What updaters must know of a release."""

    barrier: Reason | None = None
    deadend: Reason | None = None
    rollout: UpdateRollout | None = None


class UpdateRelease(ExportModel):
    """A release that updaters must know something of."""

    version: Version
    metadata: UpdateMetadata


class Updates(ExportModel):
    """``updates/CHANNEL.json``."""

    stream: Line
    metadata: Metadata
    releases: tuple[UpdateRelease, ...]


def files(view: RecipeView, place: Place) -> Iterator[File]:
    """Return the stream and update metadata of a recipe's channels."""
    for channel in view.channels:
        metadata = Metadata(last_modified=channel.moved, generator=_GENERATOR)
        updates = Updates(
            stream=channel.name, metadata=metadata, releases=tuple(_updates(view, channel))
        )
        stream = Stream(
            stream=channel.name,
            metadata=metadata,
            architectures={
                arch_of(channel.release.kernel_release): _architecture(channel.release, place)
            },
        )
        # Who sees a release in the stream must find what is to be known of it.
        yield File(key=f"exports/fcos/{view.name}/updates/{channel.name}.json", data=updates.data())
        yield File(key=f"exports/fcos/{view.name}/streams/{channel.name}.json", data=stream.data())


def _architecture(release: Release, place: Place) -> Architecture:
    def artifact(role: str) -> Artifact:
        digest = digest_of(release, role)
        return Artifact(location=place.blob(digest), sha256=digest)

    pxe = Pxe(kernel=artifact("kernel"), initramfs=artifact("initrd"), rootfs=artifact("rootfs"))
    metal = Platform(release=release.version, formats=Formats(pxe=pxe))
    return Architecture(artifacts=Artifacts(metal=metal))


def _updates(view: RecipeView, channel: ChannelView) -> Iterator[UpdateRelease]:
    rules = view.state.rules
    barriers = {each.version: Reason(reason=each.reason) for each in rules.barriers}
    dead = {each.version: Reason(reason=each.reason) for each in rules.dead_ends}
    rollouts: dict[str, UpdateRollout] = {}
    rollout = rules.rollouts.get(channel.name)
    if rollout and rollout.release == channel.release.version:
        rollouts[rollout.release] = UpdateRollout(
            start_epoch=int(when(rollout.start).timestamp()),
            start_percentage=rollout.percent / 100,
            duration_minutes=rollout.minutes,
        )
    for version in sorted({*barriers, *dead, *rollouts, channel.release.version}):
        metadata = UpdateMetadata(
            barrier=barriers.get(version),
            deadend=dead.get(version),
            rollout=rollouts.get(version),
        )
        yield UpdateRelease(version=version, metadata=metadata)
