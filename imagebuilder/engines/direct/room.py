"""The disk and the memory that a build takes: told before it begins, refused if they are not there.

What packages come to is known from the index (their ``Installed-Size``), what an image comes to
from the last one of the recipe.  The figures are a little below what was measured: who is refused
would surely have failed, and a disk that fills up all the same is an error that says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.engines.direct import debs, layers, memory
from imagebuilder.engines.direct.index import Index
from imagebuilder.engines.direct.orders import Making, wanted
from imagebuilder.errors import HostError, InputError
from imagebuilder.image import Image
from imagebuilder.recipe import ImageOptions
from imagebuilder.remote import Manifest
from imagebuilder.sizes import human_size

# Of a tree of Debian 12, what is left of its bytes: measured, see docs/builds.md.
_PACKED = {"zstd": 0.30, "gzip": 0.30, "xz": 0.26, "lz4": 0.40}
_REPACKED = 1.4  # of the bytes that are fetched, what is kept: see repack.py
_KERNEL_AND_INITRD = 40 << 20  # bytes; those of the smallest image
_CHANGED = 16 << 20  # bytes that configuring changes, and sealing
_MEMORY = 300 << 20  # bytes: Python, dpkg, dracut and its tree, mksquashfs at a quick level
# Bytes more for each processor, at the levels at which compressors look far back.
_FAR_BACK = {"xz": 90 << 20, "zstd": 50 << 20}
_FAR_LEVEL = 16  # of zstd


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a build takes, in bytes.

    Attributes:
        downloads: files of packages that the cache lacks, and the archive of a layer.
        layers: trees that are made in the cache, with what is there while they are made.
        image: what is made in the project.
        memory: the most that all programs use at a time.
    """

    downloads: int
    layers: int
    image: int
    memory: int

    @property
    def cache(self) -> int:
        """Bytes on the disk of the cache."""
        return self.downloads + self.layers


def estimate(making: Making, opened: Index) -> Room:
    """Return what a build takes, by the last image of the recipe, else by the package index.

    A layer that the remote cache has counts by its manifest.

    Args:
        making: the image.
        opened: the package index.

    Raises:
        StepError: apt cannot say what packages are to be fetched.
        Interrupted: somebody asked to stop.
    """
    return _of(making, opened, *_missing(making))


def _of(making: Making, opened: Index, new: frozenset[str], coming: Manifest | None) -> Room:
    """Return what it takes to install some packages, on a layer that is fetched if there is one."""
    request = making.request
    options = request.resolved.recipe.image
    last = _last(request.resolved.project.build_dir / request.resolved.name / "latest")
    downloads, installed = 0, last.facts.tree_size if last else 0
    if new:
        files = wanted(making, opened)
        installed = files.installed
        fetched = debs.of(each for name, each in files.of.items() if name in new)
        store = request.cache_dir / debs.FOLDER
        downloads = int(_REPACKED * sum(each.size for each in debs.lacking(fetched, store)))
    taken = coming.tree.size if coming and coming.tree else 0
    installed = installed or taken
    part = len(new) / len(making.stages[-1].found.versions)
    if last:
        packed = sum(each.size for each in last.facts.artefacts)
    else:
        packed = int(installed * _PACKED.get(options.compression, 0.3)) + _KERNEL_AND_INITRD
    return Room(
        downloads=downloads + (coming.size if coming else 0),
        layers=int(part * installed) + taken + _CHANGED,
        image=packed,
        memory=_MEMORY + _of_compressor(options),
    )


def _missing(making: Making) -> tuple[frozenset[str], Manifest | None]:
    """Return the packages of the layers that are to be made, and the layer that is fetched."""
    remote = None if making.again else making.request.remote
    names: set[str] = set()
    for n in reversed(range(len(making.stages))):
        if layers.facts(making.layer(n)) and not making.again:
            break
        layer_id = making.stages[n].layer_id
        found = remote.look("packages", layer_id, making.request.reporter) if remote else None
        # It has all that is below it.  One that would hardly fit, or says so, is none to count on.
        if (
            found
            and found.tree
            and 2 * (found.size + found.tree.size) < _free(making.request.cache_dir)
        ):
            return frozenset(names), found
        names.update(making.stages[n].new)
    return frozenset(names), None


def _of_compressor(options: ImageOptions) -> int:
    each = _FAR_BACK.get(options.compression, 0)
    if options.compression == "zstd" and (options.compression_level or 0) < _FAR_LEVEL:
        each = 0
    return each * (os.cpu_count() or 1)


def _last(folder: Path) -> Image | None:
    try:
        return Image.open(folder)
    except InputError:
        return None


def check(room: Room, name: str, cache: Path, project: Path) -> str:
    """Refuse a build that cannot fit; return what it takes, for people.

    Args:
        room: what it takes.
        name: the recipe.
        cache: a folder of the cache.
        project: a folder in which images are made.

    Raises:
        HostError: with the figures.
    """
    taken = {cache: room.cache, project: room.image}
    if cache.stat().st_dev == project.stat().st_dev:
        taken = {cache: room.cache + room.image}
    for folder, size in taken.items():
        free = _free(folder)
        if size > free:
            raise HostError(
                f"there is not enough room to build {name}: it takes about {human_size(size)} on "
                f"the disk of {folder}, which has {human_size(free)} left",
                fix="make room there: imagebuilder cache prune; or move the cache with "
                "IMAGEBUILDER_CACHE",
            )
    left = memory.available()
    if left is not None and room.memory > left:
        raise HostError(
            f"there is not enough memory to build {name}: it takes about "
            f"{human_size(room.memory)}, and {human_size(left)} are left",
            fix="end other programs, build fewer images at a time (-j), or choose a lower "
            "compression_level in the recipe's [image]",
        )
    return (
        f"about {human_size(room.cache + room.image)} of disk and {human_size(room.memory)} of "
        "memory are needed"
    )


def _free(folder: Path) -> int:
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize
