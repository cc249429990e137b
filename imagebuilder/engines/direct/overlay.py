"""What an overlay changes in the tree below it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from imagebuilder.image import sha256_of

_REMOVED = "removed"


def changes(upper: Path, lower: Path) -> dict[str, str]:
    """Return what an overlay changes, with what it is there now.

    What is removed with its folder is told one by one.

    Args:
        upper: where the overlay keeps its changes.
        lower: the tree below it.

    Raises:
        OSError: one of them cannot be read.
    """
    found: dict[str, str] = {}
    above, below = os.fspath(upper), os.fspath(lower)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(f"{above}/{folder}") as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}".lstrip("/")
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(path)
                    marks = _marks(entry.path)
                    if not marks and _is_same_folder(facts, f"{below}/{path}"):
                        continue
                    found[path] = f"{_mode(facts)} {marks}"
                    if marks:
                        _remove_below(found, path, below, above)
                elif stat.S_ISLNK(facts.st_mode):
                    found[path] = f"{_mode(facts)} {Path(entry.path).readlink()}"
                elif stat.S_ISREG(facts.st_mode):
                    # Its time is in the initrd, if the file is.
                    digest = sha256_of(Path(entry.path))
                    found[path] = f"{_mode(facts)} {facts.st_mtime_ns} {digest}"
                else:  # a device 0/0 stands for what was removed
                    found[path] = f"{_mode(facts)} {facts.st_rdev}"
                if not stat.S_ISDIR(facts.st_mode):
                    _remove_below(found, path, below, above)
    return found


def written(upper: Path) -> Iterator[str]:
    """Give the paths of all that an overlay has itself, beside its root.

    Args:
        upper: where the overlay keeps its changes.

    Raises:
        OSError: a folder cannot be read.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(f"{os.fspath(upper)}/{folder}") as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}".lstrip("/")
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(path)
                # A device 0/0 stands for what was removed.
                if facts.st_rdev or not stat.S_ISCHR(facts.st_mode):
                    yield path


def _remove_below(found: dict[str, str], path: str, lower: str, upper: str) -> None:
    """Add what lies below a folder of the lower tree that something else stands for now."""
    try:
        if not stat.S_ISDIR(os.lstat(f"{lower}/{path}").st_mode):
            return
    except OSError:
        return  # there was nothing
    for each, folders, files in os.walk(f"{lower}/{path}"):
        for name in (*folders, *files):
            inside = f"{each[len(lower) + 1 :]}/{name}"
            if not os.path.lexists(f"{upper}/{inside}"):
                found[inside] = _REMOVED


def _mode(facts: os.stat_result) -> str:
    return f"{facts.st_mode:o} {facts.st_uid}:{facts.st_gid}"


def _marks(path: str) -> str:
    """Return overlayfs' own marks on a folder: that it hides the one below it, or renames it."""
    names = [name for name in os.listxattr(path, follow_symlinks=False) if ".overlay." in name]
    told = [name for name in names if not name.endswith((".origin", ".impure", ".uuid"))]
    return " ".join(f"{name}={os.getxattr(path, name).hex()}" for name in sorted(told))


def _is_same_folder(facts: os.stat_result, below: str) -> bool:
    try:
        return _mode(os.lstat(below)) == _mode(facts)
    except OSError:
        return False
