"""From results of livemedia-creator, which are not trusted, to the files of an image."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagebuilder import sandbox
from imagebuilder.engines import squashfs
from imagebuilder.engines.direct import files
from imagebuilder.engines.direct.tree import Tree, tree_size
from imagebuilder.engines.livemedia import diagnosis, guard, initrd, installed, repack, results
from imagebuilder.engines.livemedia.arguments import RAW_IMAGE
from imagebuilder.engines.livemedia.job import Job, Outcome
from imagebuilder.errors import StepError
from imagebuilder.image import INITRD, KERNEL, PACKAGES, ROOTFS
from imagebuilder.progress import Reporter


class Clock:
    """Frames the steps, and keeps how long each took."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Frame a step."""
        began = time.monotonic()
        with self.reporter.step(name, text):
            yield
        self.seconds[name] = time.monotonic() - began


def assemble(job: Job, logs: Path, clock: Clock, whole: Callable[[], None]) -> Outcome:
    """Look at what is there, and make the image's files of it.

    Args:
        job: what is made.
        logs: the folder for logs.
        clock: told of the steps.
        whole: called once the results have been found to be whole: they may be kept, whatever
            becomes of the image.

    Raises:
        StepError: something is missing, damaged, or does not belong together.
    """
    scratch = job.work / "scratch-initrd"
    scratch.mkdir()
    make = _of_disk if job.image_only else _of_results
    outcome = make(job, logs, clock, whole)
    for name in (KERNEL, INITRD, ROOTFS):
        (job.into / name).chmod(0o644)
    return outcome.model_copy(update={"seconds": clock.seconds})


def _of_disk(job: Job, logs: Path, clock: Clock, whole: Callable[[], None]) -> Outcome:
    """Make initrd and squashfs of a disk image, both at once."""
    disk = job.results / RAW_IMAGE
    if not disk.is_file():
        raise StepError(
            "livemedia-creator left no disk image", fix="see its log for what went wrong before"
        )
    if job.argv:  # one that is kept was looked at before
        repack.check_disk(disk, logs / "repack.log")
    said = diagnosis.last_of_anaconda(logs)
    tree = repack.open_disk(disk, job.work, logs / "repack.log", job.epoch, said)
    bare = Tree(root=job.work / "bare", log=tree.log, epoch=job.epoch)
    bare.root.mkdir()
    sandbox.bind(tree.root, bare.root, recursive=False)
    found = initrd.kernels(tree)
    whole()
    kernel = initrd.choose(found, job.options.kernel)
    sandbox.mount_system(tree.root)
    sandbox.mount_tmpfs(tree.root / "var/tmp", mode="1777")
    count = _fill(tree, bare, job)
    speaking = Tree(root=tree.root, log=logs / "initrd.log", epoch=job.epoch)

    def make_initrd() -> bool:
        with clock.step(initrd.STEP, f"dracut for {kernel.release}"):
            return initrd.make(speaking, kernel, job, job.into / INITRD, clock.reporter)

    # Both only read the tree, and what dracut writes is mounted over it.
    with ThreadPoolExecutor(2) as pool:
        making: list[Future[Any]] = [
            pool.submit(make_initrd),
            pool.submit(_pack, bare, job, clock),
        ]
        try:
            for each in as_completed(making):
                each.result()
        except BaseException:
            clock.reporter.cancel.set()  # what the other still does is in vain
            raise
    shutil.copyfile(kernel.path, job.into / KERNEL)
    return Outcome(
        kernel_release=kernel.release,
        tree_size=tree_size(bare.root),
        package_count=count,
        notes=(
            *_several([each.name for each in found], kernel.name),
            *_guard(tree, job),
        ),
        reused=(initrd.STEP,) if making[0].result() else (),
        seconds={},
    )


def _of_results(job: Job, logs: Path, clock: Clock, whole: Callable[[], None]) -> Outcome:
    """Take kernel and initrd as they are, and the squashfs as it is or packed again."""
    (job.results / RAW_IMAGE).unlink(missing_ok=True)  # it never removes its disk image
    found = results.look(job.results, job.work / "scratch-initrd")
    pair = results.choose(found, job.options.kernel)
    said = diagnosis.last_of_anaconda(logs)
    tree = repack.open_squashfs(found.squashfs, job.work, logs / "repack.log", job.epoch, said)
    if not tree.exists(f"/lib/modules/{pair.release}"):
        has = ", ".join(path.name for path in tree.glob("lib/modules/*")) or "none"
        raise StepError(
            f"the root has no modules for the kernel {pair.release}",
            excerpt=f"it has those for: {has}",
            fix="a kernel and its modules are of one package: see what %post does to them",
        )
    whole()
    bare = Tree(root=job.work / "bare", log=tree.log, epoch=job.epoch)
    bare.root.mkdir()
    sandbox.bind(tree.root, bare.root, recursive=False)
    sandbox.mount_system(tree.root)
    count = _fill(tree, bare, job)
    if job.options.flat:
        _pack(bare, job, clock)
    else:
        with clock.step(repack.STEP, "copying the root"):
            shutil.copyfile(found.squashfs, job.into / ROOTFS)
    for source, name in ((pair.kernel, KERNEL), (pair.initrd, INITRD)):
        shutil.copyfile(source, job.into / name)
    return Outcome(
        kernel_release=pair.release,
        tree_size=tree_size(bare.root),
        package_count=count,
        notes=(
            *_several([each.name for each in found.pairs], pair.name),
            *_guard(tree, job),
        ),
        seconds={},
    )


def _guard(tree: Tree, job: Job) -> tuple[str, ...]:
    lacking = guard.add(tree, job.into / INITRD, job.work / "scratch-initrd")
    return (lacking,) if lacking else ()


def _fill(tree: Tree, bare: Tree, job: Job) -> int:
    """Copy files into a tree, take out what is one machine's own; return the count of packages.

    Args:
        tree: with what is mounted in it, to run programs.
        bare: the same without.
        job: what is made.
    """
    packages = installed.listed(tree)
    (job.into / PACKAGES).write_text(packages.model_dump_json(indent=1) + "\n")
    repack.seal(bare)
    above = {str(folder) for each in job.files for folder in Path(each.path).parents}
    made = [folder for folder in sorted(above) if not bare.exists(folder)]
    files.copy_all(bare, job.files)
    repack.label(tree, [*made, *(each.path for each in job.files)])
    return len(packages.packages)


def _pack(bare: Tree, job: Job, clock: Clock) -> None:
    with clock.step(repack.STEP, f"packing the root with {job.image.compression}"):
        squashfs.make(
            bare.root,
            job.into / ROOTFS,
            job.image,
            job.epoch,
            bare.log,
            clock.reporter,
            step=repack.STEP,
            timeout=job.options.seconds("squashfs", squashfs.TIMEOUT),
        )


def _several(names: list[str], chosen: str) -> tuple[str, ...]:
    if len(names) < 2:
        return ()
    return (f"of the kernels {', '.join(names)} the image boots {chosen}",)
