"""Lines that every verb can print, and what they are made of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from imagebuilder.progress import EventKind


class Line(BaseModel):
    """A line, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(Line):
    """A place in an input."""

    file: str
    line: int | None = Field(description="from 1")
    key: str | None


class EventLine(Line):
    """Something that happened while work goes on."""

    kind: EventKind = Field(
        description="started, finished, reused and failed frame a step; progress moves it on; a "
        "note is worth reading and no failure"
    )
    subject: str = Field(description="what is worked on: a recipe")
    step: str
    text: str = Field(description="for people")
    done: int | None = Field(description="how far the step is, in unit; null: not countable")
    total: int | None = Field(description="where it ends, in unit")
    unit: str = Field(description="what is counted: bytes, packages, checks…")
    seconds: float | None = Field(description="how long the step took, when it ends")
    time: float = Field(description="seconds since 1970")


class ErrorLine(Line):
    """What went wrong."""

    kind: Literal["error", "step", "input", "check", "catalog", "host", "interrupted"]
    exit_status: int
    what: str
    where: Place | None
    fix: str = Field(description="what the reader can do about it")
    excerpt: str = Field(description="lines of a log or console that show it")
    log: str | None = Field(description="the path of the whole log")
    also: tuple[ErrorLine, ...] = Field(description="further errors of the same run")
    recipe: str = Field(default="", description="the recipe whose work failed, if it is of one")


class SummaryLine(Line):
    """What became of several recipes."""

    done: tuple[str, ...]
    failed: tuple[str, ...]
    not_done: tuple[str, ...] = Field(description="not begun, or stopped")
