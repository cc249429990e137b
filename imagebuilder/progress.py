"""How long work tells its caller where it is, and how the caller tells it to stop.

The library never prints.  It calls an observer with :class:`Event` objects; the command line
draws bars or writes lines from them, other programs do as they like.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from imagebuilder.errors import Interrupted

EventKind = Literal["started", "progress", "finished", "reused", "failed", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: ``started``, ``finished``, ``reused`` and ``failed`` frame a step; ``progress``
            moves it on; ``note`` says something worth reading that is no failure.
        subject: what is worked on: a recipe's name.
        step: the step's name, such as ``packages``.
        text: for people: what is being done, or why it need not be.
        done: how far the step is, in ``unit`` (``None``: not countable).
        total: where the step ends, in ``unit``.
        unit: what is counted: ``bytes``, ``packages``, ``checks``…
        seconds: how long the step took; given when it ends.
        time: seconds since the epoch.
    """

    kind: EventKind
    subject: str
    step: str
    text: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""
    seconds: float | None = None
    time: float = field(default_factory=time.time)

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON data."""
        return asdict(self)


Observer = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Observe nothing: the observer of a caller that gave none."""


class Cancel:
    """A request to stop, shared by everything that one call started; safe to set from anywhere."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason = ""

    def set(self, reason: str = "interrupted") -> None:
        """Ask everything that looks at this object to stop, saying why."""
        self._reason = self._reason or reason
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether somebody has asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise :class:`~imagebuilder.errors.Interrupted` if somebody has asked to stop."""
        if self._event.is_set():
            raise Interrupted(
                self._reason, fix="nothing was left half done: run the same command again"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """An observer bound to one subject, with the request to stop that goes with it."""

    subject: str
    observer: Observer = ignore
    cancel: Cancel = field(default_factory=Cancel)

    def note(self, step: str, text: str) -> None:
        """Say something that is worth reading and no failure."""
        self.observer(Event(kind="note", subject=self.subject, step=step, text=text))

    def reused(self, step: str, text: str) -> None:
        """Say that a step need not run, and why."""
        self.observer(Event(kind="reused", subject=self.subject, step=step, text=text))

    def progress(self, step: str, done: int, total: int | None, unit: str, text: str = "") -> None:
        """Say how far a step is."""
        self.observer(
            Event(
                kind="progress",
                subject=self.subject,
                step=step,
                text=text,
                done=done,
                total=total,
                unit=unit,
            )
        )

    @contextmanager
    def step(self, step: str, text: str = "") -> Iterator[None]:
        """Frame a step: says that it started, then that it finished or failed, and how long."""
        self.cancel.check()
        began = time.monotonic()
        self.observer(Event(kind="started", subject=self.subject, step=step, text=text))
        try:
            yield
        except BaseException as error:
            self._ended("failed", step, str(error).partition("\n")[0], began)
            raise
        self._ended("finished", step, text, began)

    def _ended(
        self, kind: Literal["finished", "failed"], step: str, text: str, began: float
    ) -> None:
        self.observer(
            Event(
                kind=kind,
                subject=self.subject,
                step=step,
                text=text,
                seconds=time.monotonic() - began,
            )
        )
