"""The worker: makes one image inside namespaces of its own.

It reads a :class:`Job` from standard input and writes JSON lines to standard output: events,
then an outcome or an error.  Whatever it mounts or starts ends with it.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from imagebuilder import command, sandbox
from imagebuilder.engines import messages, rootfs
from imagebuilder.engines.direct import (
    fitting_initrd,
    image_sources,
    initrd,
    install,
    layers,
    packages,
    scripts,
)
from imagebuilder.engines.direct.configure import configure
from imagebuilder.engines.direct.job import Job, Outcome, Standing
from imagebuilder.engines.direct.seal import seal
from imagebuilder.engines.direct.stopwatch import Stopwatch
from imagebuilder.engines.direct.tree import Tree, tree_size
from imagebuilder.errors import ImageBuilderError, StepError
from imagebuilder.image import PACKAGES
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.document import lines_from_dict
from imagebuilder.kickstart.parse import parse
from imagebuilder.progress import Event, Reporter

_LISTS = "/var/lib/apt/lists"
_PROXIES = "/etc/apt/apt.conf.d/99mmdebstrap-proxies"


class Damaged(Exception):  # noqa: N818 - the engine makes the layer anew
    """The package layer is not what was kept."""


def work(job: Job, reporter: Reporter, on_layer: install.OnLayer = lambda _: None) -> Outcome:
    """Make an image; if that fails, run the kickstart's ``%onerror``.

    Args:
        job: which image.
        reporter: told of each step.
        on_layer: called with the id of each package layer that is made, as soon as it stands.

    Returns:
        what was made.

    Raises:
        StepError: a step failed.
        Damaged: the package layer that was there is not what was kept; no script has run.
    """
    kickstart = parse(lines_from_dict(job.kickstart), job.kickstart["version"])
    logs, private = job.into / "logs", job.work / "private"
    logs.mkdir()
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
    watch = Stopwatch(reporter)
    tree = Tree(root=job.work / "root", log=logs / "configure.log", epoch=runner.epoch)
    with _Looking(job.standing) as looking:
        try:
            standing = job.standing
            if job.layers:
                looking.see_that_it_is_whole()
                standing = install.make(job, private, watch, on_layer)
            assert standing
            runner = replace(runner, epoch=standing.epoch)
            tree = replace(tree, epoch=standing.epoch)
            return _work(job, standing.place, kickstart, tree, runner, watch, looking)
        except (ImageBuilderError, OSError):
            looking.see_that_it_is_whole()  # else that is why
            runner.after_failure(tree if tree.root.exists() else None)
            raise


class _Looking:
    """Looks at the package layer that was there, beside the first that is done with it."""

    def __init__(self, standing: Standing | None) -> None:
        self._beside = ThreadPoolExecutor(1)
        self._whole = self._beside.submit(_is_whole, standing)

    def __enter__(self) -> _Looking:
        return self

    def __exit__(self, *_: object) -> None:
        self._beside.shutdown()

    def see_that_it_is_whole(self) -> None:
        """Wait until that is known; no script is to run on what is damaged.

        Raises:
            Damaged: it is not what was kept.
        """
        if not self._whole.result():
            raise Damaged


def _is_whole(standing: Standing | None) -> bool:
    if not standing or not standing.listing:
        return True
    return layers.listing(standing.place / "tree") == standing.listing


def _work(
    job: Job,
    layer: Path,
    kickstart: Kickstart,
    tree: Tree,
    runner: scripts.Runner,
    watch: Stopwatch,
    looking: _Looking,
) -> Outcome:
    """Make an image: the whole of it, from top to bottom."""
    notes = [f"package {name} is missing and was passed over" for name in job.missing]
    if any(section.name in ("%pre", "%pre-install") for section in kickstart.sections):
        looking.see_that_it_is_whole()
    notes += runner.run_all("pre") + runner.run_all("pre-install")
    _overlay(job, layer, tree.root)
    packages.check_tree(tree)
    release = initrd.kernel_release(tree)
    with watch.step("configure", "applying the kickstart's commands and scripts"):
        notes += _configure(tree, kickstart, job, runner, looking)
        initrd.add_module(tree)
    bare = job.work / "bare"  # the tree without what is mounted in it
    bare.mkdir()
    sandbox.bind(tree.root, bare, recursive=False)
    seal(
        Tree(root=bare, log=tree.log, epoch=tree.epoch),
        has_hostname=any(command.data.hostname for command in kickstart.all("network")),
        upper=_upper(job),
    )
    installed = packages.listed(tree)
    (job.into / PACKAGES).write_text(installed.model_dump_json(indent=1) + "\n")
    fitting = fitting_initrd.look(tree, release, job, layer, _upper(job))
    # dracut and what packs the root only read the tree, and what dracut writes is mounted over it.
    with ThreadPoolExecutor(3) as pool:
        making_rootfs = pool.submit(_make_rootfs, bare, job, tree.epoch, watch, fitting)
        making_initrd = pool.submit(fitting_initrd.make, fitting, job, watch)
        measuring = pool.submit(tree_size, bare)
        is_reused = making_initrd.result()
        making_rootfs.result()
    return Outcome(
        kernel_release=release,
        tree_size=measuring.result(),
        package_count=len(installed.packages),
        notes=tuple(notes),
        seconds=watch.seconds,
        reused=(initrd.STEP,) if is_reused else (),
    )


def _overlay(job: Job, layer: Path, root: Path) -> None:
    """Mount the package layer so that it can be written without being changed."""
    upper, scratch = job.work / "upper", job.work / "scratch"
    for path in (root, upper, scratch):
        path.mkdir()
    lower = layer / "tree"
    shutil.copystat(lower, upper)
    try:
        sandbox.mount_overlay(lower, upper, scratch, root)
    except OSError:
        # The disk below cannot carry an overlay (it may be one itself): a copy does as well.
        for path in (root, upper, scratch):
            shutil.rmtree(path)
        shutil.copytree(lower, root, symlinks=True)


def _upper(job: Job) -> Path | None:
    """Return where the overlay keeps what was changed; None if there is none: see _overlay."""
    upper = job.work / "upper"
    return upper if upper.exists() else None


def _configure(
    tree: Tree, kickstart: Kickstart, job: Job, runner: scripts.Runner, looking: _Looking
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
    looking.see_that_it_is_whole()
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


def _make_rootfs(
    bare: Path, job: Job, epoch: int, watch: Stopwatch, fitting: fitting_initrd.Fitting
) -> None:
    with watch.step(rootfs.STEP, rootfs.described(job.image)):
        rootfs.make(
            bare,
            job.into,
            job.image,
            epoch,
            job.into / "logs/rootfs.log",
            watch.reporter,
            # All wait for dracut, which needs a processor for itself.
            leave=0 if fitting.found else 1,
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
            on_layer=lambda layer_id: say("layer", layer_id),
        )
    except ImageBuilderError as error:
        say("error", error.to_dict())
        return 1
    except Damaged:
        shutil.rmtree(job.into / "logs", ignore_errors=True)  # it is begun again
        say("damaged", {})
        return 1
    except OSError as error:
        say("error", StepError(_in_words(error), fix=_room(error)).to_dict())
        return 1
    say("outcome", outcome.model_dump(mode="json"))
    return 0


def _in_words(error: OSError) -> str:
    # Of a copy both ends are named, and it is the second that is on a full disk.
    path = error.filename2 if error.errno == errno.ENOSPC and error.filename2 else error.filename
    return f"{error.strerror or error}: {path}" if path else f"{error.strerror or error}"


def _room(error: OSError) -> str:
    return "make room on the disk, and build again" if error.errno == errno.ENOSPC else ""


if __name__ == "__main__":
    sys.exit(main())
