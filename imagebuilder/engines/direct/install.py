"""The package layers of an image that are not there yet, each made upon the one before.

While one is installed, the files of the next are fetched.  The lowest is made in memory, where
there is enough: dpkg writes each file two or three times, under other names, before it stays.
The next is begun upon it while it is copied to the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from imagebuilder import sandbox
from imagebuilder.engines.direct import addition, debs, layers, memory, packages, shelf
from imagebuilder.engines.direct.job import Job, Layer, LayerFacts, Standing
from imagebuilder.engines.direct.stopwatch import Stopwatch
from imagebuilder.engines.direct.task import Below, Task
from imagebuilder.progress import Cancel, Reporter

_SPARE = 512 << 20  # bytes of memory for all else while packages are installed

OnLayer = Callable[[str], None]


def make(job: Job, private: Path, watch: Stopwatch, on_layer: OnLayer) -> Standing:
    """Make the layers that a job lacks; return the one that the image is made on.

    Args:
        job: the image, with one layer to make at least.
        private: a folder in memory, for what must not lie on a disk.
        watch: told of each step.
        on_layer: called with the id of each layer as soon as it stands.

    Raises:
        StepError: packages cannot be fetched or installed.
    """
    fetching, settling = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    cancel, in_memory = Cancel(), job.work / "memory"
    below = _there(job.standing) if job.standing else None
    try:
        coming = [fetching.submit(_fetch, job, layer, cancel) for layer in job.layers]
        index = shelf.Index(job.lists, {n: v for each in job.layers for n, v in each.new.items()})
        for layer, files in zip(job.layers, coming, strict=True):
            _await(files, job, layer, watch)
            task = _task(job, layer, index, below, private)
            with watch.step(packages.STEP, _what(layer)):
                tree = _install(task, below, in_memory, watch.reporter)
                kept = settling.submit(_keep, task, tree, on_layer)
                if tree.is_relative_to(layer.fresh):
                    kept.result()
                    tree = layer.place / "tree"
            below = Below(tree=tree, epoch=task.epoch, settled=_settled(kept, layer))
        assert below
        return Standing(place=below.settled(), epoch=below.epoch)
    finally:
        cancel.set()
        fetching.shutdown(cancel_futures=True)
        settling.shutdown()  # what is whole is kept, whatever becomes of the next
        if in_memory.is_mount():
            sandbox.unmount(in_memory)


def _there(standing: Standing) -> Below:
    return Below(tree=standing.place / "tree", epoch=standing.epoch, settled=lambda: standing.place)


def _settled(kept: Future[None], layer: Layer) -> Callable[[], Path]:
    def wait() -> Path:
        kept.result()
        return layer.place

    return wait


def _fetch(job: Job, layer: Layer, cancel: Cancel) -> None:
    """Bring the files of a layer's packages here."""
    folder = _folder(job, layer)
    folder.mkdir()
    reporter = Reporter(subject=job.name, cancel=cancel)
    debs.take(
        layer.debs,
        job.deb_store,
        folder / "debs",
        layer.fetching,
        _log(job, layer, "fetch"),
        reporter,
    )


def _await(files: Future[None], job: Job, layer: Layer, watch: Stopwatch) -> None:
    if files.done() and not files.exception():
        return
    count = len(debs.lacking(layer.debs, job.deb_store))
    what = f"fetching {count} packages" if count else "the packages are in the cache"
    with watch.step(packages.STEP, what):
        files.result()


def _task(job: Job, layer: Layer, index: shelf.Index, below: Below | None, private: Path) -> Task:
    work = _folder(job, layer)
    files = work / "debs"
    epoch = job.epoch
    if epoch is None:
        epoch = max(debs.made(files), below.epoch if below else 0)
    return Task(
        job=job,
        layer=layer,
        shelf=index.shelf(layer.new, files, work / "lists"),
        epoch=epoch,
        work=work,
        private=private,
        log=_log(job, layer, "packages"),
    )


def _what(layer: Layer) -> str:
    there = len(layer.planned) - len(layer.new)
    return f"installing {len(layer.new)} packages" + (
        f" on the {there} that are there" if there else ""
    )


def _install(task: Task, below: Below | None, in_memory: Path, reporter: Reporter) -> Path:
    """Install the packages of a layer; return where its tree is: at its place, or in memory."""
    tree = task.layer.fresh / "tree"
    if below:
        addition.install(task, below, reporter)
        return tree
    free = memory.available()
    if free is not None and free > 2 * task.job.installed + _SPARE:
        in_memory.mkdir()
        sandbox.mount_tmpfs(in_memory, is_tree=True)
        tree = in_memory / "tree"
    packages.install(task, tree, reporter)
    return tree


def _keep(task: Task, tree: Path, on_layer: OnLayer) -> None:
    """Give a layer its place: other images have it from now on."""
    layer = task.layer
    if not tree.is_relative_to(layer.fresh):
        addition.copy(tree, layer.fresh / "tree", Reporter(subject=task.job.name))
    told = LayerFacts(
        id=layer.id,
        epoch=task.epoch,
        package_count=len(layer.planned),
        listing=layers.listing(layer.fresh / "tree"),
    )
    layers.keep(layer.fresh, layer.place, told)
    on_layer(layer.id)


def _folder(job: Job, layer: Layer) -> Path:
    return job.work / f"layer-{layer.id}"


def _log(job: Job, layer: Layer, name: str) -> Path:
    """Return a log of a layer: each has its own."""
    which = "" if layer == job.layers[-1] else f"-{layer.id[:8]}"
    return job.into / f"logs/{name}{which}.log"
