"""The initial RAM disk: dracut in the image, with what a live root over HTTP needs."""

from __future__ import annotations

import hashlib
import re
import shutil
from functools import cache
from pathlib import Path

from imagebuilder import command
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.progress import Reporter

TIMEOUT = 1800.0  # seconds
STEP = "initrd"
_OUTPUT = "/run/imagebuilder-initrd.img"  # in memory while the tree is made

# Modules of dracut, where the image has them.  Without network-legacy dracut 059 picks
# systemd-networkd, which never fetches root=live:http….  106 (Debian 13) still has it.
_MODULE = "imagebuilder"  # ours: it fetches the root and refuses what it should not be
_ADD = ("livenet", "dmsquash-live", "network-legacy", _MODULE)
_OMIT = ("nfs", "systemd-networkd")
_SKIP = ("/usr/lib/dracut/skipcpio", "/lib/dracut/skipcpio")

_SOURCES = tuple(sorted((Path(__file__).parent / "dracut").glob("*.sh")))


@cache
def module_digest() -> str:
    """Return a digest of our module of dracut."""
    return hashlib.sha256(b"\0".join(each.read_bytes() for each in _SOURCES)).hexdigest()


def module_file(name: str) -> bytes:
    """Return a script of our module of dracut: ``take-over.sh`` or ``fetch.sh``."""
    return next(each for each in _SOURCES if each.name == name).read_bytes()


def add_module(tree: Tree) -> None:
    """Put our module of dracut into the tree.

    It stays there, so that an initrd that the image makes for itself boots the same way.
    """
    for source in _SOURCES:
        inside = f"/usr/lib/dracut/modules.d/95{_MODULE}/{source.name}"
        tree.write(inside, source.read_text(), mode=0o755)


def kernel_release(tree: Tree) -> str:
    """Return the release of the newest kernel that the image has.

    Raises:
        StepError: there is none, or it has no modules.
    """
    releases = [path.name.removeprefix("vmlinuz-") for path in tree.glob("boot/vmlinuz-*")]
    releases = [each for each in releases if tree.exists(f"/usr/lib/modules/{each}")]
    if not releases:
        raise StepError(
            "the image has no kernel with modules",
            fix="add a kernel to %packages, such as linux-image-amd64",
        )
    return max(releases, key=_order)


def _order(release: str) -> list[tuple[int, int | str]]:
    """Order releases as numbers and words: 6.1.0-9 before 6.1.0-10."""
    return [
        (1, int(part)) if part.isdigit() else (0, part)
        for part in re.findall(r"\d+|[a-z]+", release)
    ]


def arguments(tree: Tree, release: str) -> list[str]:
    """Return the command line of dracut."""
    modules = {path.name.lstrip("0123456789") for path in tree.glob("usr/lib/dracut/modules.d/*")}
    return [
        "dracut",
        "--force",
        "--no-hostonly",
        "--reproducible",
        "--add",
        " ".join(each for each in _ADD if each in modules),
        "--omit",
        " ".join(each for each in _OMIT if each in modules),
        "--compress",
        "zstd -T0 -3" if _has_zstd(tree) else "gzip",
        "--tmpdir",
        "/run",
        _OUTPUT,
        release,
    ]


def make(tree: Tree, release: str, into: Path, reporter: Reporter) -> tuple[str, ...]:
    """Make the initrd and copy it out of the tree.

    Args:
        tree: the image; proc, dev, run and the like are mounted in it.
        release: the kernel's release.
        into: the file to make.
        reporter: for the request to stop.

    Returns:
        the paths in it.

    Raises:
        StepError: dracut failed, or left out what a live root needs.
    """
    argv = arguments(tree, release)
    reporter.cancel.check()
    result = tree.run(argv, what="dracut", timeout=TIMEOUT, keep=2000, may_mknod=False, check=False)
    # dracut ends with success or not when it leaves out a module: what it says is what counts.
    said = result.stdout + result.stderr
    for name in ("livenet", "dmsquash-live", _MODULE):
        if f"Including module: {name} ***" not in said:
            lines = [line for line in said.splitlines() if f"'{name}'" in line]
            if result.returncode and not lines:
                break  # it failed for another reason
            raise StepError(
                f"the initrd would not find its root: dracut left out its module {name}",
                excerpt="\n".join(lines[-10:]),
                log=tree.log,
                fix="see in the log which program the module misses, and add its package",
            )
    if result.returncode:
        raise command.failure(result, what="dracut", log=tree.log)
    shutil.copyfile(tree.path(_OUTPUT), into)
    # dracut wrote it with these very programs of the image.  Microcode stands before the archive,
    # in one of its own that is not compressed: dracut's skipcpio leaves that out.
    skip = next((each for each in _SKIP if tree.exists(each)), "cat")
    unpack = "zstd -dcq" if _has_zstd(tree) else "gzip -dcq"
    listed = tree.run(
        ["sh", "-c", f"{skip} {_OUTPUT} | {unpack} | cpio --quiet -t"],
        what="listing the initrd",
        keep=1 << 16,
        logged=False,
    )
    tree.remove(_OUTPUT)
    return tuple(listed.stdout.splitlines())


def _has_zstd(tree: Tree) -> bool:
    return tree.exists("/usr/bin/zstd")  # gzip is in every Debian


def copy_kernel(tree: Tree, release: str, into: Path) -> None:
    """Copy the kernel out of the tree."""
    shutil.copyfile(tree.path(f"/boot/vmlinuz-{release}"), into)
