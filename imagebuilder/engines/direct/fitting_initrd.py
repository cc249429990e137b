"""The initrd of an image: one that is kept if it fits, else a new one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import cpio
from imagebuilder.engines.direct import addition, initrd, initrd_reuse, overlay
from imagebuilder.engines.direct.job import Job
from imagebuilder.engines.direct.stopwatch import Stopwatch
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.image import INITRD, KERNEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What initrd a tree needs.

    Attributes:
        tree: the image.
        release: of its kernel.
        store: where initrds are kept that differ from this one by changes alone.
        changed: what differs from the lowest layer of packages, by path; None: nobody knows.
        found: one that dracut would make again, byte for byte; None: there is none.
    """

    tree: Tree
    release: str
    store: Path
    changed: Mapping[str, str] | None
    found: Path | None


def look(tree: Tree, release: str, job: Job, layer: Path, upper: Path | None) -> Fitting:
    """Look for an initrd that is kept and fits.

    Args:
        tree: the image, configured.
        release: of its kernel.
        job: the image's; it says where initrds are kept.
        layer: the package layer.
        upper: where an overlay keeps what was changed in that; None: nobody knows what was.

    Raises:
        OSError: the tree cannot be read.
    """
    tree = Tree(root=tree.root, log=job.into / "logs/initrd.log", epoch=tree.epoch)
    # All is compared with the lowest layer, which images with other packages have as well.
    above = addition.changes(layer)
    words = [above.lowest, str(tree.epoch), *initrd.arguments(tree, release)]
    store = job.initrds / initrd_reuse.family(words)
    changed, found = None, None
    if upper:
        changed = {**above.changed, **overlay.changes(upper, layer / "tree")}
        found = None if job.again else initrd_reuse.find(store, changed, tree.root)
    return Fitting(tree=tree, release=release, store=store, changed=changed, found=found)


def make(fitting: Fitting, job: Job, watch: Stopwatch) -> bool:
    """Make the initrd and copy the kernel; return whether a kept initrd was taken.

    Args:
        fitting: what :func:`look` returned.
        job: where they are to be.
        watch: told of the step.

    Raises:
        StepError: dracut failed.
        OSError: the disk is full.
    """
    into = job.into / INITRD
    with watch.step(initrd.STEP, f"dracut for {fitting.release}"):
        initrd.copy_kernel(fitting.tree, fitting.release, job.into / KERNEL)
        if fitting.found and _taken(fitting.found, fitting.changed or {}, into):
            watch.reporter.reused(initrd.STEP, "nothing that dracut reads has changed")
            return True
        made = initrd.make(fitting.tree, fitting.release, into, watch.reporter)
        if fitting.changed is not None:
            initrd_reuse.keep(fitting.store, into, fitting.changed, made, fitting.tree.root)
        cpio.align(into)
    return False


def _taken(found: Path, changed: Mapping[str, str], into: Path) -> bool:
    try:
        shutil.copyfile(found, into)
        cpio.align(into)
        initrd_reuse.note_taken(found, changed, into)
    except FileNotFoundError:  # another process has pruned it
        return False
    return True
