"""Packages on top of a package layer: what apt adds is a layer of its own, and a whole tree.

apt works in an overlay, so that nothing of the layer below is touched.  Then the two become one
tree, in which all that the overlay left alone is a hard link to the layer below: it costs
neither time nor room, and nobody writes to a layer that stands.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import command, sandbox
from imagebuilder.engines.direct import layers, left_out, overlay
from imagebuilder.engines.direct.package_failure import explained
from imagebuilder.engines.direct.packages import (
    DIVERTED,
    HOST_KEYS,
    TIMEOUT,
    Counter,
    compare,
    forget_host,
    installed,
)
from imagebuilder.engines.direct.seal import clamp_times
from imagebuilder.engines.direct.task import Below, Task
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.progress import Reporter

_STATES = "var/lib/apt/extended_states"
_ARCHIVES = "/var/cache/apt/archives"
# What apt and dpkg write while they work, and no tree needs.
_LEFT = (
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/log/apt/*",
    "var/cache/apt/archives/*.deb",
    "var/cache/ldconfig/aux-cache",
)


class Changes(BaseModel):
    """``changes.json`` beside a layer's tree: what the layer has that its lowest one has not.

    Attributes:
        lowest: the id of the lowest layer.
        changed: what differs, by path, in :func:`~.overlay.changes`' words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lowest: str
    changed: dict[str, str] = Field(default_factory=dict)


def changes(layer: Path) -> Changes:
    """Return what a layer has that its lowest one has not; one that says nothing is that itself."""
    try:
        return Changes.model_validate_json((layer / layers.CHANGES).read_bytes())
    except (OSError, ValidationError):
        return Changes(lowest=layer.name)


def install(task: Task, below: Below, reporter: Reporter) -> None:
    """Fill the tree of a new layer with that of the one below, and packages.

    Args:
        task: the layer.
        below: the layer below.
        reporter: told of each package.

    Raises:
        StepError: apt failed, or installed something else than what the plan has.
    """
    fresh = task.layer.fresh
    tree, upper, scratch = fresh / "tree", fresh / "upper", fresh / "scratch"
    root = task.work / "stage"
    for path in (root, upper, scratch):
        path.mkdir()
    shutil.copystat(below.tree, upper)
    try:
        sandbox.mount_overlay(below.tree, upper, scratch, root)
    except OSError:
        # The disk below cannot carry an overlay: a copy does as well, and costs its room.
        for path in (root, upper, scratch):
            shutil.rmtree(path)
        copy(below.tree, tree, reporter)
        _add(task, tree, reporter)
        clamp_times(tree, task.epoch)
        return
    _add(task, root, reporter)
    sandbox.unmount(root)
    clamp_times(upper, task.epoch)
    there = below.settled()
    before = changes(there)
    told = Changes(
        lowest=before.lowest,
        changed={**before.changed, **overlay.changes(upper, below.tree)},
    )
    # Digests of small files, such as debconf's passwords, can be guessed from.
    (fresh / layers.CHANGES).touch(mode=0o600)
    (fresh / layers.CHANGES).write_text(told.model_dump_json())
    copy(there / "tree", tree, reporter, "--link")
    merge(upper, tree)
    for path in (upper, scratch):
        shutil.rmtree(path)


def copy(lower: Path, tree: Path, reporter: Reporter, *options: str) -> None:
    """Copy a tree with all that its files have; ``--link`` is an option of cp(1).

    Raises:
        StepError: it cannot be copied.
    """
    command.run(
        ["cp", "--archive", *options, "--", str(lower), str(tree)],
        timeout=TIMEOUT,
        cancel=reporter.cancel,
        what="copying a tree of packages",
        fix="see that there is room on the disk",
    )


def _add(task: Task, root: Path, reporter: Reporter) -> None:
    """Let apt install packages into a tree that has others."""
    layer, tree = task.layer, Tree(root=root, log=task.log, epoch=task.epoch)
    archives = tree.path(_ARCHIVES)
    for path in task.shelf.files.glob("*.deb"):
        path.rename(archives / path.name) if _is_one_disk(path, archives) else shutil.move(
            path, archives
        )
    sandbox.mount_system(root)
    tree.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)
    starter = tree.path("/sbin/start-stop-daemon")
    if starter.exists():  # packages call it as well: policy-rc.d(8) is for invoke-rc.d
        sandbox.bind(tree.path("/bin/true"), starter)
    if layer.preseed:
        tree.run(["debconf-set-selections"], what="debconf", stdin=layer.preseed)
    for name in HOST_KEYS:
        tree.write(f"/{name}", "")
    _divert(tree, "--add")
    try:
        _apt(task, tree, reporter)
    finally:
        _divert(tree, "--remove")
    _mark(task, root / _STATES)
    compare(layer, tree)
    left_out.take_out(tree, task.job.left_out)
    if starter.exists():
        sandbox.unmount(starter)
    tree.remove("/usr/sbin/policy-rc.d")
    sandbox.unmount_system(root)
    forget_host(root)
    for pattern in _LEFT:
        for path in tree.glob(pattern):
            path.unlink()


def _is_one_disk(path: Path, folder: Path) -> bool:
    return path.stat().st_dev == folder.stat().st_dev


def _divert(tree: Tree, how: str) -> None:
    """Keep packages from making an initrd, or let them again; see ``packages.py``."""
    for path in DIVERTED:
        inside = f"/{path}"
        if how == "--remove":
            tree.remove(inside)
        tree.run(
            [
                "dpkg-divert",
                "--local",
                "--rename",
                *(("--divert", f"{inside}.diverted") if how == "--add" else ()),
                how,
                inside,
            ],
            what="diverting what makes initrds",
        )
        if how == "--add":
            tree.link(inside, "/bin/true")


def _apt(task: Task, tree: Tree, reporter: Reporter) -> None:
    """Run this host's apt on the tree, as mmdebstrap does for the lowest layer."""
    job, layer = task.job, task.layer
    counter = Counter(reporter, 2 * len(layer.new))
    conf, sources, nothing = (task.private / name for name in ("apt.conf", "sources.list", "none"))
    nothing.mkdir(exist_ok=True)
    sources.write_text(job.sources)
    (task.private / "preferences").write_text(job.preferences)
    lines = [
        f'Dir "{tree.root}";',
        f'Dir::State::Status "{tree.root}/var/lib/dpkg/status";',
        f'Dir::State::Lists "{task.shelf.lists}";',
        f'Dir::Etc::sourcelist "{sources}";',
        f'Dir::Etc::sourceparts "{nothing}";',
        f'Dir::Etc::preferences "{task.private}/preferences";',
        f'Dir::Etc::preferencesparts "{nothing}";',
        'Dir::Etc::trusted "/etc/apt/trusted.gpg";',
        'Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d/";',
        'Dir::Bin::methods "/usr/lib/apt/methods/";',
        'Dir::Cache::pkgcache "";',
        'Dir::Cache::srcpkgcache "";',
        f'APT::Architecture "{job.arch}";',
        f'APT::Architectures {{ "{job.arch}"; }};',
        'APT::Sandbox::User "root";',
        'Acquire::Languages "none";',
    ]
    conf.write_text("".join(f"{line}\n" for line in lines))
    recommends = "true" if job.recommends else "false"
    # All by name and version: apt has no choice left, whatever it finds installed.
    exact = (f"{name}={version}" for name, version in layer.new.items())
    named = {each.partition("=")[0] for each in layer.new}
    others = (each for each in installed(layer.packages) if each.partition("=")[0] not in named)
    try:
        command.run(
            [
                "apt-get",
                "--yes",
                "--no-download",
                "-o",
                f"APT::Install-Recommends={recommends}",
                "-o",
                f"DPkg::Chroot-Directory={tree.root}",
                "-o",
                "DPkg::Options::=--force-unsafe-io",
                "install",
                *exact,
                *others,
            ],
            timeout=TIMEOUT,
            cancel=reporter.cancel,
            env={
                "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                "APT_CONFIG": str(conf),
                "LC_ALL": "C.UTF-8",
                "SOURCE_DATE_EPOCH": str(tree.epoch),
                "DEBIAN_FRONTEND": "noninteractive",
            },
            on_line=counter.look,
            on_error_line=counter.look,
            log=tree.log,
            what="installing the packages",
        )
    except StepError as error:
        raise explained(error, tree.log) from error


def _mark(task: Task, states: Path) -> None:
    """Tell apt which of the new packages came along, as if it had chosen them itself."""
    asked = {each.partition("=")[0].partition(":")[0] for each in task.layer.packages}
    stanzas = []
    for name in sorted(task.layer.new):
        bare, _, arch = name.partition(":")
        if bare not in asked:
            stanzas.append(
                f"Package: {bare}\nArchitecture: {arch or task.job.arch}\nAuto-Installed: 1\n\n"
            )
    with states.open("a") as file:
        file.write("".join(stanzas))


def merge(upper: Path, tree: Path) -> None:
    """Apply what an overlay keeps to a tree of hard links to what is below it.

    Args:
        upper: where the overlay, which is mounted no more, kept its changes; they are moved.
        tree: files in it are replaced, never written to.
    """
    told = upper.stat()  # before what is in it is moved, which gives it another time
    for entry in _entries(upper):
        target = tree / entry.name
        facts = entry.stat(follow_symlinks=False)
        is_folder = stat.S_ISDIR(facts.st_mode)
        stays = is_folder and not _hides(entry.path)
        if not (stays and target.is_dir() and not target.is_symlink()):
            _remove(target)
        if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
            continue  # it stands for what was removed
        if not is_folder:
            _unmark(Path(entry.path))
            Path(entry.path).rename(target)
            continue
        target.mkdir(exist_ok=True)
        merge(Path(entry.path), target)
    _unmark(upper)
    os.chown(tree, told.st_uid, told.st_gid)
    shutil.copystat(upper, tree)
    os.utime(tree, ns=(told.st_atime_ns, told.st_mtime_ns))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        yield from list(found)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _hides(path: str) -> bool:
    """Return whether a folder of an overlay hides the one below it."""
    return any(
        name.endswith(".overlay.opaque") for name in os.listxattr(path, follow_symlinks=False)
    )


def _unmark(path: Path) -> None:
    """Take overlayfs' own marks off: to another overlay they would say what is not so."""
    for name in os.listxattr(path, follow_symlinks=False):
        if ".overlay." in name:
            with suppress(OSError):  # it went with the last one
                os.removexattr(path, name, follow_symlinks=False)
