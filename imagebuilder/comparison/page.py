"""Differences as one page of HTML that needs nothing else.

All text is escaped by the template, and there are no scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import webpage
from imagebuilder.changes import Affected, Changes, Difference
from imagebuilder.comparison.images import Comparison
from imagebuilder.comparison.measures import Measure

_PAGE = webpage.load(Path(__file__).with_name("page.html"))
_SIGNS = {"+": "added", "-": "removed", "~": "changed"}
_NOTES = {"security": "security update", "down": "a step back", "along": "along with others"}
_EFFECTS = {"image": "", "tests": "only its tests", "new": "new", "broken": "broken"}
# What each kind of difference is called as a heading, in the order of the page.
_HEADINGS = {
    "kernel": "kernel",
    "kernel argument": "kernel arguments",
    "package": "packages",
    "unit": "units",
    "user": "users",
    "group": "groups",
    "port": "open ports",
    "file": "files",
    "script": "scripts",
    "initrd driver": "drivers in the initrd",
    "initrd module": "modules of dracut in the initrd",
    "initrd file": "files in the initrd",
    "test": "tests",
    "check": "checks",
    "repository": "repositories",
    "setting": "settings",
    "kickstart command": "kickstart commands",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Images that differ in the same things.

    Attributes:
        names: what they are called.
        new: of a comparison, what the second image is called; "".
        effect: what a change does to them, if it is more than that they differ.
        error: what is wrong with their recipe.
        groups: the differences by kind.
        measures: sizes and times.
        remarks: what the reader should know.
    """

    names: tuple[str, ...]
    new: str = ""
    effect: str = ""
    error: str = ""
    groups: tuple[tuple[str, tuple[Difference, ...]], ...] = ()
    measures: tuple[Measure, ...] = ()
    remarks: tuple[str, ...] = ()


def of_comparisons(comparisons: Sequence[Comparison]) -> str:
    """Return comparisons of images as a page."""
    sections = [
        Section(
            names=(each.old,),
            new=each.new,
            groups=groups(each.differences),
            measures=each.measures,
            remarks=(*each.notes, *(() if each.with_files else ("Files were not compared.",))),
        )
        for each in comparisons
    ]
    count = sum(not each.is_same for each in comparisons)
    said = f"{count} of {len(comparisons)} images differ." if len(comparisons) != 1 else ""
    return _page("How images differ", said, sections)


def of_recipes(old: str, new: str, differences: Sequence[Difference]) -> str:
    """Return how two recipes differ as a page."""
    section = Section(names=(old,), new=new, groups=groups(differences))
    return _page("How recipes differ", "", [section])


def of_changes(changes: Changes) -> str:
    """Return what a change does to images as a page."""
    alike: dict[object, list[Affected]] = {}
    for each in changes.images:
        said = tuple(map(str, each.differences)), each.effect, str(each.error or "")
        alike.setdefault(said, []).append(each)
    sections = [_of_images(images) for images in alike.values()]
    if changes.removed:
        sections.append(Section(names=changes.removed, effect="removed"))
    affected = len(changes.images)
    count = "1 image is" if affected == 1 else f"{affected} images are"
    return _page("What this change does to images", f"{count} affected.", sections)


def _of_images(images: Sequence[Affected]) -> Section:
    first = images[0]
    # Of one image how each comes in; of several that would be a list for each.
    reasons = dict.fromkeys(
        str(reason) if len(images) == 1 else reason.path
        for each in images
        for reason in each.reasons
    )
    return Section(
        names=tuple(each.name for each in images),
        effect=_EFFECTS[first.effect],
        error=str(first.error or ""),
        groups=groups(first.differences if first.effect != "new" else ()),
        remarks=(f"because of {'; '.join(reasons)}",) if reasons else (),
    )


def groups(differences: Sequence[Difference]) -> tuple[tuple[str, tuple[Difference, ...]], ...]:
    """Return differences by their kind, each kind under its heading."""
    kinds = dict.fromkeys((*_HEADINGS, *(each.kind for each in differences)))
    found = ((kind, tuple(each for each in differences if each.kind == kind)) for kind in kinds)
    return tuple((_HEADINGS.get(kind, kind), each) for kind, each in found if each)


def _page(title: str, summary: str, sections: Sequence[Section]) -> str:
    return _PAGE.render(title=title, summary=summary, sections=sections, signs=_SIGNS, notes=_NOTES)
