"""The root file system, packed as the recipe says: a squashfs, or an EROFS."""

from __future__ import annotations

from pathlib import Path

from imagebuilder import tools
from imagebuilder.engines import erofs, squashfs
from imagebuilder.image import rootfs_of
from imagebuilder.progress import Reporter
from imagebuilder.recipe import ImageOptions

STEP = squashfs.STEP


def described(options: ImageOptions) -> str:
    """Return, for people, what is made and how it is compressed."""
    name = {"squashfs": "squashfs", "erofs": "EROFS"}[options.filesystem]
    return f"{name} with {squashfs.described(options)}"


def arguments(options: ImageOptions) -> list[str]:
    """Return what tells the program that packs how to compress."""
    pack = erofs.arguments if options.filesystem == "erofs" else squashfs.arguments
    return pack(options)


def see_that_it_can(options: ImageOptions) -> None:
    """See that this host has the program that packs.

    Raises:
        HostError: it is not there, or does not know the compressor.
    """
    if options.filesystem == "erofs":
        erofs.see_that_it_can(options)
    else:
        tools.need("mksquashfs")


def package(options: ImageOptions) -> str:
    """Return Debian's package of the program that packs."""
    return tools.package_of(erofs.PROGRAM if options.filesystem == "erofs" else "mksquashfs")


def versions(options: ImageOptions) -> dict[str, str]:
    """Return what the program that packs says of its version."""
    if options.filesystem == "erofs":
        return {erofs.PROGRAM: erofs.version()}
    return tools.versions("mksquashfs")


def make(
    root: Path,
    folder: Path,
    options: ImageOptions,
    epoch: int,
    log: Path,
    reporter: Reporter,
    *,
    leave: int = 0,
) -> None:
    """Pack a tree.

    Args:
        root: the tree, with nothing mounted in it.
        folder: gets the file; its name says what it is.
        options: how to compress.
        epoch: the file system's own time stamp, in seconds since the epoch.
        log: gets what the program says.
        reporter: has the request to stop.
        leave: how many processors are left to others; mkfs.erofs uses one in any case.

    Raises:
        StepError: the program failed.
    """
    into = folder / rootfs_of(options.filesystem)
    if options.filesystem == "erofs":
        erofs.make(root, into, options, epoch, log, reporter)
    else:
        squashfs.make(root, into, options, epoch, log, reporter, leave=leave)
