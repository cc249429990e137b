"""A package index with a stand-in for apt."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from fakes import FakePrograms

from imagebuilder.engines.direct import index
from imagebuilder.engines.direct.index import Index, open_index
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.kickstart import Kickstart
from imagebuilder.progress import Event, Reporter

Parsed = Callable[[str], Kickstart]


SOURCES = Sources(lines=("deb https://me:geheim@site/debian bookworm main",), origin="a test")


class Looker:
    """Opens an index in a folder of its own, with a stand-in for apt."""

    def __init__(self, cache: Path, programs: FakePrograms) -> None:
        self.cache = cache
        self.programs = programs
        self.events: list[Event] = []
        self.reporter = Reporter(subject="r", observer=self.events.append)

    def open(
        self,
        *,
        refresh: bool = False,
        offline: bool = False,
        max_age: float = index.DAY,
        sources: Sources = SOURCES,
    ) -> Index:
        return open_index(
            self.cache,
            sources,
            "amd64",
            self.reporter,
            refresh=refresh,
            offline=offline,
            max_age=max_age,
        )

    def age(self, opened: Index, seconds: float) -> None:
        file = opened.folder / "index.json"
        data = json.loads(file.read_text())
        file.write_text(json.dumps({**data, "checked": time.time() - seconds}))

    def says(self, stderr: str, status: int = 100) -> None:
        self.programs.write("apt-get", f"cat >&2 <<'END'\n{stderr}\nEND\nexit {status}")

    def updates(self) -> int:
        return sum(call.startswith("apt-get update") for call in self.programs.calls())


def packages(*lines: str) -> str:
    return "\n".join(["%packages", *lines, "%end", ""])
