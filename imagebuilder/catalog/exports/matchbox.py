"""Profiles and groups for matchbox.

The shapes are those of matchbox's ``storagepb``: a group's selector matches labels of the
request, here ``/ipxe?image=NAME&channel=CHANNEL``; a site adds groups of its own with its MAC
addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.catalog.exports.file import ExportModel, File, digest_of
from imagebuilder.catalog.exports.place import Place
from imagebuilder.catalog.exports.view import RecipeView
from imagebuilder.image import check_args, root_args

_INITRD = "initrd.img"


class Boot(ExportModel):
    """What a machine loads, and the words of its kernel's command line."""

    kernel: str
    initrd: tuple[str, ...]
    args: tuple[str, ...]


class Profile(ExportModel):
    """``profiles/ID.json``."""

    id: str
    name: str
    boot: Boot


class Group(ExportModel):
    """``groups/ID.json``."""

    id: str
    name: str
    profile: str
    selector: dict[str, str]
    metadata: dict[str, str]


def files(view: RecipeView, place: Place) -> Iterator[File]:
    """Return a profile and a group for each of a recipe's channels."""
    for channel in view.channels:
        release = channel.release
        # A channel's name has no plus sign, so that no two of these are the same.
        id_ = f"{view.name}+{channel.name}"
        rootfs = next(each for each in release.artefacts if each.role == "rootfs")
        root = (
            *root_args(place.blob(rootfs.sha256)),
            *check_args(rootfs.sha256, rootfs.size),
        )
        profile = Profile(
            id=id_,
            name=f"{view.name} {channel.name} {release.version}",
            boot=Boot(
                kernel=place.blob(digest_of(release, "kernel")),
                initrd=(f"--name {_INITRD} {place.blob(digest_of(release, 'initrd'))}",),
                args=(f"initrd={_INITRD}", *root, *release.kernel_args),
            ),
        )
        group = Group(
            id=id_,
            name=f"machines that ask for {view.name} from {channel.name}",
            profile=id_,
            selector={"image": view.name, "channel": channel.name},
            metadata={},
        )
        yield File(key=f"exports/matchbox/profiles/{id_}.json", data=profile.data())
        yield File(key=f"exports/matchbox/groups/{id_}.json", data=group.data())
