"""The lines of a flat kickstart, each with the place that it came from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby
from typing import overload

from imagebuilder.errors import Location


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the flat kickstart.

    Attributes:
        text: the line, without its newline.
        where: the line of the fragment that it came from.
        via: how that fragment came in: the recipe's line that names the first one, then each
            ``%include``.
    """

    text: str
    where: Location
    via: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Lines that follow each other and came in the same way.

    Two are equal only if they are one: what follows from a block is kept for all kickstarts
    that have it.

    Attributes:
        file: the fragment.
        texts: the lines.
        numbers: for each the fragment's line, from 1, where it is known.
        keys: for each the recipe's key that holds it; empty for a fragment.
        via: as a :class:`Line` has it.
    """

    file: str
    texts: tuple[str, ...]
    numbers: tuple[int | None, ...]
    keys: tuple[str | None, ...] = ()
    via: tuple[Location, ...] = ()

    def where(self, n: int) -> Location:
        """Return the place of the line with that index."""
        return Location(
            file=self.file, line=self.numbers[n], key=self.keys[n] if self.keys else None
        )


class Lines(Sequence[Line]):
    """Lines in blocks, which recipes that share fragments share; a line is made when asked for.

    Attributes:
        blocks: the blocks; none is empty.
    """

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = tuple(block for block in blocks if block.texts)
        self._texts: tuple[str, ...] | None = None
        self._ends: list[int] | None = None

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Lines:
        """Return lines that were made one by one, in blocks."""
        if isinstance(lines, Lines):
            return lines
        groups = (
            (file, via, tuple(group))
            for (file, via), group in groupby(lines, lambda each: (each.where.file, each.via))
        )
        return cls(
            Block(
                file=file,
                texts=tuple(each.text for each in group),
                numbers=tuple(each.where.line for each in group),
                keys=tuple(each.where.key for each in group),
                via=via,
            )
            for file, via, group in groups
        )

    # Not by cached_property: until Python 3.12 it takes a lock, which costs more than most lines.
    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all lines."""
        if self._texts is None:
            self._texts = tuple(chain.from_iterable(block.texts for block in self.blocks))
        return self._texts

    @property
    def _starts(self) -> list[int]:
        if self._ends is None:
            self._ends = list(accumulate((len(block.texts) for block in self.blocks), initial=0))
        return self._ends

    def where(self, n: int) -> Location:
        """Return the place of the line with that index."""
        block, start = self._block(n)
        return block.where(n - start)

    def via(self, n: int) -> tuple[Location, ...]:
        """Return how the line with that index came in."""
        return self._block(n)[0].via

    def _block(self, n: int) -> tuple[Block, int]:
        at = bisect_right(self._starts, n) - 1
        return self.blocks[at], self._starts[at]

    @overload
    def __getitem__(self, n: int) -> Line: ...

    @overload
    def __getitem__(self, n: slice) -> tuple[Line, ...]: ...

    def __getitem__(self, n: int | slice) -> Line | tuple[Line, ...]:
        if isinstance(n, slice):
            return tuple(self[each] for each in range(*n.indices(len(self))))
        n = range(len(self))[n]
        return Line(self.texts[n], self.where(n), self.via(n))

    def __iter__(self) -> Iterator[Line]:
        for block in self.blocks:
            for n, text in enumerate(block.texts):
                yield Line(text, block.where(n), block.via)

    def __len__(self) -> int:
        return self._starts[-1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lines) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(self.texts)
