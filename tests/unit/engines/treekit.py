"""What tests of trees share."""

from __future__ import annotations

from pathlib import Path

EPOCH = 1_700_000_000


def untouched(host: Path) -> bool:
    files = {str(path.relative_to(host)) for path in host.rglob("*") if path.is_file()}
    return files == {"file", "sub/deep"} and (host / "file").read_text() == "the host's"
