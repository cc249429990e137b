"""Whether files and folders are still what they were: as make, git and ninja see it.

By names, kinds, sizes, inodes, and times: the time of the last change of an inode (``st_ctime``)
cannot be set by programs, so that a file that was rewritten with its old size and its old
modification time is still seen to be another.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_MOST = 1 << 18  # entries: a tree of more is no folder of recipes
# Two writes within a tick of a file system's clock leave the same time: 10 ms at the most on
# Linux' own, two seconds where times have no fractions of a second.
_TICK, _COARSE_TICK = 20_000_000, 2_000_000_000  # nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What files and folders were at a moment.

    Attributes:
        digest: follows from all that was seen.
        newest: when the last of it changed, in nanoseconds since the epoch.
    """

    digest: str
    newest: int

    def settled(self, before: int) -> bool:
        """Return whether all of it was as it is before a moment, in nanoseconds."""
        tick = _COARSE_TICK if self.newest % 1_000_000_000 == 0 else _TICK
        return self.newest < before - tick


def look(paths: Iterable[str]) -> Seen | None:
    """Look at files, and folders with all that is in them; what is missing is seen as missing.

    Links are followed.

    Args:
        paths: where to look.

    Returns:
        what there is; None if it is too much to look at, or cannot be looked at.
    """
    summed = hashlib.sha256()
    newest = count = 0
    try:
        for line, changed in _entries(paths):
            count += 1
            if count > _MOST:
                return None
            newest = max(newest, changed)
            summed.update(line.encode(errors="surrogateescape"))
    except OSError:
        return None
    return Seen(digest=summed.hexdigest()[:32], newest=newest)


def _entries(paths: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Give a line for each entry, and when it changed.  Folders that were seen are not repeated."""
    known: set[tuple[int, int]] = set()
    waiting = list(paths)[::-1]
    while waiting:
        path = waiting.pop()
        try:
            facts = os.stat(path)  # noqa: PTH116 - a Path takes three times as long
        except (FileNotFoundError, NotADirectoryError):
            yield f"{path}\0{_link(path)}\n", 0
            continue
        key = (facts.st_dev, facts.st_ino)
        changed = max(facts.st_mtime_ns, facts.st_ctime_ns)
        if not stat.S_ISDIR(facts.st_mode):
            yield (
                f"{path}\0{facts.st_mode:o} {key} {facts.st_size} {facts.st_mtime_ns} "
                f"{facts.st_ctime_ns}\n",
                changed,
            )
            continue
        # The names in it say what a folder is; its times only when that was changed.
        yield f"{path}\0{facts.st_mode:o} {key}\n", changed
        if key in known:
            continue
        known.add(key)
        with os.scandir(path) as found:
            names = sorted(each.name for each in found if each.name != "__pycache__")
        waiting += [f"{path}/{name}" for name in reversed(names)]


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""
