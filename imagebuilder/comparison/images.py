"""How two images differ in what a machine gets, thing by thing.

What follows from a thing that is told of is not told of again: the files of a package that was
added are the package's, the rules of a firewall its ports'.  Times of files never count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.changes import Difference
from imagebuilder.changes.compare import compare_kickstarts
from imagebuilder.changes.words import counted
from imagebuilder.comparison import accounts, aspects, boots, files, initrd, packages, units
from imagebuilder.comparison.measures import Measure
from imagebuilder.comparison.members import of_initrd
from imagebuilder.comparison.roots import of_root
from imagebuilder.comparison.side import Side
from imagebuilder.image import INITRD, KERNEL, ROOTFS
from imagebuilder.lockfile import Change
from imagebuilder.progress import Cancel

_MOST_FILES = 500  # that are told of
_FIREWALL = frozenset(("etc/nftables.conf",))  # what the ports of a kickstart are written to
# What of a kickstart is told of where its effect cannot be seen in the files.
_PORTS = ("port",)

# Says of which packages a change brings a security update; None: it is not known.
Security = Callable[[Sequence[Change]], Collection[str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two images differ.

    Attributes:
        old: what people call the first.
        new: what they call the second.
        differences: thing by thing; empty: no effective change.
        measures: sizes, counts and times of both.
        with_files: whether the files in root and initrd were compared.
        notes: what the reader should know: what could not be compared.
    """

    old: str
    new: str
    differences: tuple[Difference, ...]
    measures: tuple[Measure, ...]
    with_files: bool
    notes: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether there is no effective change."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "old": self.old,
            "new": self.new,
            "same": self.is_same,
            "differences": [each.to_dict() for each in self.differences],
            "measures": [each.to_dict() for each in self.measures],
            "with_files": self.with_files,
            "notes": list(self.notes),
        }


def compare_sides(
    old: Side,
    new: Side,
    *,
    work: Path,
    cancel: Cancel,
    security: Security = lambda _: None,
) -> Comparison:
    """Say how two images differ.

    Args:
        old: one image.
        new: the other.
        work: an empty folder, for as much as both root file systems have.
        cancel: the request to stop.
        security: says which packages of a change bring a security update.

    Raises:
        StepError: a root file system or an initrd cannot be read.
        HostError: a program that reads them is not installed.
        Interrupted: somebody asked to stop.
    """
    notes = list(dict.fromkeys((*old.notes, *new.notes)))
    safer = security(_changes(old, new))
    if safer is None and any(each.old and each.new for each in _changes(old, new)):
        notes.append("which updates are security updates is not known: no package index has them")
    found = [
        *_of_kernel(old, new),
        *packages.differences(
            old.packages, new.packages, safer or (), _wishes(old, new), _wishes(new, old)
        ),
    ]
    with_files = bool(old.folder and new.folder)
    if with_files:
        found += _of_files(old, new, found, notes, work, cancel)
    else:
        found += _of_kickstarts(old, new)
    found += _of_components(old, new)
    found += boots.differences(old.boots, new.boots)
    found += _unexplained(old, new, found, with_files=with_files)
    return Comparison(
        old=old.label,
        new=new.label,
        differences=tuple(found),
        measures=tuple(_measures(old, new)),
        with_files=with_files,
        notes=tuple(notes),
    )


def _changes(old: Side, new: Side) -> list[Change]:
    before, after = packages.by_name(old.packages), packages.by_name(new.packages)
    return [
        Change(
            name=name,
            old=before[name].version if name in before else "",
            new=after[name].version if name in after else "",
        )
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _wishes(here: Side, there: Side) -> frozenset[str]:
    """Return the packages that the kickstart of one side asks for, and that of the other not."""
    asked = [
        {each.name for each in side.kickstart.packages if not each.excluded}
        if side.kickstart
        else set[str]()
        for side in (here, there)
    ]
    return frozenset(asked[0] - asked[1])


def _of_kernel(old: Side, new: Side) -> Iterator[Difference]:
    if old.distro != new.distro:
        yield Difference(kind="setting", name="distro", old=old.distro, new=new.distro)
    if old.rootfs != new.rootfs:
        kinds = [each.rootfs.removeprefix("rootfs.") for each in (old, new)]
        yield Difference(kind="setting", name="image.filesystem", old=kinds[0], new=kinds[1])
    if old.kernel != new.kernel and old.kernel and new.kernel:
        yield Difference(kind="kernel", name="release", old=old.kernel, new=new.kernel)
    before, after = Counter(old.kernel_args), Counter(new.kernel_args)
    for word in dict.fromkeys((*old.kernel_args, *new.kernel_args)):
        if bool(before[word]) != bool(after[word]):
            yield Difference(
                kind="kernel argument",
                name=word,
                old="yes" if before[word] else "",
                new="yes" if after[word] else "",
            )
        elif before[word] != after[word]:
            said = [counted(count[word], "time") for count in (before, after)]
            yield Difference(kind="kernel argument", name=word, old=said[0], new=said[1])
    if before == after and old.kernel_args != new.kernel_args:
        # The last of several that contradict each other holds.
        said = [" ".join(each) for each in (old.kernel_args, new.kernel_args)]
        yield Difference(kind="kernel argument", name="(their order)", old=said[0], new=said[1])


def _of_kickstarts(old: Side, new: Side, only: Collection[str] = ()) -> Iterator[Difference]:
    """Give what kickstarts ask for otherwise, beside packages and kernel arguments."""
    if old.kickstart is None or new.kickstart is None:
        return
    for each in compare_kickstarts(old.kickstart, new.kickstart):
        if each.kind in only if only else each.kind != "package":
            yield each


def _of_files(
    old: Side, new: Side, told: Sequence[Difference], notes: list[str], work: Path, cancel: Cancel
) -> Iterator[Difference]:
    assert old.folder
    assert new.folder
    other = {each.name for each in told if each.kind == "package"}
    ports = list(_of_kickstarts(old, new, _PORTS))
    yield from ports
    explained: set[str] = set()
    if old.artefacts.get(ROOTFS) != new.artefacts.get(ROOTFS):
        before, after = (
            of_root(folder / side.rootfs, work, cancel)
            for side, folder in ((old, old.folder), (new, new.folder))
        )
        yield from units.differences(before, after)
        yield from aspects.differences("user", accounts.users(before), accounts.users(after))
        yield from aspects.differences("group", accounts.groups(before), accounts.groups(after))
        theirs = packages.files_of(other, (before, after))
        paths, likely = [], 0
        for path in files.changed(before, after):
            is_packages = path in theirs or (
                bool(other) and packages.is_made(path, before.get(path), after.get(path))
            )
            is_unit = units.is_told(path, before) or units.is_told(path, after)
            if is_packages or is_unit or path in accounts.FILES:
                explained.add(path)
            elif other and packages.is_likely(path, new.packages.manager):
                explained.add(path)
                likely += 1
            elif not (ports and path in _FIREWALL):
                paths.append(path)
        if likely:
            notes.append(f"below /usr, {counted(likely, 'file')} taken for those of the packages")
        explained.update(paths)
        yield from _bounded(files.differences(before, after, paths), notes)
    if old.artefacts.get(INITRD) != new.artefacts.get(INITRD):
        before, after = (
            of_initrd(each / INITRD, work, cancel) for each in (old.folder, new.folder)
        )
        yield from initrd.differences(before, after)
        # It is made of files of the root: what differs there differs here, and is told of there.
        paths = [
            path
            for path in files.changed(before, after)
            if path not in explained
            and not initrd.is_told(path)
            and not (other and packages.is_made(path))
        ]
        yield from _bounded(files.differences(before, after, paths, "initrd file"), notes)


def _bounded(found: Iterator[Difference], notes: list[str]) -> Iterator[Difference]:
    more = 0
    for n, each in enumerate(found):
        if n < _MOST_FILES:
            yield each
        else:
            more += 1
    if more:
        notes.append(f"{more} more files differ")


def _of_components(old: Side, new: Side) -> Iterator[Difference]:
    """Give the components that bills of materials call otherwise, though they are the same."""
    if old.components is None or new.components is None:
        return
    same = {
        name
        for name, package in packages.by_name(old.packages).items()
        if packages.by_name(new.packages).get(name) == package
    }
    for name in sorted({*old.components, *new.components}):
        was, now = old.components.get(name, ""), new.components.get(name, "")
        is_package = name.rpartition(":")[0] in {
            *packages.by_name(old.packages), *packages.by_name(new.packages),
        }  # fmt: skip
        if was != now and (not is_package or name.rpartition(":")[0] in same):
            yield Difference(kind="component", name=name, old=was, new=now)


def _unexplained(
    old: Side, new: Side, found: Sequence[Difference], *, with_files: bool
) -> Iterator[Difference]:
    """Give the artefacts that differ though nothing that was looked at does."""
    looked = {KERNEL} if with_files else {KERNEL, INITRD, ROOTFS}
    if any(each.kind not in ("kernel argument", "test") for each in found):
        return
    for name in (KERNEL, INITRD, ROOTFS):
        was, now = old.artefacts.get(name), new.artefacts.get(name)
        if name in looked and was and now and was[1] != now[1]:
            why = "" if with_files or name == KERNEL else "; --files says how"
            yield Difference(
                kind="artefact", name=name, old=f"{was[1][:12]}…", new=f"{now[1][:12]}…{why}"
            )


def _measures(old: Side, new: Side) -> Iterator[Measure]:
    for name in (ROOTFS, INITRD, KERNEL):
        sizes = [side.artefacts[name][0] if name in side.artefacts else None for side in (old, new)]
        if sizes != [None, None]:
            if name == ROOTFS:
                name = old.rootfs if old.rootfs == new.rootfs else "rootfs"
            yield Measure(name=name, old=sizes[0], new=sizes[1], unit="bytes")
    yield Measure(name="files, unpacked", old=old.tree_size, new=new.tree_size, unit="bytes")
    counts = [len(side.packages.packages) for side in (old, new)]
    yield Measure(name="packages", old=counts[0], new=counts[1], unit="")
    parts = [None if side.components is None else len(side.components) for side in (old, new)]
    yield Measure(name="components of the SBOM", old=parts[0], new=parts[1], unit="")
    yield from boots.measures(old.boots, new.boots)
