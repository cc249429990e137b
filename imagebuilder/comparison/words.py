"""Comparisons of images in words: lines for a terminal, Markdown for a comment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagebuilder.changes.words import bounded, code, items, lines
from imagebuilder.comparison.images import Comparison

NOTHING = "no effective change"


def text(comparison: Comparison) -> Iterator[str]:
    """Give a comparison in lines."""
    same = f": {NOTHING}" if comparison.is_same else ""
    yield f"{comparison.old} → {comparison.new}{same}"
    yield from lines(comparison.differences)
    for measure in comparison.measures:
        if measure.change:
            yield f"    {measure}"
    for note in comparison.notes:
        yield f"  note: {note}"
    if not comparison.with_files:
        yield "  note: files were not compared (--files does)"


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Return comparisons as Markdown (CommonMark, with HTML's ``details``).

    Sizes and times follow from what differs: they are folded away.
    """
    blocks = ["\n".join(_of(each)) for each in comparisons]
    return bounded("\n\n".join(blocks) + "\n")


def _of(comparison: Comparison) -> Iterator[str]:
    yield f"#### {code(comparison.old)} → {code(comparison.new)}"
    yield ""
    if comparison.is_same:
        yield f"**{NOTHING[0].upper()}{NOTHING[1:]}.**"
    yield from items(comparison.differences)
    moved = [each for each in comparison.measures if each.change]
    if moved:
        yield ""
        said = ", ".join(f"{each.name} {each.change}" for each in moved[:_NAMED])
        yield f"<details><summary>sizes and times: {said}</summary>"
        yield ""
        yield "| | before | after | |"
        yield "| --- | --- | --- | --- |"
        for each in comparison.measures:
            row = [each.name, each.shown(each.old), each.shown(each.new), each.change]
            yield f"| {' | '.join(row)} |"
        yield ""
        yield "</details>"
    notes = list(comparison.notes)
    if not comparison.with_files:
        notes.append("files were not compared")
    for note in notes:
        yield ""
        yield f"<sub>{_plain(note)}</sub>"


_NAMED = 3  # measures in the folded line


def _plain(text: str) -> str:
    """Return a text that is no HTML and no Markdown, whatever is in it."""
    return code(text)
