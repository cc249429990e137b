"""What several tests use that is no fixture."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Cli = Callable[..., subprocess.CompletedProcess[str]]


def copy_project(folder: Path) -> Path:
    """Copy the recipes and kickstarts of this repository into a folder."""
    for name in ("recipes", "kickstarts"):
        shutil.copytree(ROOT / name, folder / name)
    return folder
