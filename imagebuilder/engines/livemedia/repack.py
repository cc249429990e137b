"""From the nested root that livemedia-creator leaves to the image's rootfs.

Its squashfs holds ``LiveOS/rootfs.img``, an ext4.  Packed again as a plain squashfs the root is
smaller, and its overlay is an overlayfs that is bounded by memory alone.  mksquashfs keeps
extended attributes, and with them SELinux labels and file capabilities.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from imagebuilder import command, sandbox
from imagebuilder.engines import squashfs
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.engines.livemedia.job import Job
from imagebuilder.errors import StepError
from imagebuilder.progress import Reporter

STEP = "repack"
_NESTED = "LiveOS/rootfs.img"
_CHUNK = 4 << 20
# What each machine of a fleet must have for itself: the first boot makes it.
_OWN = ("var/lib/systemd/random-seed", "var/lib/systemd/credential.secret")
_KEYS = "etc/ssh/ssh_host_*"
_MAKES_KEYS = "/usr/lib/systemd/system/sshd-keygen@.service"  # Debian has nothing like it


def open_tree(packed: Path, work: Path, log: Path, epoch: int) -> Tree:
    """Mount the installed tree so that it can be written without being changed.

    Raises:
        StepError: the squashfs is damaged, or holds no root.
    """
    outer, inner, tree = work / "outer", work / "inner", work / "tree"
    upper, scratch = work / "upper", work / "scratch"
    for each in (outer, inner, tree, upper, scratch):
        each.mkdir()
    _mount(packed, outer, "squashfs", log)
    nested = outer / _NESTED
    lower = outer
    if nested.exists():
        _read_to_its_end(nested)
        _mount(nested, inner, "ext4", log)
        lower = inner
    if not (lower / "etc").is_dir() or not (lower / "usr").is_dir():
        raise StepError(
            "what was installed is no root file system: it has no /etc or no /usr",
            log=log,
            fix="see Anaconda's logs: nothing was installed",
        )
    shutil.copystat(lower, upper)
    sandbox.mount_overlay(lower, upper, scratch, tree)
    return Tree(root=tree, log=log, epoch=epoch)


def _mount(image: Path, target: Path, kind: str, log: Path) -> None:
    command.run(
        sandbox.loop_mount(image, target, kind),
        timeout=120,
        log=log,
        what=f"mounting {image.name}",
        fix="it is damaged, or this host has no loop device left: losetup -a",
    )


def _read_to_its_end(path: Path) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(_CHUNK):
                pass
    except OSError as error:
        raise StepError(
            f"the squashfs is damaged: {path.name} in it cannot be read to its end",
            fix="build again; if it is so again, look at the disk below",
        ) from error


def check_modules(tree: Tree, release: str) -> None:
    """Raise if the tree has no modules for its kernel.

    Raises:
        StepError: it has none.
    """
    if not tree.exists(f"/lib/modules/{release}"):
        has = ", ".join(path.name for path in tree.glob("lib/modules/*")) or "none"
        raise StepError(
            f"the root has no modules for the kernel {release}",
            excerpt=f"it has those for: {has}",
            fix="a kernel and its modules are of one package: see what %post does to them",
        )


def seal(tree: Tree) -> None:
    """Take out what belongs to one machine alone; labels of what stays are kept."""
    for name in ("etc/machine-id", "etc/fstab"):
        if tree.exists(f"/{name}") and not tree.path(f"/{name}").is_symlink():
            with tree.path(f"/{name}").open("r+") as file:
                file.truncate()
    for pattern in (*_OWN, *([_KEYS] if tree.exists(_MAKES_KEYS) else ())):
        for path in tree.glob(pattern):
            path.unlink()


def pack(tree: Tree, into: Path, job: Job, log: Path, reporter: Reporter) -> None:
    """Pack a tree as a plain squashfs.

    Raises:
        StepError: mksquashfs failed.
    """
    squashfs.make(tree.root, into, job.image, job.epoch, log, reporter)
