"""Timelines: what took how long, each part a bar, on a common scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagebuilder.build_record import BuildRecord

WIDTH = 1000  # units of the picture, which is stretched to the width of the page
_MARKS = 6  # at most
_LEAST = 3.0  # units that a bar is wide at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar: from where it reaches how far, in units of the picture, and what it stands for."""

    x: float
    width: float
    state: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of bars.

    Attributes:
        name: what it is about.
        note: more about it, for people.
        value: what stands at its end, such as its seconds.
        bars: in the order of time.
    """

    name: str
    note: str
    value: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A mark of the scale: where, in units of the picture, and what it says."""

    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Rows on a common scale."""

    seconds: float
    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]


def of_build(record: BuildRecord) -> Timeline:
    """Return the stages of a build: a row for each step, in the order of the plan."""
    known = {each.step: each for each in record.reasons}
    begun = list(dict.fromkeys(each.step for each in record.spans))
    planned = [each for each in known if each in begun or record.error is None]
    names = [*planned, *(each for each in begun if each not in known)]
    end = max([record.seconds, *(each.started + each.seconds for each in record.spans)])
    scale = _scale(end)
    rows: list[Row] = []
    for name in names:
        spans = [each for each in record.spans if each.step == name]
        made = [each for each in spans if each.outcome != "reused"]
        bars = tuple(
            _bar(
                each.started,
                each.seconds,
                scale,
                each.outcome,
                f"{each.text or name}: {spell(each.seconds)}",
            )
            for each in made
        )
        note = "; ".join(dict.fromkeys(each.text for each in spans if each.text))
        reason = known.get(name)
        is_reused = len(made) < len(spans) or (reason is not None and reason.reused)
        value = "reused" if is_reused else ""
        value = spell(sum(each.seconds for each in made)) if made else value
        rows.append(
            Row(name=name, note=note or (reason.text if reason else ""), value=value, bars=bars)
        )
    return Timeline(seconds=end, rows=tuple(rows), marks=_marks(scale))


def of_boot(stages: Mapping[str, float], seconds: float) -> Timeline:
    """Return the stages of a boot: each bar reaches from the stage before it to the stage.

    Args:
        stages: how many seconds after power-on each was reached.
        seconds: how long the whole took.
    """
    ordered: Sequence[tuple[str, float]] = sorted(stages.items(), key=lambda each: each[1])
    end = max([seconds, *stages.values()], default=0.0)
    scale = _scale(end)
    rows: list[Row] = []
    before = 0.0
    for name, at in ordered:
        bar = _bar(before, at - before, scale, "done", f"{name}: {spell(at - before)}")
        rows.append(
            Row(
                name=name,
                note=f"{spell(at - before)} after the one before",
                value=spell(at),
                bars=(bar,),
            )
        )
        before = at
    return Timeline(seconds=end, rows=tuple(rows), marks=_marks(scale))


def spell(seconds: float) -> str:
    """Return a span of time for people: ``0.4 s``, ``1 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def _bar(began: float, seconds: float, scale: float, state: str, title: str) -> Bar:
    width = max(seconds / scale * WIDTH, _LEAST)
    x = min(began / scale * WIDTH, WIDTH - width)
    return Bar(x=round(max(x, 0.0), 1), width=round(width, 1), state=state, title=title)


def _scale(seconds: float) -> float:
    return max(seconds, 0.1)


def _marks(scale: float) -> tuple[Mark, ...]:
    """Return marks at round numbers of seconds."""
    rough = scale / _MARKS
    base = 10 ** math.floor(math.log10(rough))
    step = next(base * each for each in (1, 2, 5, 10) if base * each >= rough)
    count = int(scale / step)
    return tuple(
        Mark(x=round(n * step / scale * WIDTH, 1), text=f"{n * step:g} s") for n in range(count + 1)
    )
