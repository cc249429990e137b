"""BuildRecord: why an image was built, and which part of the build took how long.

It stands beside the image, not in its facts: times are other ones each time, and no artefact of
an image follows from them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder.command import redact
from imagebuilder.engines import Step
from imagebuilder.errors import ImageBuilderError
from imagebuilder.image import Image, ImageId
from imagebuilder.names import RecipeName
from imagebuilder.progress import Event, Observer

RECORD = "build.json"  # beside image.json, or among the logs of a build that failed

_SPANS = 1000  # that are kept of a build; one has about ten
_LINE = 500  # characters of a text


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Model):
    """Why a step of the plan had to run, or need not."""

    step: str
    text: str = Field(description="what the step does")
    reused: bool
    reason: str


class Span(_Model):
    """A part of a build: a step, or one of several parts of it; some run at the same time."""

    step: str
    text: str
    started: float = Field(description="seconds since the build began")
    seconds: float
    outcome: Literal["done", "reused", "failed"]


class Fault(_Model):
    """What ended a build that failed."""

    what: str
    where: str = ""
    fix: str = ""
    excerpt: str = ""
    log: str = Field(default="", description="the log's name, in the folder of logs")


class BuildRecord(_Model):
    """``build.json``."""

    format: Literal[1] = 1
    image: ImageId = Field(description="of the image, made or not")
    recipe: RecipeName
    started: str = Field(description="RFC 3339, UTC")
    seconds: float = Field(description="of the whole build")
    reasons: tuple[Reason, ...] = Field(description="one for each step of the plan, in order")
    spans: tuple[Span, ...] = Field(description="by their start")
    notes: tuple[str, ...] = Field(default=(), description="what was worth saying meanwhile")
    error: Fault | None = Field(default=None, description="None: the image is there")


class Recorder:
    """An observer that writes down what it sees, and passes it on."""

    def __init__(
        self, image_id: str, recipe: str, steps: Sequence[Step], pass_on: Observer
    ) -> None:
        self._image_id = image_id
        self._recipe = recipe
        self._steps = steps
        self._pass_on = pass_on
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._started = datetime.now(UTC)
        self._open: dict[str, list[tuple[float, str]]] = {}
        self._spans: list[Span] = []
        self._notes: list[str] = []

    def __call__(self, event: Event) -> None:
        """Take an event."""
        with self._lock:
            self._note(event, time.monotonic() - self._began)
        self._pass_on(event)

    def _note(self, event: Event, now: float) -> None:
        if event.kind == "started":
            self._open.setdefault(event.step, []).append((now, event.text))
        elif event.kind in ("finished", "failed"):
            running = self._open.get(event.step)
            began, text = running.pop() if running else (now - (event.seconds or 0.0), event.text)
            self._span(event.step, text, began, now, "failed" if event.kind == "failed" else "done")
        elif event.kind == "reused":
            self._span(event.step, event.text, now, now, "reused")
        elif event.kind == "note":
            self._notes.append(_line(f"{event.step}: {event.text}"))

    def _span(
        self,
        step: str,
        text: str,
        began: float,
        ended: float,
        outcome: Literal["done", "reused", "failed"],
    ) -> None:
        self._spans.append(
            Span(
                step=step,
                text=_line(text),
                started=round(max(began, 0.0), 3),
                seconds=round(max(ended - began, 0.0), 3),
                outcome=outcome,
            )
        )

    def record(
        self, error: ImageBuilderError | None = None, logs: Path | None = None
    ) -> BuildRecord:
        """Return what was seen.

        Args:
            error: what ended the build.
            logs: the folder of logs that the error's log is in.
        """
        now = time.monotonic() - self._began
        with self._lock:
            for step, running in self._open.items():  # such as the one that writes the record
                while running:
                    began, text = running.pop()
                    self._span(step, text, began, now, "failed" if error else "done")
            spans = sorted(self._spans[:_SPANS], key=lambda each: each.started)
            return BuildRecord(
                image=self._image_id,
                recipe=self._recipe,
                started=self._started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                seconds=round(now, 3),
                reasons=tuple(
                    Reason(step=each.name, text=each.text, reused=each.reused, reason=each.reason)
                    for each in self._steps
                ),
                spans=tuple(spans),
                notes=tuple(self._notes[:_SPANS]),
                error=_fault(error, logs) if error else None,
            )


def _line(text: str) -> str:
    return redact(text)[:_LINE]


def _fault(error: ImageBuilderError, logs: Path | None) -> Fault:
    log = error.log
    return Fault(
        what=redact(error.what),
        where=str(error.where) if error.where else "",
        fix=redact(error.fix),
        excerpt=redact(error.excerpt),
        log=str(log.relative_to(logs)) if log and logs and log.is_relative_to(logs) else "",
    )


def write(record: BuildRecord, folder: Path) -> None:
    """Write the record into an image's folder, or among the logs of a build that failed."""
    (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n")


def load(folder: Path) -> BuildRecord | None:
    """Return the record of a folder; None if there is none that can be read."""
    try:
        return BuildRecord.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None


def of_image(image: Image) -> BuildRecord | None:
    """Return the record of the build of an image; None if it is from before there were any."""
    found = load(image.path)
    return found if found and found.image == image.id else None
