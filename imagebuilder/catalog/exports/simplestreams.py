"""simplestreams, as MAAS reads it: ``streams/v1/index.json`` and a file for each channel.

Paths in it are relative to the folder above ``streams/``, which is the catalog's: it is the URL
that one gives to MAAS or to ``sstream-query``.  MAAS needs kernel, initrd, manifest and root,
and takes the version that sorts last as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from email.utils import format_datetime
from typing import Literal

from imagebuilder.catalog import layout
from imagebuilder.catalog.exports.file import (
    ExportModel,
    File,
    debian_arch,
    distro_of,
    root_of,
    when,
)
from imagebuilder.catalog.exports.view import ChannelView, RecipeView, State
from imagebuilder.catalog.model import Channel, Line, Release, Role, Version
from imagebuilder.image import Sha256

# What MAAS calls the files of a release; of roots it knows the squashfs.
_TYPES: dict[Role, str] = {
    "kernel": "boot-kernel",
    "initrd": "boot-initrd",
    "packages": "manifest",
}


class Item(ExportModel):
    """A file."""

    ftype: str
    path: str
    sha256: Sha256
    size: int


class Items(ExportModel):
    """The files of a release."""

    items: dict[str, Item]


class Product(ExportModel):
    """A channel of a recipe.

    MAAS tells images apart by ``os`` and ``release``, so that the release is the recipe.
    """

    arch: str
    os: Line
    release: Line
    release_codename: Line
    release_title: Line
    version: Line
    label: Line
    subarch: Line
    subarches: Line
    krel: Line
    kflavor: Literal["generic"] = "generic"
    distro: Line
    versions: dict[Version, Items]


class Products(ExportModel):
    """``streams/v1/NAME/CHANNEL.json``."""

    format: Literal["products:1.0"] = "products:1.0"
    content_id: str
    datatype: Literal["image-ids"] = "image-ids"
    updated: str
    products: dict[str, Product]


class IndexItem(ExportModel):
    """What the index says of a channel."""

    datatype: Literal["image-ids"] = "image-ids"
    format: Literal["products:1.0"] = "products:1.0"
    path: str
    products: tuple[str, ...]
    updated: str


class StreamsIndex(ExportModel):
    """``streams/v1/index.json``."""

    format: Literal["index:1.0"] = "index:1.0"
    updated: str
    index: dict[str, IndexItem]


def files(view: RecipeView) -> Iterator[File]:
    """Return the products of a recipe's channels."""
    for channel in view.channels:
        release = channel.release
        name = _product_name(view.name, channel.name, release.distro, release.kernel_release)
        products = Products(
            content_id=_content_id(channel.pointer),
            updated=_updated(channel.moved),
            products={name: _product(channel)},
        )
        yield File(key=_key(channel.pointer), data=products.data())


def index(states: Sequence[State]) -> Iterator[File]:
    """Return the index, which names what :func:`files` returns for all recipes."""
    found: dict[str, IndexItem] = {}
    times = ["1970-01-01T00:00:00Z"]
    for state in states:
        entries = {each.version: each for each in state.entries}
        for pointer in state.channels:
            entry = entries.get(pointer.release)
            if entry is None:
                continue
            moved = pointer.history[-1].time
            times.append(moved)
            found[_content_id(pointer)] = IndexItem(
                path=_key(pointer),
                products=(
                    _product_name(state.name, pointer.channel, entry.distro, entry.kernel_release),
                ),
                updated=_updated(moved),
            )
    yield File(
        key="streams/v1/index.json",
        data=StreamsIndex(updated=_updated(max(times)), index=found).data(),
    )


def _product(channel: ChannelView) -> Product:
    release = channel.release
    known = distro_of(release.distro)
    name, version, suite = (
        (known.name, known.version, known.suite or known.version)
        if known
        else (release.distro, release.distro, release.distro)
    )
    subarch = f"ga-{version}"
    # After a move back, what is newer than what the channel names must not be taken for it.
    versions = sorted(
        (each for each in channel.releases if each.version <= release.version),
        key=lambda each: each.version,
    )
    return Product(
        arch=debian_arch(release.kernel_release),
        os=name,
        release=release.name,
        release_codename=suite,
        release_title=release.summary or release.name,
        version=version,
        label=channel.name,
        subarch=subarch,
        subarches=f"generic,{subarch}",
        krel=suite,
        distro=release.distro,
        versions={each.version: Items(items=_items(each)) for each in versions},
    )


def _items(release: Release) -> dict[str, Item]:
    types = {
        each: root_of(each.name) if each.role == "rootfs" else _TYPES.get(each.role)
        for each in release.artefacts
    }
    return {
        ftype: Item(
            ftype=ftype,
            path=layout.blob_key(each.sha256),
            sha256=each.sha256,
            size=each.size,
        )
        for each, ftype in types.items()
        if ftype
    }


def _product_name(name: str, channel: str, distro: str, kernel_release: str) -> str:
    known = distro_of(distro)
    version = known.version if known else distro
    return f"imagebuilder.{channel}:v3:{name}:{version}:{debian_arch(kernel_release)}:ga-{version}"


def _content_id(pointer: Channel) -> str:
    return f"imagebuilder.{pointer.name}:{pointer.channel}:v3:download"


def _key(pointer: Channel) -> str:
    # Readers put paths into URLs as they stand, and S3 takes a plus sign there for a space; names
    # of recipes have no capitals, so that no two of these are the same.
    return f"streams/v1/{pointer.name.replace('+', 'PLUS')}/{pointer.channel}.json"


def _updated(time: str) -> str:
    return format_datetime(when(time))
