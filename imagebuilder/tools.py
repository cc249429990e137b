"""The programs of the host that the library needs, and the packages that bring them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from imagebuilder import command
from imagebuilder.errors import HostError

# The program, and Debian's package that has it.
PACKAGES = {
    "apt-get": "apt",
    "chroot": "coreutils",
    "cpio": "cpio",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "mksquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}

# The same of what only images of another form need.
OPTIONAL = {"fsck.erofs": "erofs-utils", "mkfs.erofs": "erofs-utils"}

_VERSION_OPTION = {"mksquashfs": "-version"}


def missing(names: Iterable[str]) -> list[str]:
    """Return those of the programs that are not installed."""
    return [name for name in names if find(name) is None]


def find(name: str) -> str | None:
    """Return the path of a program, or None; the folders of the administrator count as well."""
    return shutil.which(name, path=command.search_path())


def install_command(names: Iterable[str]) -> str:
    """Return the command that installs programs on Debian."""
    packages = sorted({(PACKAGES | OPTIONAL).get(name, name) for name in names})
    return f"sudo apt-get install {' '.join(packages)}"


def need(*names: str) -> None:
    """Raise if one of the programs is not installed.

    Raises:
        HostError: with the command that installs all that are missing.
    """
    lacking = missing(names)
    if lacking:
        verb = "is" if len(lacking) == 1 else "are"
        raise HostError(
            f"{', '.join(lacking)} {verb} not installed", fix=f"run: {install_command(lacking)}"
        )


def versions(*names: str) -> dict[str, str]:
    """Return what each program says of its version."""
    return {
        name: command.version_of([name, _VERSION_OPTION.get(name, "--version")]) for name in names
    }
