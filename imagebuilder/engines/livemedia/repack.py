"""From what livemedia-creator leaves to the image's rootfs.

Its disk image is an ext4; its squashfs holds one, ``LiveOS/rootfs.img``.  Packed again as a plain
squashfs the root is smaller, and its overlay is an overlayfs that is bounded by memory alone.
mksquashfs keeps extended attributes, and with them SELinux labels and file capabilities.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from imagebuilder import command, sandbox
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError

STEP = "repack"
_NESTED = "LiveOS/rootfs.img"
_CHUNK = 4 << 20
_FSCK = 1800.0  # seconds
# What each machine of a fleet must have for itself: the first boot makes it.
_OWN = ("var/lib/systemd/random-seed", "var/lib/systemd/credential.secret")
_KEYS = "etc/ssh/ssh_host_*"
_MAKES_KEYS = "/usr/lib/systemd/system/sshd-keygen@.service"  # Debian has nothing like it
# Anaconda's copies of the kickstart, with passwords and secrets, and its logs.
_ANACONDA = ("root/anaconda-ks.cfg", "root/original-ks.cfg", "var/log/anaconda/*")
_POLICY = re.compile(r"^SELINUXTYPE=(\w+)", re.MULTILINE)


def open_disk(disk: Path, work: Path, log: Path, epoch: int, said: str = "") -> Tree:
    """Mount a disk image's tree so that it can be written without being changed.

    Args:
        disk: the image.
        work: a folder for what is mounted.
        log: gets what is said.
        epoch: ``SOURCE_DATE_EPOCH`` for programs of the tree.
        said: what Anaconda said at last, for the error.

    Raises:
        StepError: it is damaged, or holds no root.
    """
    inner = work / "inner"
    inner.mkdir()
    _mount(disk, inner, "ext4", log)
    return _overlay(inner, work, log, epoch, said)


def open_squashfs(packed: Path, work: Path, log: Path, epoch: int, said: str = "") -> Tree:
    """Mount a squashfs' tree, nested or not, as :func:`open_disk` does.

    Raises:
        StepError: the squashfs is damaged, or holds no root.
    """
    outer, inner = work / "outer", work / "inner"
    outer.mkdir()
    _mount(packed, outer, "squashfs", log)
    nested = outer / _NESTED
    if not nested.exists():
        return _overlay(outer, work, log, epoch, said)
    _read_to_its_end(nested)
    inner.mkdir()
    _mount(nested, inner, "ext4", log)
    return _overlay(inner, work, log, epoch, said)


def _overlay(lower: Path, work: Path, log: Path, epoch: int, said: str = "") -> Tree:
    if not (lower / "etc").is_dir() or not (lower / "usr").is_dir():
        raise StepError(
            "nothing was installed: the root file system has no /etc or no /usr",
            excerpt=said,
            log=log,
            fix="see Anaconda's logs for why it ended so early",
        )
    tree, upper, scratch = work / "tree", work / "upper", work / "scratch"
    for each in (tree, upper, scratch):
        each.mkdir()
    shutil.copystat(lower, upper)
    sandbox.mount_overlay(lower, upper, scratch, tree)
    return Tree(root=tree, log=log, epoch=epoch)


def check_disk(disk: Path, log: Path) -> None:
    """Check a disk image's file system, and give back the blocks that it does not use.

    Raises:
        StepError: it is damaged.
    """
    result = command.run(
        ["fsck.ext4", "-y", "-f", "-E", "discard", str(disk)],
        timeout=_FSCK,
        log=log,
        check=False,
        what="checking the file system",
    )
    if result.returncode:  # fsck(8): 1 says that errors were mended; a new one has none
        raise command.failure(
            result,
            what="the installed file system is damaged: fsck.ext4",
            log=log,
            fix="build again; see Anaconda's logs, and dmesg",
        )


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


def seal(tree: Tree) -> None:
    """Take out what belongs to one machine alone; labels of what stays are kept."""
    for name in ("etc/machine-id", "etc/fstab"):
        if tree.exists(f"/{name}") and not tree.path(f"/{name}").is_symlink():
            with tree.path(f"/{name}").open("r+") as file:
                file.truncate()
    for pattern in (*_OWN, *_ANACONDA, *([_KEYS] if tree.exists(_MAKES_KEYS) else ())):
        for path in tree.glob(pattern):
            if not path.is_dir():
                path.unlink()


def label(tree: Tree, paths: list[str]) -> None:
    """Give files that were copied in the SELinux labels that the image's policy has for them.

    Raises:
        StepError: setfiles failed.
    """
    found = _POLICY.search(tree.read("/etc/selinux/config"))
    contexts = f"/etc/selinux/{found[1] if found else ''}/contexts/files/file_contexts"
    if not paths or not tree.exists(contexts) or not tree.exists("/usr/sbin/setfiles"):
        return
    tree.run(
        ["/usr/sbin/setfiles", "-F", "-f", "-", contexts],
        stdin="".join(f"{each}\n" for each in paths),
        what="labelling what was copied",
    )
