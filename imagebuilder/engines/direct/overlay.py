"""What an overlay changes in the tree below it."""

from __future__ import annotations

import os
import stat
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
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(upper / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}".lstrip("/")
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(path)
                    marks = _marks(entry.path)
                    if not marks and _is_same_folder(facts, lower / path):
                        continue
                    found[path] = f"{_mode(facts)} {marks}"
                    if marks:
                        _remove_below(found, path, lower, upper)
                elif stat.S_ISLNK(facts.st_mode):
                    found[path] = f"{_mode(facts)} {Path(entry.path).readlink()}"
                elif stat.S_ISREG(facts.st_mode):
                    # Its time is in the initrd, if the file is.
                    digest = sha256_of(Path(entry.path))
                    found[path] = f"{_mode(facts)} {facts.st_mtime_ns} {digest}"
                else:  # a device 0/0 stands for what was removed
                    found[path] = f"{_mode(facts)} {facts.st_rdev}"
                if not stat.S_ISDIR(facts.st_mode):
                    _remove_below(found, path, lower, upper)
    return found


def _remove_below(found: dict[str, str], path: str, lower: Path, upper: Path) -> None:
    """Add what lies below a folder of the lower tree that something else stands for now."""
    folder = lower / path
    if folder.is_symlink() or not folder.is_dir():
        return
    for each, folders, files in os.walk(folder):
        for name in (*folders, *files):
            inside = Path(each, name).relative_to(lower)
            if not os.path.lexists(upper / inside):
                found[str(inside)] = _REMOVED


def _mode(facts: os.stat_result) -> str:
    return f"{facts.st_mode:o} {facts.st_uid}:{facts.st_gid}"


def _marks(path: str) -> str:
    """Return overlayfs' own marks on a folder: that it hides the one below it, or renames it."""
    names = [name for name in os.listxattr(path, follow_symlinks=False) if ".overlay." in name]
    told = [name for name in names if not name.endswith((".origin", ".impure", ".uuid"))]
    return " ".join(f"{name}={os.getxattr(path, name).hex()}" for name in sorted(told))


def _is_same_folder(facts: os.stat_result, below: Path) -> bool:
    try:
        return _mode(below.lstat()) == _mode(facts)
    except OSError:
        return False
