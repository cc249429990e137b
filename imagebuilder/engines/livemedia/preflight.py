"""What a run of livemedia-creator needs of this host, looked at before it starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from imagebuilder import tools
from imagebuilder.engines.base import Request
from imagebuilder.engines.livemedia.mend import Mended
from imagebuilder.engines.livemedia.program import Program, has_templates
from imagebuilder.errors import HostError, joined

_TOOLS = ("mksquashfs", "unshare", "setpriv", "mount")
# What livemedia-creator itself runs, beside those.
_ITS_OWN = ("mkfs.ext4", "fsck.ext4", "losetup", "cp")
_QEMU = ("usr/libexec/qemu-kvm", "usr/bin/qemu-system-*")  # up to 40; from 46 on
_LEAST = 512 << 20  # bytes free, below which nothing can come of it
_SELINUX = Path("/sys/fs/selinux/enforce")
_RELEASE = Path("/etc/os-release")
_TEMPLATES = Path("/usr/share/lorax")


def check(
    request: Request, program: Program, mended: Mended, folders: dict[str, Path]
) -> tuple[str, ...]:
    """Return notes on what may go wrong.

    Args:
        request: what is to be made.
        program: what makes it.
        mended: the kickstart that it gets.
        folders: where it will write: for people what it is for, and the folder.

    Raises:
        HostError: with everything that is missing.
    """
    errors = list(_lacking(request, folders))
    if errors:
        raise joined(errors)
    return tuple(_doubts(request, program, mended, folders))


def _lacking(request: Request, folders: dict[str, Path]) -> Iterator[HostError]:
    if os.geteuid() != 0:
        yield HostError(
            "livemedia-creator needs root: it mounts disk images and runs an installer",
            fix="run the same command as root; the direct engine needs none",
        )
    options = request.resolved.recipe.livemedia
    is_here = options.where == "host"
    missing = tools.missing([*_TOOLS, *(_ITS_OWN if is_here else ())])
    if missing:
        yield HostError(
            f"{', '.join(missing)}: not installed",
            fix="install squashfs-tools, e2fsprogs and util-linux",
        )
    program = {"container": options.container_command[0], "ssh": options.ssh_command[0]}
    program["mock"] = "mock"
    if not is_here and tools.find(program[options.where]) is None:
        yield HostError(
            f"{program[options.where]} is not installed",
            fix=f'install it, or run it elsewhere: [livemedia] where = "{options.where}" needs it',
        )
    is_virt = options.mode == "virt"
    if is_here and not is_virt and tools.find("anaconda") is None:
        yield HostError(
            "anaconda is not installed",
            fix='run: dnf install lorax-lmc-novirt; or use mode = "virt" in [livemedia]',
        )
    iso = request.resolved.recipe.livemedia.iso
    if is_virt and not (request.resolved.project.root / Path(iso).expanduser()).is_file():
        yield HostError(f"there is no {iso}", fix="name the installer's boot.iso in [livemedia]")
    if is_virt and not any(Path("/").glob(each) for each in _QEMU):
        yield HostError(
            "QEMU is not installed where livemedia-creator looks for it: "
            f"{' or '.join(f'/{each}' for each in _QEMU)}",
            fix="run: dnf install lorax-lmc-virt",
        )
    if not Path("/dev/loop-control").exists() and not list(Path("/dev").glob("loop[0-9]*")):
        yield HostError(
            "this host has no loop devices",
            fix="run: modprobe loop; a container needs --privileged and -v /dev:/dev",
        )
    for what, folder in folders.items():
        free = shutil.disk_usage(folder).free
        if free < _LEAST:
            yield HostError(
                f"no room for {what}: {folder} has {free >> 20} MiB left, and not even "
                f"{_LEAST >> 20} MiB are needed for the smallest image",
                fix="make room there, or name other folders in [livemedia] tmp_dir and result_dir",
            )


def _doubts(
    request: Request, program: Program, mended: Mended, folders: dict[str, Path]
) -> Iterator[str]:
    resolved = request.resolved
    options = resolved.recipe.livemedia
    size = next(
        (
            each.data.size
            for each in (*mended.kickstart.all("part"), *mended.kickstart.all("partition"))
            if each.data.mountpoint == "/"
        ),
        0,
    )
    for what, folder in folders.items():
        free = shutil.disk_usage(folder).free >> 20
        if free < size:
            yield (
                f"{folder} has {free} MiB left for {what}, and the root file system may have "
                f"{size} MiB: a full one would not go in"
            )
    if options.mode == "virt" or options.where != "host":
        return
    host = _host()
    if host and host != (resolved.distro.name, resolved.distro.version.partition(".")[0]):
        yield (
            f"this host is {' '.join(host)}, the image {resolved.distro.id}: with no-virt the "
            "host's Anaconda installs it, which is made for its own release"
        )
    try:
        enforcing = _SELINUX.read_text().strip() == "1"
    except OSError:
        enforcing = False
    if enforcing:
        yield "SELinux is enforcing on this host: labels that it does not know cannot be set"
    proxies = [name for name in ("http_proxy", "https_proxy") if os.environ.get(name)]
    if proxies and not options.proxy:
        yield f"{' and '.join(proxies)} are set, and Anaconda heeds [livemedia] proxy alone"
    if not program.templates and not has_templates(_TEMPLATES):
        yield f"{_TEMPLATES} has no templates: unless the program names others, none are found"
    if program.version == "unknown":
        yield "livemedia-creator does not say its version: it is driven by the options that it has"


def _host() -> tuple[str, str] | None:
    found: dict[str, str] = {}
    try:
        for line in _RELEASE.read_text().splitlines():
            name, _, value = line.partition("=")
            found[name] = value.strip("\"'")
    except OSError:
        return None
    return found.get("ID", ""), found.get("VERSION_ID", "").partition(".")[0]
