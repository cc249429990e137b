"""What the tests of smoke tests share by type."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Descriptions(Protocol):
    """Describes a firmware to QEMU's friends; returns the folder with the files."""

    def __call__(self, name: str, **said: Any) -> Path: ...
