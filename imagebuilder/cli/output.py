"""What people and machines see: bars on a terminal, plain lines in CI, JSON lines on demand."""

from __future__ import annotations

import json
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from imagebuilder.cli.ci_log import Annotation, PlainLog, of_error
from imagebuilder.errors import ImageBuilderError
from imagebuilder.progress import Event, Observer, ignore

if TYPE_CHECKING:
    from tqdm import tqdm

_PLAIN_INTERVAL = 15.0  # seconds between lines on the progress of one step, where there are no bars

# Control characters, and marks that turn the direction of writing.
_CONTROLS = frozenset({"Cc", "Cf"})


class Output:
    """Standard output for results, standard error for progress and errors."""

    def __init__(
        self, *, as_json: bool, quiet: bool = False, ci_log: PlainLog | None = None
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._ci = ci_log or PlainLog()
        self._lock = threading.Lock()
        # One line for each subject, whatever of its steps run at the same time.
        self._bars: dict[str, tqdm[Any]] = {}
        self._running: dict[str, list[str]] = {}
        self._spoke: dict[tuple[str, str], float] = {}

    @property
    def has_bars(self) -> bool:
        """Whether progress is drawn as bars."""
        return sys.stderr.isatty() and not self.as_json and not self.quiet

    def say(self, text: str = "") -> None:
        """Print a result for people."""
        if not self.as_json and not self.quiet:
            self._print(text, sys.stdout)

    def ask(self, question: str) -> bool:
        """Ask whoever is at the terminal; where nobody is, the answer is no."""
        if self.as_json or self.quiet or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        try:
            answer = input(f"{harmless(question)} [y/N] ")
        except EOFError:
            return False
        return answer.strip().lower() in ("y", "yes")

    def text(self, text: str) -> None:
        """Print a result that is a file for machines and people alike."""
        self._print(text, sys.stdout)

    def data(self, kind: str, value: Any) -> None:
        """Print a result for machines: one line ``{"KIND": …}``."""
        if self.as_json:
            text = json.dumps({kind: value}, ensure_ascii=False)
            if self._ci.harmless(text) != text:  # the same in JSON, and no command of a CI system
                text = text.replace("##[", "##\\u005b")
            self._print(text, sys.stdout)

    def error(self, error: ImageBuilderError, name: str = "") -> None:
        """Print an error: to people on standard error, to machines as an object."""
        if self.as_json:
            self.data("error", error.to_dict() | ({"recipe": name} if name else {}))
        else:
            self._print(f"error: {error}", sys.stderr)
        for each in of_error(error, name):
            self.annotate(each)

    def annotate(self, annotation: Annotation) -> None:
        """Let the CI system show something at the line of a file, if it can."""
        self._command(self._ci.annotation(annotation))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Let the CI system fold the lines that are printed meanwhile; groups are not nested."""
        self._command(self._ci.begin(harmless(title)))
        try:
            yield
        finally:
            self._command(self._ci.end())

    def _command(self, text: str) -> None:
        """Print what a CI system reads: past its own defence, and never among results."""
        if text:
            with self._lock:
                print(text, file=sys.stderr, flush=True)

    def observer(self) -> Observer:
        """Return what shows the events of long work."""
        if self.as_json:
            return lambda event: self.data("event", event.to_dict())
        if self.quiet:
            return ignore
        return self._draw if self.has_bars else self._write

    def close(self) -> None:
        """Take down the bars."""
        with self._lock:
            for bar in self._bars.values():
                bar.close()
            self._bars.clear()

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows with their columns aligned."""
        if not rows:
            return
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines: list[str] = []
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
        self.say("\n".join(lines))  # at once: there may be thousands

    def _print(self, text: str, stream: TextIO) -> None:
        text = self._ci.harmless(harmless(text))
        with self._lock:
            if self._bars:
                next(iter(self._bars.values())).write(text, file=stream)
            else:
                print(text, file=stream, flush=True)

    def _write(self, event: Event) -> None:
        key = (event.subject, event.step)
        line = f"{event.subject}: {event.step}: "
        if event.kind == "progress":
            if time.monotonic() - self._spoke.get(key, 0.0) < _PLAIN_INTERVAL:
                return
            total = f" of {event.total}" if event.total else ""
            line += f"{event.done}{total} {event.unit} {event.text}".rstrip()
        elif event.kind == "finished":
            line += f"done in {event.seconds:.1f} s"
        elif event.kind == "failed":
            line += f"failed after {event.seconds:.1f} s"
        elif event.kind == "reused":
            line += f"up to date: {event.text}"
        else:
            line += event.text
        self._spoke[key] = time.monotonic()
        self._print(line, sys.stderr)

    def _draw(self, event: Event) -> None:
        from tqdm import tqdm

        if event.kind in ("note", "reused"):
            self._write(event)
            return
        with self._lock:
            running = self._running.setdefault(event.subject, [])
            bar = self._bars.get(event.subject)
            if event.kind in ("finished", "failed"):
                if event.step in running:
                    running.remove(event.step)
                if running and bar is not None:
                    bar.set_description_str(f"{event.subject}: {' and '.join(running)}")
                elif bar is not None:
                    bar.close()
                    del self._bars[event.subject]
            else:
                if event.step not in running:
                    running.append(event.step)
                if bar is None:
                    bar = self._bars[event.subject] = tqdm(
                        unit="it", leave=False, file=sys.stderr, dynamic_ncols=True
                    )
                bar.set_description_str(f"{event.subject}: {' and '.join(running)}", refresh=False)
                bar.unit, bar.unit_scale = event.unit or "it", event.unit == "bytes"
                bar.total, bar.n = event.total, event.done or 0
                bar.set_postfix_str(harmless(event.text[:40]), refresh=True)
                return
        self._write(event)


def harmless(text: str) -> str:
    """Return text with control characters written out: none of them reaches a terminal.

    What is shown comes from fragments, packages and guests, and could repaint the screen.
    """
    return "\n".join(
        line if line.isprintable() else "".join(map(_harmless, line)) for line in text.split("\n")
    )


def _harmless(sign: str) -> str:
    plain = sign == "\t" or unicodedata.category(sign) not in _CONTROLS
    return sign if plain else ascii(sign)[1:-1]
