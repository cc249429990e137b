"""The root file system as an EROFS of the sealed tree, made by the host's mkfs.erofs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from imagebuilder import command, tools
from imagebuilder.distro import Distro
from imagebuilder.errors import HostError
from imagebuilder.progress import Reporter
from imagebuilder.recipe import ImageOptions

PROGRAM = "mkfs.erofs"
TIMEOUT = 2 * 3600.0  # seconds

# What mkfs.erofs(1) calls the compressors of a recipe; lz4 with a level is lz4hc.
_NAMES = {"lz4": "lz4", "zstd": "zstd", "xz": "lzma"}
_ZSTD_LEVEL = 3  # as a squashfs has
# Bytes that are compressed together at most, and whether ends of files are packed together:
# measured, docs/builds.md.  Kernels read what is used for lz4 from 5.17 on, the rest from 6.1.
_SHAPES = {
    "lz4": ("-C65536", "-Eztailpacking"),
    "zstd": ("-C131072", "-Eztailpacking,fragments"),
    "xz": ("-C131072", "-Eztailpacking,fragments"),
}
# The same for all: nothing tells images apart by it, and the bytes must not differ.
_UUID = "1ab6b1d6-6e6f-4c0e-9b57-65726f667301"
# Of Debian's kernels (CONFIG_EROFS_FS_ZIP_*), by release: 6.1 has lz4; lzma is not built into
# it, and zstd came with 6.10.
_OLD = {12: ("6.1", ("lz4",))}
_KNOWN = re.compile(r"available compressors(?: are)?: *(.*)", re.IGNORECASE)


def why_not(options: ImageOptions, distro: Distro) -> str:
    """Return why the kernel of a Debian cannot read such an EROFS, or ""."""
    kernel, known = _OLD.get(distro.major, ("", ()))
    if not kernel or options.compression in known:
        return ""
    return (
        f"the kernel of {distro.id} ({kernel}) reads an EROFS with {', '.join(known)} alone, not "
        f"with {options.compression}"
    )


def see_that_it_can(options: ImageOptions) -> None:
    """See that this host's mkfs.erofs is there, and knows the compressor.

    Raises:
        HostError: it is not, or does not.
    """
    tools.need(PROGRAM)
    # 1.5 has no such option, and says in its usage what 1.8 says here.
    said = command.run([PROGRAM, "--version"], timeout=20, check=False, what=PROGRAM)
    found = _KNOWN.search(said.stdout + said.stderr)
    known = re.split(r"[ ,]+", found[1].strip()) if found else []
    wanted = _compressor(options).partition(",")[0]
    if wanted not in known:
        raise HostError(
            f"this host's {PROGRAM} does not know the compressor {wanted}, only "
            f"{', '.join(known) or 'none'}",
            fix='say compression = "lz4" in the recipe\'s [image], or build where erofs-utils '
            "is 1.8 or newer, as in Debian 13",
        )


def version() -> str:
    """Return the version of this host's mkfs.erofs; "" if it does not say."""
    try:
        said = command.run([PROGRAM, "--version"], timeout=20, check=False, what=PROGRAM)
    except HostError:
        return ""
    lines = (line for line in (said.stdout + said.stderr).splitlines() if line[-1:].isdigit())
    return next((line.strip() for line in lines if line.startswith(PROGRAM)), "")


def arguments(options: ImageOptions) -> list[str]:
    """Return what tells mkfs.erofs how to compress."""
    return [f"-z{_compressor(options)}", *_SHAPES[options.compression]]


def _compressor(options: ImageOptions) -> str:
    name, level = _NAMES[options.compression], options.compression_level
    if name == "lz4" and level is not None:
        return f"lz4hc,{level}"
    if name == "zstd":
        level = level or _ZSTD_LEVEL
    return f"{name},{level}" if level is not None else name


def make(
    root: Path,
    into: Path,
    options: ImageOptions,
    epoch: int,
    log: Path,
    reporter: Reporter,
) -> None:
    """Pack a tree.

    Args:
        root: the tree, with nothing mounted in it.
        into: the file to make.
        options: how to compress.
        epoch: the file system's own time stamp, in seconds since the epoch; no file is newer.
        log: gets what mkfs.erofs says.
        reporter: has the request to stop.

    Raises:
        StepError: mkfs.erofs failed.
    """
    command.run(
        [
            PROGRAM,
            "--quiet",
            f"-U{_UUID}",
            *arguments(options),
            "--exclude-regex=^dev/",  # as in squashfs.make
            str(into),
            str(root),
        ],
        timeout=TIMEOUT,
        cancel=reporter.cancel,
        # With -T all files would be of that time; this is the time of what is newer, too.
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        log=log,
        what="packing the root file system",
        fix="see that there is room on the disk",
    )
