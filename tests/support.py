"""What several tests use that is no fixture."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Cli = Callable[..., subprocess.CompletedProcess[str]]


def copy_project(folder: Path) -> Path:
    """Copy the recipes and kickstarts of this repository into a folder."""
    for name in ("recipes", "kickstarts"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def ended(pid: int, seconds: float = 5.0) -> bool:
    """Wait for the end of a process that is not our child; return whether it came.

    A zombie has ended: whether init has noticed is not ours to test.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False
