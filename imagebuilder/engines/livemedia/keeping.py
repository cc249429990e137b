"""What livemedia-creator installed, kept so that another packing needs no Anaconda."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from imagebuilder import cache, command
from imagebuilder.engines.livemedia.job import Kept

FACTS = "install.json"
_TIMEOUT = 1800.0  # seconds to copy a disk image to another disk


def place(cache_dir: Path, step_id: str) -> Path:
    """Return the folder in which results of an installation are kept."""
    return Path(f"{cache_dir}/installed/uid-{os.geteuid()}/{step_id}")


def kept(folder: Path) -> Kept | None:
    """Return what is known of results that are kept, or None if there are none."""
    try:
        return Kept.model_validate_json((folder / FACTS).read_bytes())
    except (OSError, ValidationError):
        return None


def keep(results: Path, folder: Path, facts: Kept) -> None:
    """Give results their place in the cache; they may come from another disk."""
    fresh = folder.with_name(f".{folder.name}.new")
    cache.remove_tree(fresh)
    cache.remove_tree(folder)
    try:
        results.rename(fresh)
    except OSError:
        # The disk image is mostly holes.
        command.run(
            ["cp", "-a", "--sparse=always", "--", str(results), str(fresh)],
            timeout=_TIMEOUT,
            what="keeping what was installed",
            fix="make room on the disk of the cache",
        )
    (fresh / FACTS).write_text(facts.model_dump_json())
    fresh.rename(folder)
