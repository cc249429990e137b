"""Kernel and initrd of a disk image: livemedia-creator ended with it, and dracut is run here."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import command
from imagebuilder.engines.direct import initrd_reuse, overlay
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.engines.livemedia.arguments import OUR_DRACUT
from imagebuilder.engines.livemedia.job import Job
from imagebuilder.engines.livemedia.kernel import initrd_paths, modules_of, order, read_kernel
from imagebuilder.errors import StepError
from imagebuilder.progress import Reporter

STEP = "initrd"
_TIMEOUT = 3600.0  # seconds
_OUTPUT = "/run/imagebuilder-initrd.img"  # in memory while the tree is made
_LIVE = ("livenet", "dmsquash-live")  # modules that fetch a root and take it as one
_NAME = "vmlinuz-"
# NetworkManager's own part of the initrd: in Fedora and RHEL 9 on, in RHEL 8, in Debian.
_GENERATORS = (
    "/usr/libexec/nm-initrd-generator",
    "/usr/libexec/NetworkManager/nm-initrd-generator",
    "/usr/lib/NetworkManager/nm-initrd-generator",
)
_RESCUE = "0-rescue"
_MISSING = re.compile(r"[mM]odule '([^']+)' cannot be found or installed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel of a tree.

    Attributes:
        name: what its file is called after.
        release: the name of its modules' folder.
        path: its file.
    """

    name: str
    release: str
    path: Path


def kernels(tree: Tree) -> tuple[Kernel, ...]:
    """Return the kernels of a tree that have modules, the newest first.

    Raises:
        StepError: there is none, or one is cut off.
    """
    files = {
        each.name.removeprefix(_NAME): each
        for each in tree.glob(f"boot/{_NAME}*")
        if not each.name.startswith(f"{_NAME}{_RESCUE}") and not each.is_symlink()
    }
    for modules in tree.glob("usr/lib/modules/*"):  # where kernel-install(8) finds them
        kernel = modules / "vmlinuz"
        if kernel.is_file() and not kernel.is_symlink():
            files.setdefault(modules.name, kernel)
    if not files:
        raise StepError(
            "there is no kernel in what was installed",
            fix="see that %packages brings kernel, and that no %post removes /boot",
        )
    found = []
    for name in sorted(files, key=order, reverse=True):
        # What the kernel itself says, where it can be read, is what modprobe will look for.
        said = read_kernel(files[name]).release
        release = next((r for r in (said, name) if r and tree.exists(f"/lib/modules/{r}")), "")
        if release:
            found.append(Kernel(name=name, release=release, path=files[name]))
    if not found:
        has = ", ".join(each.name for each in tree.glob("lib/modules/*")) or "none"
        raise StepError(
            f"the root has no modules for its kernel {max(files, key=order)}",
            excerpt=f"it has those for: {has}",
            fix="a kernel and its modules are of one package: see what %post does to them",
        )
    return tuple(found)


def choose(found: tuple[Kernel, ...], wanted: str) -> Kernel:
    """Return the kernel to boot: the one that a recipe names, or the newest.

    Raises:
        StepError: there is none of that name.
    """
    fit = [each for each in found if not wanted or wanted in (each.name, each.release)]
    if not fit:
        raise StepError(
            f"the image has no kernel {wanted}",
            excerpt="it has: " + ", ".join(each.name for each in found),
            fix="name one of these in [livemedia] kernel, or leave it out for the newest",
        )
    return fit[0]


def make(tree: Tree, kernel: Kernel, job: Job, into: Path, reporter: Reporter) -> bool:
    """Make the initrd, or take one that dracut would make again.

    Args:
        tree: the image; proc, dev, run and the like are mounted in it.
        kernel: the kernel that it is for.
        job: what is made.
        into: the file to make.
        reporter: told if it is taken.

    Returns:
        whether it was taken.

    Raises:
        StepError: dracut failed, or left out what a live root needs.
    """
    argv = arguments(tree, kernel.release, job.dracut)
    store = job.initrds / initrd_reuse.family([job.install_id, *argv])
    changed = overlay.changes(job.work / "upper", job.work / "inner")
    found = None if job.again else initrd_reuse.find(store, changed, tree.root)
    if found:
        try:
            shutil.copyfile(found, into)
        except FileNotFoundError:  # another process may have pruned it
            pass
        else:
            reporter.reused(STEP, "nothing that dracut reads has changed")
            return True
    reporter.cancel.check()
    result = tree.run(
        argv,
        cancel=reporter.cancel,
        what="dracut",
        timeout=job.options.seconds("initrd", _TIMEOUT),
        keep=2000,
        check=False,
    )
    check_said(result, tree.log)
    shutil.copyfile(tree.path(_OUTPUT), into)
    tree.remove(_OUTPUT)
    paths = initrd_paths(into, job.work / "scratch-initrd")
    releases = modules_of(paths or ())
    if releases and kernel.release not in releases:
        raise StepError(
            f"the initrd does not belong to its kernel: it has modules of "
            f"{', '.join(sorted(releases))}, and the kernel is {kernel.release}",
            log=tree.log,
            fix="see in the log how dracut was called",
        )
    if paths is not None:
        initrd_reuse.keep(store, into, changed, paths, tree.root)
    return False


def check_said(result: command.Result, log: Path) -> None:
    """Raise unless dracut made an initrd that finds a live root.

    Raises:
        StepError: it failed, or left out what a live root needs, which it may call a success.
    """
    said = result.stdout + result.stderr
    for name in _LIVE:
        lines = [line for line in said.splitlines() if f"'{name}'" in line]
        if lines and f"Including module: {name} ***" not in said:
            raise _lacking(name, log, "\n".join(lines[-10:]))
    if result.returncode:
        missing = _MISSING.search(said)
        raise command.failure(
            result,
            what=f"dracut has no module {missing[1]}" if missing else "dracut failed",
            log=log,
            fix="add the package that brings it, or take it out of [livemedia] dracut_args"
            if missing
            else "see in its log what it misses",
        )


def _lacking(name: str, log: Path, excerpt: str = "") -> StepError:
    return StepError(
        f"the initrd would not find its root: dracut lacks its module {name}, or left it out",
        excerpt=excerpt,
        log=log,
        fix="add dracut-live and dracut-network to %packages; see in the log what else it misses",
    )


def _fitted(tree: Tree, release: str, ours: tuple[str, ...]) -> Iterator[str]:
    """Give our own arguments as a tree can take them, whatever distribution it is of."""
    modules = {path.name.lstrip("0123456789") for path in tree.glob("usr/lib/dracut/modules.d/*")}
    missing = [name for name in _LIVE if modules and name not in modules]
    if missing:
        raise _lacking(missing[0], tree.log)
    # Without NetworkManager dracut takes systemd-networkd, which never fetches root=live:http://…
    is_legacy = "network-legacy" in modules and not any(map(tree.exists, _GENERATORS))
    for each in ours:
        option, _, value = each.partition(" ")
        names = value.split()
        if option == "--add":
            names += ["network-legacy"] if is_legacy and "network-legacy" not in names else []
            yield f"--add {' '.join(name for name in names if not modules or name in modules)}"
        elif option == "--omit":
            names += ["systemd-networkd"] if is_legacy and "systemd-networkd" not in names else []
            yield f"--omit {' '.join(names)}"
        else:
            yield each
    # By itself dracut takes gzip -9 or zstd -15, and a third of its time for it.
    config = tree.read(f"/boot/config-{release}") or tree.read(f"/lib/modules/{release}/config")
    if "CONFIG_RD_ZSTD=y" in config and tree.exists("/usr/bin/zstd"):
        yield "--compress zstd -T0 -3"


def arguments(tree: Tree, release: str, asked: tuple[str, ...]) -> list[str]:
    """Return the command line of dracut.

    Args:
        tree: the image; our own arguments are fitted to its modules.
        release: the kernel's.
        asked: arguments, each as one text: an option, a space, its value.

    Raises:
        StepError: the image's dracut has no module that finds a live root.
    """
    words: list[str] = []
    for each in _fitted(tree, release, asked) if asked in OUR_DRACUT else asked:
        option, space, value = each.partition(" ")
        words += [option, *([value] if space else [])]
    return [
        "dracut",
        "--force",
        "--nomdadmconf",
        "--nolvmconf",
        *words,
        "--tmpdir",
        "/run",
        _OUTPUT,
        release,
    ]
