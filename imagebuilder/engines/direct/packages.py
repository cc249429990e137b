"""The package layer: a tree with the recipe's packages, as they come from the archive."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from imagebuilder import command
from imagebuilder.engines.direct import left_out
from imagebuilder.engines.direct.job import Layer
from imagebuilder.engines.direct.package_failure import explained
from imagebuilder.engines.direct.scripts import SYSIMAGE
from imagebuilder.engines.direct.seal import clamp_times
from imagebuilder.engines.direct.task import Task
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import InputError, Location, StepError
from imagebuilder.image import Package, PackageList
from imagebuilder.progress import Reporter

TIMEOUT = 2 * 3600.0  # seconds; a slow mirror is no fault
STEP = "packages"

# Programs that packages call when they are installed to make an initrd.  Nobody boots that
# one: it would cost ten seconds, and dracut makes the image's own later.
DIVERTED = ("usr/sbin/update-initramfs", "usr/bin/dracut")

# Packages that find these make no SSH host keys.  It would cost half a second, and none may stay.
HOST_KEYS = tuple(f"etc/ssh/ssh_host_{kind}_key" for kind in ("rsa", "ecdsa", "ed25519"))

_DIVERT = """set -e
for path in {paths}; do
  mkdir -p "$1/${{path%/*}}"
  dpkg-divert --root="$1" --local --no-rename --divert "/$path.diverted" --add "/$path"
  ln -s /bin/true "$1/$path"
done
"""
_RESTORE = """set -e
for path in {paths}; do
  rm -f "$1/$path"
  dpkg-divert --root="$1" --local --rename --remove "/$path"
done
"""


def install(task: Task, into: Path, reporter: Reporter) -> None:
    """Fill a folder with the packages of the lowest layer.

    Args:
        task: the layer.
        into: the folder to fill.
        reporter: told of each package.

    Raises:
        StepError: mmdebstrap failed, or installed something else than what the plan has.
    """
    job, layer = task.job, task.layer
    paths = shlex.join(DIVERTED)
    lists, files = shlex.quote(str(task.shelf.lists)), shlex.quote(str(task.shelf.files))
    options = [
        # The index is there already, and the very one that the plan was made from.
        "--skip=update,cleanup/apt",
        f'--setup-hook=mkdir -p "$1/var/lib/apt/lists" && cp -R {lists}/. "$1/var/lib/apt/lists/"',
        f'--setup-hook=mkdir -p "$1{_ARCHIVES}" && find {files} -name "*.deb" '
        f'-exec mv -t "$1{_ARCHIVES}" {{}} +',
        f'--customize-hook=find "$1{_ARCHIVES}" "$1/var/lib/apt/lists" -type f -delete',
        *_told_before(task),
        f'--essential-hook=mkdir -p "$1/etc/ssh" && cd "$1" && touch {" ".join(HOST_KEYS)}',
        f"--essential-hook={_DIVERT.format(paths=paths)}",
        f"--customize-hook={_RESTORE.format(paths=paths)}",
        # Syncing each file to disk is for systems that may lose power, not for a build.
        "--dpkgopt=force-unsafe-io",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Retries "3"',
        # apt changes to its own user only where that user can reach the tree: who owns its
        # folders would depend on where the tree is.
        '--aptopt=APT::Sandbox::User "root"',
        f'--aptopt=Apt::Install-Recommends "{"true" if job.recommends else "false"}"',
        *(f"--aptopt={line.rstrip(';')}" for line in (*job.proxies, *job.apt_options)),
    ]
    counter = Counter(reporter, 2 * len(layer.new))
    try:
        command.run(
            [
                "mmdebstrap",
                "--verbose",
                "--mode=root",
                "--format=directory",
                "--variant=minbase",
                f"--architectures={job.arch}",
                *options,
                *(f"--include={name}" for name in installed(layer.packages)),
                "",  # of any suite: what is required may be an update
                str(into),
                "-",
            ],
            timeout=TIMEOUT,
            stdin=job.sources.encode(),
            cancel=reporter.cancel,
            env={
                **{name: os.environ[name] for name in _KEPT if name in os.environ},
                # In memory, and gone with the worker: mmdebstrap keeps keys there.
                "TMPDIR": str(SYSIMAGE.parent),
                "LC_ALL": "C.UTF-8",
                "SOURCE_DATE_EPOCH": str(task.epoch),
                "DEBIAN_FRONTEND": "noninteractive",
            },
            on_line=counter.look,
            on_error_line=counter.look,
            log=task.log,
            what="installing the packages",
        )
    except StepError as error:
        raise explained(error, task.log) from error
    tree = Tree(root=into, log=task.log, epoch=task.epoch)
    compare(layer, tree)
    left_out.take_out(tree, job.left_out)
    forget_host(into, job.proxies)
    clamp_times(into, task.epoch)


def compare(layer: Layer, tree: Tree) -> None:
    """See that a tree has the packages that were planned, and no others.

    Raises:
        StepError: it has not.
    """
    there = {each.name: each.version for each in listed(tree).packages}
    planned = {name.partition(":")[0]: version for name, version in layer.planned.items()}
    differ = sorted(name for name in {*there, *planned} if there.get(name) != planned.get(name))
    if differ:
        raise StepError(
            f"apt installed something else than what was planned: {', '.join(differ[:5])}",
            log=tree.log,
            fix="run the same command again with --refresh",
        )


def installed(asked: Iterable[str]) -> tuple[str, ...]:
    """Return what apt is to install of what it is asked for: the rest, ``NAME-``, it never sees."""
    return tuple(each for each in asked if not each.endswith("-"))


def forget_host(tree: Path, proxies: Sequence[str] = ()) -> None:
    """Take out of a layer what it has of this host and of this hour: others may use it.

    Args:
        tree: the layer's.
        proxies: lines of apt's settings that are this host's.
    """
    for pattern in _OF_THIS_HOST:
        for path in tree.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    with suppress(OSError):  # it has something else in it, or was never there
        (tree / "etc/ssh").rmdir()
    settings = tree / _SETTINGS
    if proxies and settings.exists():
        lines = settings.read_text().splitlines(keepends=True)
        settings.write_text("".join(each for each in lines if each.strip() not in proxies))


def _told_before(task: Task) -> Iterator[str]:
    """Return the options that give apt its preferences, and debconf its answers."""
    if task.job.preferences:
        file = task.private / "preferences"
        file.write_text(task.job.preferences)
        quoted = shlex.quote(str(file))
        yield f'--setup-hook=cp {quoted} "$1{_PREFERENCES}"'
        yield f'--customize-hook=rm "$1{_PREFERENCES}"'
    if task.layer.preseed:
        file = task.private / "selections"
        file.touch(mode=0o600)
        file.write_text(task.layer.preseed)
        quoted = shlex.quote(str(file))
        # debconf is there with the essential packages, and all others ask after them.
        yield f'--essential-hook=chroot "$1" debconf-set-selections <{quoted}'


_ARCHIVES = "/var/cache/apt/archives"
_PREFERENCES = "/etc/apt/preferences.d/build"
_SETTINGS = "etc/apt/apt.conf.d/99mmdebstrap"
# Device nodes, which an ordinary user's layer cannot have, keys that packages make, and what apt
# finds again in a second: a fifth of the room.
_OF_THIS_HOST = (
    "dev/*",
    "var/cache/apt/*.bin",
    "etc/ssh/ssh_host_*",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
)
_KEPT = ("HOME", "http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


class Counter:
    """Counts packages as they are unpacked and set up.

    Args:
        reporter: told of each.
        total: how many lines of dpkg there will be: two for each package.
    """

    _LINE = re.compile(r"^(Unpacking|Setting up|Get:\d+) (\S+)")

    def __init__(self, reporter: Reporter, total: int) -> None:
        self._reporter = reporter
        self._total = total
        self._done = 0

    def look(self, line: str) -> None:
        """Look at a line of what dpkg says."""
        found = self._LINE.match(line)
        if found and found[1] in ("Unpacking", "Setting up"):
            self._done = min(self._done + 1, self._total)
            self._reporter.progress(STEP, self._done, self._total, "steps", found[2])


def listed(tree: Tree) -> PackageList:
    """Ask dpkg in the tree for the packages that are installed."""
    result = tree.run(
        [
            "dpkg-query",
            "--show",
            "--showformat=${db:Status-Abbrev}\\t${Package}\\t${Version}\\t${Architecture}\\t"
            "${source:Package}\\t${Installed-Size}\\n",
        ],
        what="listing the packages",
        keep=1 << 20,
    )
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    return PackageList(
        packages=tuple(
            sorted(
                (
                    Package(
                        name=row[1],
                        version=row[2],
                        arch=row[3],
                        source=row[4],
                        size=1024 * int(row[5] or 0),
                    )
                    for row in rows
                    if row[0].startswith("ii")
                ),
                key=lambda package: (package.name, package.arch),
            )
        )
    )


# What a tree needs to boot over the network: what it is without it, a pattern of the files that
# show that it is there, and the package that has them, or patterns of other names for it.
_NEEDED = (
    ("a kernel", "boot/vmlinuz-*", "linux-image-amd64", r"linux-image-.+"),
    ("dracut", "usr/bin/dracut", "dracut-core", r"dracut.*"),
    (
        "a root from the network (dracut's modules livenet and dmsquash-live)",
        "usr/lib/dracut/modules.d/*dmsquash-live",
        "dracut-live",
        r"dracut.*live.*",
    ),
    ("curl, with which livenet fetches the root", "usr/bin/curl", "curl", "curl"),
    (
        "a network before the root is there (dracut's module network)",
        "usr/lib/dracut/modules.d/*network",
        "dracut-network",
        r"dracut.*network.*",
    ),
)


def lacking(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return what some packages lack to boot over the network: what it is, and its package."""
    return list(_lacking(tuple(names)))


@lru_cache(maxsize=256)
def _lacking(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (what, package)
        for what, _, package, pattern in _NEEDED
        if not any(re.fullmatch(pattern, name) for name in names)
    )


@lru_cache(maxsize=1 << 12)
def is_needed(name: str) -> bool:
    """Return whether a package is one of those that every image needs to boot."""
    return any(re.fullmatch(pattern, name) for *_, pattern in _NEEDED)


def check_names(names: Iterable[str], where: Location | None) -> None:
    """Refuse a choice of packages that could not boot over the network, before all work.

    Args:
        names: all packages that would be installed.
        where: the place that chose them.

    Raises:
        InputError: naming the packages that are missing.
    """
    missing = lacking(names)
    if missing:
        raise InputError(_cannot_boot(missing), where=where, fix=_add(missing))


def check_tree(tree: Tree) -> None:
    """Refuse a tree that could not boot over the network, before more work is put into it.

    Raises:
        StepError: naming the packages that are missing.
    """
    missing = [(what, package) for what, pattern, package, _ in _NEEDED if not tree.glob(pattern)]
    if missing:
        raise StepError(_cannot_boot(missing), fix=_add(missing))


def _cannot_boot(missing: Sequence[tuple[str, str]]) -> str:
    return "the image could not boot over the network: it lacks " + ", and ".join(
        what for what, _ in missing
    )


def _add(missing: Sequence[tuple[str, str]]) -> str:
    return f"add to %packages: {' '.join(package for _, package in missing)}"
