"""Putting files in place so that a reader sees all of them or none, the old or the new."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_RENAME_EXCHANGE = 2  # <linux/fs.h>; renameat2(2), Linux 3.15
_AT_FDCWD = -100


def put_in_place(folder: Path, place: Path) -> None:
    """Give a folder its final name; what stood there before is gone afterwards.

    The two names are exchanged in one step where the file system can do that; elsewhere there
    is a moment in which neither stands.

    Args:
        folder: the new folder, in the same folder as ``place``.
        place: its name from now on.

    Raises:
        OSError: it could not be renamed; the old one is as it was.
    """
    if not place.exists():
        folder.rename(place)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.renameat2(
        _AT_FDCWD, os.fsencode(folder), _AT_FDCWD, os.fsencode(place), _RENAME_EXCHANGE
    )
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
        return
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number), str(place))
    old = folder.with_name(folder.name + "-old")
    place.rename(old)
    folder.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def sync(path: Path) -> None:
    """Have a file, or a folder's list of names, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, text: str) -> None:
    """Write a file: a reader sees the old one or the new one.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8", newline="\n")
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def create(root: Path, texts: Mapping[str, str]) -> None:
    """Write new files below a folder: all of them, or none.

    Args:
        root: the folder; it is made if it is not there.
        texts: for each path below it, what the file is to hold.

    Raises:
        FileExistsError: one of them is there already, or something else of that name.
        OSError: the disk is full, a folder cannot be written to.
    """
    made: list[Path] = []
    try:
        for path, text in texts.items():
            target = root / path
            _make_folders(target.parent, made)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                made.append(target)
                file.write(text)
    except BaseException:
        for each in reversed(made):
            each.rmdir() if each.is_dir() else each.unlink(missing_ok=True)
        raise


def _make_folders(folder: Path, made: list[Path]) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir()
        made.append(each)
