"""The root file system: a squashfs of the sealed tree."""

from __future__ import annotations

import os
import re
from pathlib import Path

from imagebuilder import command
from imagebuilder.progress import Reporter
from imagebuilder.recipe import ImageOptions

TIMEOUT = 2 * 3600.0  # seconds
STEP = "rootfs"
_PERCENT = re.compile(r"(\d+)%\s*$")

# zstd's level 3 takes 1.4 s for a tree of 380 MB on two cores where 15 takes 20 s and saves 11 %.
_ZSTD_LEVEL = 3
# MiB of blocks that mksquashfs holds: it would take a quarter of the machine's memory if the disk
# is slower than it is, whatever its control group leaves.  More makes it no quicker, and the bytes
# are the same.
_QUEUES = 128
_QUEUES_OF_PROCESSOR = 8  # MiB more for each


def arguments(options: ImageOptions) -> list[str]:
    """Return what tells mksquashfs how to compress."""
    args = ["-comp", options.compression]
    level = options.compression_level
    if level is None and options.compression == "zstd":
        level = _ZSTD_LEVEL
    return [*args, "-Xcompression-level", str(level)] if level is not None else args


def described(options: ImageOptions) -> str:
    """Return, for people, how mksquashfs compresses: with the level, if one is asked for."""
    level = options.compression_level
    return f"{options.compression} at level {level}" if level else options.compression


def make(
    root: Path,
    into: Path,
    options: ImageOptions,
    epoch: int,
    log: Path,
    reporter: Reporter,
    *,
    step: str = STEP,
    timeout: float = TIMEOUT,
    leave: int = 0,
) -> None:
    """Pack a tree.

    Args:
        root: the tree, with nothing mounted in it.
        into: the file to make.
        options: how to compress.
        epoch: the file system's own time stamp, in seconds since the epoch.
        log: gets what mksquashfs says.
        reporter: told how far it is.
        step: the step that it is told under.
        timeout: seconds that it may take.
        leave: how many of the processors are left to others; the bytes are the same.

    Raises:
        StepError: mksquashfs failed.
    """

    def look(line: str) -> None:
        found = _PERCENT.search(line)
        if found:
            reporter.progress(step, int(found[1]), 100, "%")

    processors = os.cpu_count() or 1
    command.run(
        [
            "mksquashfs",
            str(root),
            str(into),
            "-noappend",
            "-no-progress",
            "-quiet",
            "-mkfs-time",
            str(epoch),
            "-mem",
            f"{_QUEUES + _QUEUES_OF_PROCESSOR * processors}M",
            *(("-processors", str(max(1, processors - leave))) if leave else ()),
            *arguments(options),
            # Device nodes that were made at install time: devtmpfs covers them, and an
            # ordinary user's build cannot make them, so the bytes would differ.
            "-wildcards",
            "-e",
            "dev/*",
        ],
        timeout=timeout,
        cancel=reporter.cancel,
        on_line=look,
        log=log,
        what="packing the root file system",
        fix="see that there is room on the disk",
    )
