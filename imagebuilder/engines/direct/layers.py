"""Package layers in the cache: where they are, who has them, and whether they are what was kept.

A layer is locked by whom makes it, and shared by whom uses it, flock(2): others wait until it
stands, not until the first image that has it is made.  The kernel lets go when a process ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from imagebuilder import cache, several
from imagebuilder.engines.direct.job import LayerFacts
from imagebuilder.progress import Reporter

FACTS = "layer.json"
CHANGES = "changes.json"  # what a layer has that its lowest one has not: initrds ask for it
_COARSE = 5  # CLOCK_REALTIME_COARSE: clock_gettime(2); by this one inodes are dated
_POLL = 0.1  # seconds between two looks at a lock that another has


def place(cache_dir: Path, step_id: str) -> Path:
    """Return the folder of a layer."""
    # Trees of root and of an ordinary user differ in who owns them on the disk.
    return Path(f"{cache_dir}/layers/uid-{os.geteuid()}/{step_id}")


def facts(layer: Path) -> LayerFacts | None:
    """Return the facts of a layer, or None if it is not there whole."""
    try:
        return LayerFacts.model_validate_json((layer / FACTS).read_bytes())
    except (OSError, ValidationError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A layer that nobody else can remove or make.

    Attributes:
        layer: where it is, or is to be.
        facts: what it is, or None if the holder is to make it.
        made: when it was made, in nanoseconds since the epoch; 0 if it is to be made.
        lock: the open file of its lock.
    """

    layer: Path
    facts: LayerFacts | None
    made: int
    lock: int

    @property
    def fresh(self) -> Path:
        """Where it is made."""
        return self.layer.with_name(f".{self.layer.name}.new")

    def share(self) -> None:
        """Let others use the layer: it stands now."""
        fcntl.flock(self.lock, fcntl.LOCK_SH)

    def keep(self, told: LayerFacts) -> Held:
        """Give what was brought its place; return the layer, which others can use now."""
        keep(self.fresh, self.layer, told)
        self.share()
        return replace(self, facts=told, made=self.layer.stat().st_mtime_ns)

    def renew(self) -> None:
        """Begin anew: what is half made goes."""
        cache.remove_tree(self.fresh)
        self.fresh.mkdir()


@contextmanager
def held(layer: Path, reporter: Reporter, *, since: int = 0) -> Iterator[Held]:
    """Hold a layer: shared if it is there, else alone, so that it can be made.

    Args:
        layer: where it is, or is to be.
        reporter: told if this has to wait; asked whether to stop.
        since: one that was made before, in nanoseconds since the epoch, does not count.

    Raises:
        Interrupted: somebody asked to stop while this waited.
    """
    layer.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(cache.lock_of(layer), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        found = _held(layer, lock, reporter, since)
        if found.facts:
            yield found
            return
        _clear(found)  # what a build that was killed left
        found.fresh.mkdir()
        try:
            yield found
        finally:
            _clear(found)
    finally:
        os.close(lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A layer that is there, and that nobody removes for now."""

    place: Path
    facts: LayerFacts


@contextmanager
def shared(layer: Path) -> Iterator[Shared | None]:
    """Hold a layer that is there; None if it is not, or somebody has it for himself.

    Args:
        layer: where it is.
    """
    lock = os.open(cache.lock_of(layer), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        told = facts(layer) if _take(lock, fcntl.LOCK_SH) else None
        yield Shared(place=layer, facts=told) if told else None
    finally:
        os.close(lock)


def keep(fresh: Path, layer: Path, told: LayerFacts) -> None:
    """Give a new layer its place; what was there is set aside, to be removed."""
    (fresh / FACTS).write_text(told.model_dump_json())
    if layer.exists():
        layer.rename(_aside(layer))
    fresh.rename(layer)


def now() -> int:
    """Return the time that a file gets that is written now, in nanoseconds since the epoch."""
    return time.clock_gettime_ns(_COARSE)


def _held(layer: Path, lock: int, reporter: Reporter, since: int) -> Held:
    found = _taken(layer, lock, since)
    if found:
        return found
    reporter.note("packages", "waiting for another build that has the same packages")
    with several.waiting(reporter.cancel):
        while not found:
            reporter.cancel.check()
            time.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - two must not keep step
            found = _taken(layer, lock, since)
    return found


def _taken(layer: Path, lock: int, since: int) -> Held | None:
    """Hold a layer if that can be had now."""
    while _take(lock, fcntl.LOCK_SH):
        found = _there(layer, lock, since)
        if found:
            return found
        # Nobody makes it: others may use the one that does not count.
        if not _take(lock, fcntl.LOCK_EX):
            fcntl.flock(lock, fcntl.LOCK_UN)
            return None
        # Another may have been quicker; then that one is shared in the next round.
        if not _there(layer, lock, since):
            return Held(layer=layer, facts=None, made=0, lock=lock)
    return None


def _there(layer: Path, lock: int, since: int) -> Held | None:
    found = facts(layer)
    if found is None:
        return None
    made = layer.stat().st_mtime_ns
    return Held(layer=layer, facts=found, made=made, lock=lock) if made >= since else None


def _take(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _aside(layer: Path) -> Path:
    return layer.with_name(f".{layer.name}.old")


def _clear(held: Held) -> None:
    """Remove what is half made, and what another layer took the place of."""
    for path in (held.fresh, _aside(held.layer)):
        cache.remove_tree(path)


def listing(tree: Path) -> str:
    """Return a digest of the names, kinds, owners, modes, sizes and times of all that a tree has.

    It takes a tenth of a second where to read all of it takes a whole one; what was removed,
    cut short or written to is seen by it.  Owners are those of the namespace that it runs in.
    """
    lines: list[str] = []
    root = os.fspath(tree)
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for each in found:
                told = each.stat(follow_symlinks=False)
                line = f"{each.path[len(root) :]}\0{told.st_mode:o} {told.st_uid}:{told.st_gid}"
                if stat.S_ISDIR(told.st_mode):
                    waiting.append(each.path)
                elif stat.S_ISLNK(told.st_mode):
                    line += f" {Path(each.path).readlink()}"
                else:
                    line += f" {told.st_size} {told.st_mtime_ns}"
                lines.append(line)
    lines.sort()
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:32]
