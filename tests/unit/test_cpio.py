"""The archives that the kernel unpacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.cpio import Entry, align, archive


def test_the_same_entries_make_the_same_bytes() -> None:
    entries = [Entry(path="a", content=b"1"), Entry(path="b")]
    made = archive(entries)
    assert made == archive(entries)
    assert made.startswith(b"070701")
    assert len(made) % 512 == 0


@pytest.mark.parametrize(("size", "aligned"), [(0, 0), (1, 4), (4, 4), (7, 8)])
def test_another_archive_can_follow(tmp_path: Path, size: int, aligned: int) -> None:
    path = tmp_path / "initrd.img"
    path.write_bytes(b"x" * size)
    align(path)
    align(path)
    assert path.read_bytes() == b"x" * size + bytes(aligned - size)
