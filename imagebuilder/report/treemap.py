"""A treemap: sizes as areas, so that the eye finds what is large.

The layout is that of Bruls, Huizing and van Wijk (Squarified Treemaps, 2000): rows are filled
along the shorter side for as long as that makes their tiles more like squares.  It is short
enough to stand here; the library for it draws with numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LETTER = 6.6  # how wide a letter of the labels is at most, in units of the picture
_LINE = 15.0  # how high a line of them is
_COLOURS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One thing of a treemap, in units of the picture.

    Attributes:
        name: what it is.
        size: how large it is, in bytes.
        label: as much of its name as fits; "" if nothing does.
        has_size: whether its size fits below that.
        colour: which of the colours, from 0.
    """

    name: str
    size: int
    x: float
    y: float
    width: float
    height: float
    label: str
    has_size: bool
    colour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Treemap:
    """A picture of a width and a height, and what is in it."""

    width: int
    height: int
    tiles: tuple[Tile, ...]


def treemap(sizes: Sequence[tuple[str, int]], width: int, height: int) -> Treemap:
    """Lay out things of a size above 0; those come first that come first here."""
    wanted = [(name, size) for name, size in sizes if size > 0]
    total = sum(size for _, size in wanted)
    scale = width * height / total if total else 0.0
    found = _squares([size * scale for _, size in wanted], 0.0, 0.0, width, height)
    tiles = tuple(
        _tile(n, name, size, box)
        for n, ((name, size), box) in enumerate(zip(wanted, found, strict=True))
    )
    return Treemap(width=width, height=height, tiles=tiles)


_Box = tuple[float, float, float, float]  # x, y, width, height


def _tile(n: int, name: str, size: int, box: _Box) -> Tile:
    x, y, width, height = box
    letters = int((width - 8) / _LETTER)
    label = ""
    if height >= _LINE + 4 and letters >= 3:
        label = name if len(name) <= letters else f"{name[: letters - 1]}…"
    return Tile(
        name=name,
        size=size,
        x=round(x, 1),
        y=round(y, 1),
        width=round(width, 1),
        height=round(height, 1),
        label=label,
        has_size=bool(label) and height >= 2 * _LINE + 4 and letters >= 8,
        colour=n % _COLOURS,
    )


def _squares(
    areas: Sequence[float], x: float, y: float, width: float, height: float
) -> Iterator[_Box]:
    """Give the boxes of areas which fill a rectangle together."""
    start = 0
    while start < len(areas):
        side = min(width, height)
        end = start + 1
        while end < len(areas) and _worst(areas[start : end + 1], side) <= _worst(
            areas[start:end], side
        ):
            end += 1
        row = areas[start:end]
        deep = sum(row) / side if side else 0.0
        at = y if width >= height else x
        for area in row:
            long = area / deep if deep else 0.0
            yield (x, at, deep, long) if width >= height else (at, y, long, deep)
            at += long
        if width >= height:
            x, width = x + deep, max(width - deep, 0.0)
        else:
            y, height = y + deep, max(height - deep, 0.0)
        start = end


def _worst(row: Sequence[float], side: float) -> float:
    """Return how unlike a square the worst tile of a row is: 1 is a square."""
    whole = sum(row)
    if not whole or not side:
        return float("inf")
    return max(side**2 * max(row) / whole**2, whole**2 / (side**2 * min(row)))
