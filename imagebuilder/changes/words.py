"""Differences of images in words: lines for a terminal, Markdown for a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from imagebuilder.changes.affected import Affected, Changes
from imagebuilder.changes.compare import Difference

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
        blocks.append(f"Removed: {', '.join(map(_code, changes.removed))}")
    text = "\n\n".join(blocks) + "\n"
    if len(text) > _MOST:
        text = f"{text[:_MOST]}\n\n… the rest is too long for a comment\n"
    return text


def _counted(count: int) -> str:
    return "1 image is" if count == 1 else f"{count} images are"


def _of_images(images: Sequence[Affected]) -> Iterator[str]:
    first = images[0]
    names = ", ".join(_code(each.name) for each in images)
    what = _EFFECTS[first.effect]
    yield f"#### {names}{f' ({what})' if what else ''}"
    yield ""
    if first.error:
        yield f"- {_code(str(first.error).splitlines()[0])}"
    for each in first.differences if first.effect != "new" else ():
        yield f"- {_code(str(each))}"
        if each.detail:
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", each.detail)), default=0))
            yield f"  <details><summary>{len(each.detail.splitlines())} lines</summary>"
            yield ""
            yield f"  {fence}diff"
            yield from (f"  {line}" for line in each.detail.splitlines())
            yield f"  {fence}"
            yield ""
            yield "  </details>"
    reasons = dict.fromkeys(reason.path for each in images for reason in each.reasons)
    if reasons:
        yield ""
        yield f"because of {', '.join(map(_code, reasons))}"


def _code(text: str) -> str:
    """Return a text as it is, whatever signs are in it."""
    plain = " ".join(text.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{ticks}{pad}{plain}{pad}{ticks}"
