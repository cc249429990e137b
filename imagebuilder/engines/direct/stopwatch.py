"""How long the steps of an image take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from imagebuilder.progress import Reporter


class Stopwatch:
    """Frames the steps, and keeps how long each took."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Frame a step, or a part of one."""
        began = time.monotonic()
        with self.reporter.step(name, text):
            yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
