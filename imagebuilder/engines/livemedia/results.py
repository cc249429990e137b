"""What livemedia-creator left: nothing of it is trusted before it was looked at.

Its exit status can be 0 with half a result (28 when mksquashfs fails), and a full disk leaves
files that are cut off under their final names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.engines.livemedia.kernel import initrd_paths, modules_of, order, read_kernel
from imagebuilder.errors import StepError

SQUASHFS = "live-rootfs.squashfs.img"
PXE_CONFIG = "PXE_CONFIG"
_SQUASHFS_MAGIC = b"hsqs"
_FIX = "build again; see the logs for what went wrong before"
_KERNEL = re.compile(r"vmlinuz-(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A kernel and its initrd.

    Attributes:
        name: what their files are called after, such as ``5.14.0-503.el9.x86_64``.
        release: what ``uname -r`` will say.
        kernel: the kernel.
        initrd: the initrd.
        modules: the releases that the initrd has modules of; None if that cannot be read.
    """

    name: str
    release: str
    kernel: Path
    initrd: Path
    modules: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Results that are whole.

    Attributes:
        squashfs: the squashfs with the nested root.
        pairs: all kernels that have an initrd, the newest first.
    """

    squashfs: Path
    pairs: tuple[Pair, ...]


def look(folder: Path, scratch: Path) -> Results:
    """Look at what was left.

    Args:
        folder: where it is.
        scratch: a folder for what is in between.

    Raises:
        StepError: something is missing, cut off, or not what its name says.
    """
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if not names:
        raise StepError("livemedia-creator left no results", fix=_FIX)
    squashfs = folder / SQUASHFS
    _check_squashfs(squashfs)
    kernels = [found[1] for name in names if (found := _KERNEL.fullmatch(name))]
    if not kernels:
        raise StepError(
            "livemedia-creator left no kernel",
            excerpt=f"it left: {', '.join(names)}",
            fix="see that %packages brings kernel, and that nothing removes /boot",
        )
    pairs = []
    for name in kernels:
        initrd = next(
            (
                folder / each
                for each in (f"initramfs-{name}.img", f"initrd-{name}.img")
                if each in names
            ),
            None,
        )
        if initrd is None:
            continue
        facts = read_kernel(folder / f"vmlinuz-{name}")
        paths = initrd_paths(initrd, scratch)
        pairs.append(
            Pair(
                name=name,
                release=facts.release or name,
                kernel=folder / f"vmlinuz-{name}",
                initrd=initrd,
                modules=None if paths is None else modules_of(paths),
            )
        )
    if not pairs or PXE_CONFIG not in names:
        raise StepError(
            "livemedia-creator left no kernel with an initrd"
            if not pairs
            else f"livemedia-creator left no {PXE_CONFIG}, so it did not end well",
            excerpt=f"it left: {', '.join(names)}",
            fix="see in program.log what dracut said",
        )
    return Results(
        squashfs=squashfs,
        pairs=tuple(sorted(pairs, key=lambda each: order(each.name), reverse=True)),
    )


def _check_squashfs(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(96)
    except FileNotFoundError as error:
        raise StepError(
            f"livemedia-creator left no {path.name}",
            fix="see in program.log what mksquashfs said; 28 ends with success although it failed",
        ) from error
    # Documentation/filesystems/squashfs.rst: the superblock; bytes_used is at 40.
    used = int.from_bytes(head[40:48], "little")
    if not size:
        raise StepError(f"{path.name} is empty", fix=_FIX)
    if head[:4] != _SQUASHFS_MAGIC:
        raise StepError(f"{path.name} is no squashfs", fix=_FIX)
    if used > size:
        raise StepError(f"{path.name} is cut off: {size} of {used} bytes", fix=_FIX)


def choose(results: Results, wanted: str) -> Pair:
    """Return the kernel to boot: the one that a recipe names, or the newest.

    Raises:
        StepError: there is none of that name, or its initrd has modules of others alone.
    """
    found = [each for each in results.pairs if not wanted or wanted in (each.name, each.release)]
    if not found:
        raise StepError(
            f"the image has no kernel {wanted}",
            excerpt="it has: " + ", ".join(each.name for each in results.pairs),
            fix="name one of these in [livemedia] kernel, or leave it out for the newest",
        )
    pair = found[0]
    if pair.modules and not pair.modules & {pair.release, pair.name}:
        raise StepError(
            f"the initrd {pair.initrd.name} does not belong to its kernel: it has modules of "
            f"{', '.join(sorted(pair.modules))}, and the kernel is {pair.release}",
            fix="see in program.log how dracut was called",
        )
    return pair
