"""The programs of the host that the library needs, and the packages that bring them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from imagebuilder import command
from imagebuilder.debversion import DebianVersion
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

# Those whose version decides on bytes, by package, as Debian 12 has them: its upstream versions.
# A host that lacks one makes nothing with it, but takes from others what was made.
_ASSUMED = {
    "apt": "2.6.1",
    "erofs-utils": "1.5",
    "mmdebstrap": "1.3.5",
    "squashfs-tools": "4.5.1",
}
DPKG = Path("/var/lib/dpkg/status")  # dpkg(1): what is installed

_FIELD = re.compile(r"^(Status|Version): (.*)$", re.MULTILINE)
_VERSION_OPTION = {"mksquashfs": "-version"}


def missing(names: Iterable[str]) -> list[str]:
    """Return those of the programs that are not installed."""
    return [name for name in names if find(name) is None]


def find(name: str) -> str | None:
    """Return the path of a program, or None; the folders of the administrator count as well."""
    return shutil.which(name, path=command.search_path())


def package_of(name: str) -> str:
    """Return Debian's package of a program."""
    return (PACKAGES | OPTIONAL).get(name, name)


def install_command(names: Iterable[str]) -> str:
    """Return the command that installs programs on Debian."""
    packages = sorted({package_of(name) for name in names})
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


def installed_version(package: str) -> str:
    """Return the upstream version of one of this host's packages that decide on an image's bytes.

    What dpkg knows is looked up, since plans are made hundreds at a time, and to run a program
    takes a tenth of a second.  One that the administrator put in its place is asked.  Of one that
    is not there the version of Debian 12 is told: what others have made is most likely of that.

    Args:
        package: Debian's name of it.
    """
    program = next(name for name in PACKAGES | OPTIONAL if package_of(name) == package)
    path = find(program)
    known = _known(*_state(DPKG)).get(package, "")
    if path and (not known or path.startswith("/usr/local/")):
        known = _asked(program, *_state(Path(path))) or known
    return known or _ASSUMED[package]


def _state(path: Path) -> tuple[Path, int, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return path, 0, 0, 0
    return path, facts.st_ino, facts.st_size, facts.st_mtime_ns


@lru_cache(maxsize=4)
def _known(path: Path, *_state: int) -> dict[str, str]:
    """Return the upstream versions that dpkg knows of."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for package in _ASSUMED:
        told = re.search(rf"^Package: {re.escape(package)}\n(?:.+\n)*", text, re.MULTILINE)
        said = dict(_FIELD.findall(told[0])) if told else {}
        if said.get("Status", "").endswith(" installed") and "Version" in said:
            found[package] = DebianVersion(said["Version"]).upstream
    return found


@lru_cache(maxsize=64)
def _asked(program: str, _path: Path, *_state: int) -> str:
    number = re.search(r"\d+(\.\d+)+", versions(program)[program])
    return number[0] if number else ""


def versions(*names: str) -> dict[str, str]:
    """Return what each program says of its version."""
    return {
        name: command.version_of([name, _VERSION_OPTION.get(name, "--version")]) for name in names
    }
