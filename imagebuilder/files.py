"""Putting whole folders in place, so that a reader sees the old one or the new one."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
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
