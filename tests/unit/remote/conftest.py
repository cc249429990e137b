from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from imagebuilder.progress import Event, Reporter
from imagebuilder.remote import Gift, Item, Remote
from imagebuilder.stores import open_store

ID = "0123456789abcdef" * 2


class World:
    """A remote cache in a folder, and what a reporter was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.reporter = Reporter(subject="r", observer=self.events.append)
        self.remote = self.open()

    def open(self, *, writes: bool = True) -> Remote:
        return Remote(open_store(str(self.folder / "remote")), writes=writes)

    def gift(self, seed: int = 1, entry_id: str = ID, size: int = 5000) -> Gift:
        files = []
        for name in ("one.bin", "two.bin"):
            path = self.folder / f"{name}-{seed}"
            path.write_bytes(f"{name} {seed} ".encode() * (size // 10))
            data = path.read_bytes()
            item = Item(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
            files.append((path, item))
        return Gift(kind="image", id=entry_id, recipe="r", files=tuple(files), facts={"a": 1})

    def notes(self) -> list[str]:
        return [each.text for each in self.events if each.kind == "note"]

    def objects(self) -> list[Path]:
        found = (self.folder / "remote/blobs").rglob("*")
        return sorted(path for path in found if path.is_file())

    def manifest(self, entry_id: str = ID) -> Path:
        return self.folder / f"remote/entries/image/{entry_id}.json"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # only a power cut would show a difference
    return World(tmp_path)
