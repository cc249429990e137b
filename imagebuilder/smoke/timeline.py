"""A picture of a boot: its stages, systemd's critical chain, and the memory that it took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from imagebuilder.smoke.chain import Link, Sample
from imagebuilder.smoke.stages import KERNEL_STARTED, POWER_ON

_WIDTH, _LABELS, _MARGIN, _ROW = 980, 260, 16, 22
_PLOT = _WIDTH - _LABELS - 2 * _MARGIN - 60  # 60: room for a time after the last bar
_MEMORY_HEIGHT = 110
_TICKS = 8  # at most so many on the axis
_LETTERS, _WORDS = 37, 140  # of a label, and of the line below the title, that surely fit
_STAGE, _UNIT, _MEMORY, _GRID, _TEXT, _FAILED = (
    "#4477aa",
    "#228833",
    "#aa6644",
    "#dddddd",
    "#222222",
    "#cc3311",
)


def timeline_svg(
    title: str,
    *,
    stages: Mapping[str, float],
    seconds: float,
    chain: Sequence[Link] = (),
    samples: Sequence[Sample] = (),
    failure: str = "",
) -> bytes:
    """Return the picture, an SVG document.

    Args:
        title: of the picture.
        stages: what was reached, in seconds since power-on.
        seconds: how long the machine ran.
        chain: what systemd waited for; drawn from the first unit to the target.
        samples: of the guest's memory.
        failure: why the boot failed, if it did.
    """
    return _Picture(seconds).draw(title, stages, chain, samples, failure)


class _Picture:
    def __init__(self, seconds: float) -> None:
        self._seconds = max(seconds, 1.0)
        self._y = 0.0
        self._svg = Element(
            "svg",
            xmlns="http://www.w3.org/2000/svg",
            style="font-family: sans-serif; font-size: 12px",
        )

    def draw(
        self,
        title: str,
        stages: Mapping[str, float],
        chain: Sequence[Link],
        samples: Sequence[Sample],
        failure: str,
    ) -> bytes:
        background = SubElement(self._svg, "rect", width="100%", height="100%", fill="#ffffff")
        grid = SubElement(self._svg, "g")
        self._heading(title)
        if failure:
            self._text(_MARGIN, _shortened(failure, _WORDS), _FAILED)
            self._y += _ROW
        top = self._y
        self._stages(stages, failed=bool(failure))
        kernel = stages.get(KERNEL_STARTED)
        if kernel is not None and chain:
            self._subheading("systemd's critical chain")
            for link in reversed(chain):
                self._bar(link.unit, kernel + link.start, link.seconds, _UNIT)
        if kernel is not None and samples:
            self._subheading("memory in use, MiB")
            self._memory(kernel, samples)
        self._grid(grid, top)
        height = str(math.ceil(self._y + 2 * _ROW))
        self._svg.set("width", str(_WIDTH))
        self._svg.set("height", height)
        self._svg.set("viewBox", f"0 0 {_WIDTH} {height}")
        background.set("height", height)
        return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(self._svg) + b"\n"

    def _stages(self, stages: Mapping[str, float], *, failed: bool) -> None:
        before, name = 0.0, POWER_ON
        for name, at in sorted(stages.items(), key=lambda item: item[1]):
            self._bar(name, before, at - before, _STAGE)
            before = at
        if failed:
            self._bar(f"after: {name}", before, self._seconds - before, _FAILED)

    def _memory(self, kernel: float, samples: Sequence[Sample]) -> None:
        top, total = self._y, max(each.total for each in samples)
        bottom = top + _MEMORY_HEIGHT
        peak = max(each.total - each.available for each in samples)
        scale = _MEMORY_HEIGHT / max(peak, 1.0)
        points = [
            (
                self._x(kernel + each.seconds),
                bottom - (each.total - each.available) * scale,
            )
            for each in samples
        ]
        outline = [(points[0][0], bottom), *points, (points[-1][0], bottom)]
        area = SubElement(
            self._svg,
            "polygon",
            points=" ".join(f"{x:.1f},{y:.1f}" for x, y in outline),
            fill=_MEMORY,
        )
        area.set("fill-opacity", "0.5")
        self._y = top - 8
        self._text(_MARGIN, f"most at once: {peak:.0f}, of {total:.0f}", _TEXT)
        self._y = bottom + 4

    def _bar(self, label: str, start: float, seconds: float, colour: str) -> None:
        self._text(_MARGIN, _shortened(label, _LETTERS), _TEXT)
        width = max(self._x(start + seconds) - self._x(start), 1.5)
        bar = SubElement(
            self._svg,
            "rect",
            x=f"{self._x(start):.1f}",
            y=f"{self._y + 4:.1f}",
            width=f"{width:.1f}",
            height=str(_ROW - 8),
            fill=colour,
        )
        SubElement(bar, "title").text = f"{label}: from {start:.1f} s, {seconds:.1f} s"
        self._text(self._x(start) + width + 4, f"{seconds:.1f} s", _TEXT)
        self._y += _ROW

    def _grid(self, group: Element, top: float) -> None:
        step = next(
            each
            for each in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 36000)
            if self._seconds / each <= _TICKS or each == 36000
        )
        for tick in range(0, int(self._seconds) + 1, step):
            x = f"{self._x(tick):.1f}"
            SubElement(
                group, "line", x1=x, x2=x, y1=f"{top:.1f}", y2=f"{self._y:.1f}", stroke=_GRID
            )
            self._text(self._x(tick), f"{tick} s", _TEXT)

    def _heading(self, title: str) -> None:
        self._y = 8
        self._text(_MARGIN, title, _TEXT, bold=True)
        self._y += _ROW

    def _subheading(self, title: str) -> None:
        self._y += 8
        self._text(_MARGIN, title, _TEXT, bold=True)
        self._y += _ROW

    def _text(self, x: float, text: str, colour: str, *, bold: bool = False) -> None:
        element = SubElement(
            self._svg, "text", x=f"{x:.1f}", y=f"{self._y + _ROW - 7:.1f}", fill=colour
        )
        if bold:
            element.set("font-weight", "bold")
        element.text = text

    def _x(self, seconds: float) -> float:
        return _MARGIN + _LABELS + min(seconds / self._seconds, 1.0) * _PLOT


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
