"""Differences of images in words: lines for a terminal, Markdown for a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from imagebuilder.changes.difference import Difference
from imagebuilder.changes.model import Affected, Changes

NOTHING = "no effective change: no image differs"
_MOST = 60_000  # characters of a comment: those of GitHub take 65,536
_EFFECTS = {"image": "", "tests": "only its tests", "new": "new", "broken": "broken"}


def lines(differences: Sequence[Difference], indent: str = "  ") -> Iterator[str]:
    """Give differences, one a line, with what they show beneath."""
    for each in differences:
        place = f"  ({each.where.file}:{each.where.line})" if each.where and each.where.line else ""
        yield f"{indent}{each}{place}"
        for line in each.detail.splitlines():
            yield f"{indent}    {line}"


def text(changes: Changes) -> Iterator[str]:
    """Give what a change does in lines."""
    for each in changes.images:
        what = "" if each.effect == "image" else f" ({each.effect})"
        yield f"{each.name}{what}: {'; '.join(map(str, each.reasons))}"
        yield from lines(each.differences if each.effect != "new" else ())
        if each.error:
            yield f"  {each.error}"
    for name in changes.removed:
        yield f"{name}: removed"
    if not changes.images and not changes.removed:
        yield NOTHING


def markdown_of_two(old: str, new: str, differences: Sequence[Difference]) -> str:
    """Return how two recipes differ as Markdown."""
    head = f"#### {code(old)} → {code(new)}"
    said = "\n".join(items(differences)) or "**Nothing differs.**"
    return bounded(f"{head}\n\n{said}\n")


def markdown(changes: Changes) -> str:
    """Return what a change does as Markdown (CommonMark, with HTML's ``details``).

    Images that differ in the same things stand together.
    """
    if not changes.images and not changes.removed:
        return f"**{NOTHING[0].upper()}{NOTHING[1:]}.**\n"
    blocks = [f"**{_counted(len(changes.images))} affected.**"]
    alike: dict[object, list[Affected]] = {}
    for each in changes.images:
        said = tuple(map(str, each.differences)), each.effect, str(each.error or "")
        alike.setdefault(said, []).append(each)
    blocks += ["\n".join(_of_images(images)) for images in alike.values()]
    if changes.removed:
        blocks.append(f"Removed: {', '.join(map(code, changes.removed))}")
    return bounded("\n\n".join(blocks) + "\n")


def _counted(count: int) -> str:
    return "1 image is" if count == 1 else f"{count} images are"


def _of_images(images: Sequence[Affected]) -> Iterator[str]:
    first = images[0]
    names = ", ".join(code(each.name) for each in images)
    what = _EFFECTS[first.effect]
    yield f"#### {names}{f' ({what})' if what else ''}"
    yield ""
    if first.error:
        yield f"- {code(str(first.error).splitlines()[0])}"
    yield from items(first.differences if first.effect != "new" else ())
    reasons = dict.fromkeys(reason.path for each in images for reason in each.reasons)
    if reasons:
        yield ""
        yield f"because of {', '.join(map(code, reasons))}"


def items(differences: Sequence[Difference]) -> Iterator[str]:
    """Give differences as a list of Markdown; packages that came along are folded away."""
    along = [each for each in differences if each.note == "along"]
    for each in differences:
        if each.note == "along":
            continue
        yield f"- {code(str(each))}"
        if each.detail:
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", each.detail)), default=0))
            yield f"  <details><summary>{counted(len(each.detail.splitlines()), 'line')}</summary>"
            yield ""
            yield f"  {fence}diff"
            yield from (f"  {line}" for line in each.detail.splitlines())
            yield f"  {fence}"
            yield ""
            yield "  </details>"
    if along:
        yield ""
        yield f"<details><summary>along with others: {counted(len(along), 'package')}</summary>"
        yield ""
        yield from (
            f"- {code(f'{each.sign} {each.name}: {each.new or each.old}')}" for each in along
        )
        yield ""
        yield "</details>"


def counted(count: int, what: str) -> str:
    """Return a number of things."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def bounded(text: str) -> str:
    """Return a text that a comment has room for."""
    if len(text) <= _MOST:
        return text
    return f"{text[:_MOST]}\n\n… the rest is too long for a comment\n"


def code(text: str) -> str:
    """Return a text as it is, whatever signs are in it."""
    plain = " ".join(text.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{ticks}{pad}{plain}{pad}{ticks}"
