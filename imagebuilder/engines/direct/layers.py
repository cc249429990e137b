"""Package layers in the cache: where they are, and whether they are still what was kept."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from pydantic import ValidationError

from imagebuilder import cache
from imagebuilder.engines.direct.job import LayerFacts

FACTS = "layer.json"


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


def keep(fresh: Path, layer: Path, told: LayerFacts) -> None:
    """Give a new layer its place."""
    (fresh / FACTS).write_text(told.model_dump_json())
    cache.remove_tree(layer)
    fresh.rename(layer)


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
