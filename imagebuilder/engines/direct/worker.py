"""The worker: makes one image inside namespaces of its own.

It reads a :class:`Job` from standard input and writes JSON lines to standard output: events,
then an outcome or an error.  Whatever it mounts or starts ends with it.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from imagebuilder import command, cpio, sandbox
from imagebuilder.engines import messages, squashfs
from imagebuilder.engines.direct import (
    addition,
    debs,
    image_sources,
    initrd,
    initrd_reuse,
    layers,
    packages,
    room,
    scripts,
    shelf,
)
from imagebuilder.engines.direct.configure import configure
from imagebuilder.engines.direct.job import Job, LayerFacts, Outcome
from imagebuilder.engines.direct.seal import seal
from imagebuilder.engines.direct.tree import Tree, tree_size
from imagebuilder.errors import ImageBuilderError, StepError
from imagebuilder.image import INITRD, KERNEL, PACKAGES, ROOTFS
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.document import lines_from_dict
from imagebuilder.kickstart.parse import parse
from imagebuilder.progress import Event, Reporter

_SPARE = 512 << 20  # bytes of memory for all else while packages are installed
_LISTS = "/var/lib/apt/lists"
_PROXIES = "/etc/apt/apt.conf.d/99mmdebstrap-proxies"


class Damaged(Exception):  # noqa: N818 - the engine makes the layer anew
    """The package layer is not what was kept."""


class _Clock:
    """Frames the steps, and keeps how long each took."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        began = time.monotonic()
        with self.reporter.step(name, text):
            yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began


def work(
    job: Job, reporter: Reporter, on_layer: Callable[[], None] = lambda: None
) -> Outcome | None:
    """Make an image, or only its package layer; if it fails, run the kickstart's ``%onerror``.

    Args:
        job: which image.
        reporter: told of each step.
        on_layer: called as soon as a package layer that was made stands.

    Returns:
        what was made; None if it was a layer.

    Raises:
        StepError: a step failed.
        Damaged: the package layer, or the one below it, is not what was kept; nothing was made.
    """
    _see_that_it_is_whole(job.layer, job.layer_listing)
    if job.below:
        _see_that_it_is_whole(job.below, job.below_listing)
    kickstart = parse(lines_from_dict(job.kickstart), job.kickstart["version"])
    logs, private = job.into / "logs", job.work / "private"
    logs.mkdir(exist_ok=True)  # that of a layer below has made it
    private.mkdir()
    sandbox.mount_tmpfs(private, mode="0700")
    (private / "tmp").mkdir()
    (private / "tmp").chmod(0o1777)
    sandbox.mount_tmpfs(Path("/mnt"))
    scripts.SYSIMAGE.mkdir()
    runner = scripts.Runner(
        kickstart=kickstart,
        project=job.project,
        tmp=private / "tmp",
        logs=logs,
        epoch=job.epoch or 0,
        reporter=reporter,
    )
    clock = _Clock(reporter)
    tree = Tree(root=job.work / "root", log=logs / "configure.log", epoch=runner.epoch)
    try:
        if job.fresh:
            epoch = _fetch(job, clock)
            runner, tree = replace(runner, epoch=epoch), replace(tree, epoch=epoch)
            _install(job, job.fresh, epoch, clock)
            on_layer()
        if job.is_all:
            return None
        return _work(job, kickstart, tree, runner, clock)
    except (ImageBuilderError, OSError):
        runner.after_failure(tree if tree.root.exists() else None)
        raise


def _see_that_it_is_whole(layer: Path, listing: str) -> None:
    if listing and layers.listing(layer / "tree") != listing:
        raise Damaged


def _fetch(job: Job, clock: _Clock) -> int:
    """Bring the files of the packages here; return the time that no file is to be newer than."""
    into = job.work / "debs"
    lacking = len(debs.lacking(job.debs, job.deb_store))
    what = f"fetching {lacking} packages" if lacking else "the packages are in the cache"
    with clock.step(packages.STEP, what):
        log = _log(job, "fetch")
        debs.take(job.debs, job.deb_store, into, job.fetching, log, clock.reporter)
    return max(debs.made(into), job.below_epoch) if job.epoch is None else job.epoch


def _log(job: Job, name: str) -> Path:
    """Return the log of a layer: each has its own."""
    layer = f"-{job.layer_id[:8]}" if job.is_all else ""
    return job.into / f"logs/{name}{layer}.log"


def _install(job: Job, fresh: Path, epoch: int, clock: _Clock) -> None:
    """Make the package layer, and give it its place: other images have it from now on."""
    log = _log(job, "packages")
    on = f" on the {job.package_count - len(job.new)} that are there" if job.below else ""
    with clock.step(packages.STEP, f"installing {len(job.new)} packages{on}"):
        at_hand = shelf.of(job.lists, job.new, job.work / "debs", job.work / "lists")
        if job.below:
            addition.install(job, job.below, at_hand, epoch, fresh, log, clock.reporter)
        else:
            _bootstrap(job, at_hand, epoch, fresh / "tree", log, clock.reporter)
    told = LayerFacts(
        id=job.layer_id,
        epoch=epoch,
        package_count=job.package_count,
        listing=layers.listing(fresh / "tree"),
    )
    layers.keep(fresh, job.layer, told)


def _bootstrap(
    job: Job, at_hand: shelf.Shelf, epoch: int, into: Path, log: Path, reporter: Reporter
) -> None:
    """Make the lowest layer: in memory, if there is enough, and then copied to the disk.

    Each file is written two or three times, under other names, before it stays.
    """
    private, memory = job.work / "private", room.available_memory()
    if memory is None or memory < 2 * job.installed + _SPARE:
        packages.install(job, at_hand, epoch, into, private, log, reporter)
        return
    place = job.work / "memory"
    place.mkdir()
    sandbox.mount_tmpfs(place, is_tree=True)
    packages.install(job, at_hand, epoch, place / "tree", private, log, reporter)
    addition.copy(place / "tree", into, reporter)
    sandbox.unmount(place)


def _work(
    job: Job, kickstart: Kickstart, tree: Tree, runner: scripts.Runner, clock: _Clock
) -> Outcome:
    """Make an image: the whole of it, from top to bottom."""
    notes = [f"package {name} is missing and was passed over" for name in job.missing]
    notes += runner.run_all("pre") + runner.run_all("pre-install")
    _overlay(job, tree.root)
    packages.check_tree(tree)
    release = initrd.kernel_release(tree)
    with clock.step("configure", "applying the kickstart's commands and scripts"):
        notes += _configure(tree, kickstart, job, runner)
        initrd.add_module(tree)
    bare = job.work / "bare"  # the tree without what is mounted in it
    bare.mkdir()
    sandbox.bind(tree.root, bare, recursive=False)
    seal(
        Tree(root=bare, log=tree.log, epoch=tree.epoch),
        has_hostname=any(command.data.hostname for command in kickstart.all("network")),
    )
    installed = packages.listed(tree)
    (job.into / PACKAGES).write_text(installed.model_dump_json(indent=1) + "\n")
    # dracut and mksquashfs only read the tree, and what dracut writes is mounted over it.
    with ThreadPoolExecutor(2) as pool:
        making_initrd = pool.submit(_make_initrd, tree, release, job, clock)
        making_rootfs = pool.submit(_make_rootfs, bare, job, tree.epoch, clock)
        is_reused = making_initrd.result()
        making_rootfs.result()
    return Outcome(
        kernel_release=release,
        tree_size=tree_size(bare),
        package_count=len(installed.packages),
        notes=tuple(notes),
        seconds=clock.seconds,
        reused=(initrd.STEP,) if is_reused else (),
    )


def _overlay(job: Job, root: Path) -> None:
    """Mount the package layer so that it can be written without being changed."""
    upper, scratch = job.work / "upper", job.work / "scratch"
    for path in (root, upper, scratch):
        path.mkdir()
    lower = job.layer / "tree"
    shutil.copystat(lower, upper)
    try:
        sandbox.mount_overlay(lower, upper, scratch, root)
    except OSError:
        # The disk below cannot carry an overlay (it may be one itself): a copy does as well.
        for path in (root, upper, scratch):
            shutil.rmtree(path)
        shutil.copytree(lower, root, symlinks=True)


def _configure(
    tree: Tree, kickstart: Kickstart, job: Job, runner: scripts.Runner
) -> tuple[str, ...]:
    resolv = tree.path("/etc/resolv.conf")
    was_link = str(resolv.readlink()) if resolv.is_symlink() else None
    sandbox.mount_system(tree.root)
    sandbox.mount_tmpfs(tree.root / "var/tmp", mode="1777")
    sandbox.bind(tree.root, scripts.SYSIMAGE)
    with contextlib.suppress(OSError):
        # Scripts may use the network of the build: sealing takes this out again.
        tree.write("/etc/resolv.conf", Path("/etc/resolv.conf").read_text())
    # Packages that a script installs must not start their services (policy-rc.d(8)).
    tree.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)
    if job.proxies:  # of this host, for the scripts; sealing takes this out, too
        tree.write(_PROXIES, "".join(f"{line}\n" for line in job.proxies))
    image_sources.configure(tree, job.kept)
    notes = configure(tree, kickstart, job.files)
    with _index(job, tree):
        notes += runner.run_all("post", tree)
    tree.remove("/usr/sbin/policy-rc.d")
    if was_link is not None:
        tree.link("/etc/resolv.conf", was_link)
    return notes


@contextlib.contextmanager
def _index(job: Job, tree: Tree) -> Iterator[None]:
    """Give the apt of a tree the package index, for the scripts; what they fetch is not kept."""
    place, upper, scratch = tree.path(_LISTS), job.work / "lists-upper", job.work / "lists-scratch"
    for path in (place, upper, scratch):
        path.mkdir(parents=True, exist_ok=True)
    try:
        sandbox.mount_overlay(job.lists, upper, scratch, place)
    except OSError:  # as in _overlay
        sandbox.mount_tmpfs(place)
        shutil.copytree(job.lists, place, dirs_exist_ok=True)
    yield
    sandbox.unmount(place)


def _make_initrd(tree: Tree, release: str, job: Job, clock: _Clock) -> bool:
    """Make the initrd, or take one that dracut would make again; return whether it was taken."""
    tree = Tree(root=tree.root, log=job.into / "logs/initrd.log", epoch=tree.epoch)
    argv = initrd.arguments(tree, release)
    # All is compared with the lowest layer, which images with other packages have as well.
    above = addition.changes(job.layer)
    store = job.initrds / initrd_reuse.family([above.lowest, str(tree.epoch), *argv])
    # Without an overlay nobody knows what was changed.
    upper = job.work / "upper"
    changed = None
    if upper.exists():
        changed = {**above.changed, **initrd_reuse.changes(upper, job.layer / "tree")}
    into = job.into / INITRD
    with clock.step(initrd.STEP, f"dracut for {release}"):
        initrd.copy_kernel(tree, release, job.into / KERNEL)
        found = None
        if changed is not None and not job.again:
            found = initrd_reuse.find(store, changed, tree.root)
        with contextlib.suppress(FileNotFoundError):  # another process may have pruned it
            if found:
                shutil.copyfile(found, into)
                cpio.align(into)
                clock.reporter.reused(initrd.STEP, "nothing that dracut reads has changed")
                return True
        taken = initrd.make(tree, release, into, clock.reporter)
        if changed is not None:
            initrd_reuse.keep(store, into, changed, taken)
        cpio.align(into)
    return False


def _make_rootfs(bare: Path, job: Job, epoch: int, clock: _Clock) -> None:
    with clock.step(squashfs.STEP, f"squashfs with {squashfs.described(job.image)}"):
        squashfs.make(
            bare,
            job.into / ROOTFS,
            job.image,
            epoch,
            job.into / "logs/rootfs.log",
            clock.reporter,
        )


def main() -> int:
    """Run as a program: the job on standard input, messages on standard output."""
    say = messages.speaker()

    def observe(event: Event) -> None:
        say("event", event.to_dict())

    job = Job.model_validate_json(sys.stdin.buffer.read())
    command.hide(*job.secrets)
    try:
        outcome = work(
            job,
            Reporter(subject=job.name, observer=observe),
            on_layer=lambda: say("layer", {}),
        )
    except ImageBuilderError as error:
        say("error", error.to_dict())
        return 1
    except Damaged:
        say("damaged", {})
        return 1
    except OSError as error:
        say("error", StepError(_in_words(error), fix=_room(error)).to_dict())
        return 1
    say("outcome", outcome.model_dump(mode="json") if outcome else {})
    return 0


def _in_words(error: OSError) -> str:
    place = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{place}"


def _room(error: OSError) -> str:
    return "make room on the disk, and build again" if error.errno == 28 else ""


if __name__ == "__main__":
    sys.exit(main())
