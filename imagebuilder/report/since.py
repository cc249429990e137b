"""What an image has that the one before it had not: the last release, or the last build here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from imagebuilder import distro
from imagebuilder.catalog import Catalog, Change, Release
from imagebuilder.catalog.packages import package_list
from imagebuilder.changes import Difference, find_changes
from imagebuilder.debversion import DebianVersion
from imagebuilder.errors import CatalogError, HostError, ImageBuilderError, InputError
from imagebuilder.image import FACTS, Image, ImageFacts, Package
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

Kind = Literal["added", "removed", "newer", "older", "another"]
_ORDER: tuple[Kind, ...] = ("added", "removed", "newer", "older", "another")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChange:
    """A package that differs; ``old`` or ``new`` is "" where there is none."""

    name: str
    old: str
    new: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """How an image differs from the one before it.

    Attributes:
        what: what it is compared with, for people.
        version: its version or image id.
        facts: kernel, kernel arguments and the like.
        packages: by what happened to them, then by name.
        sizes: by the name of the file, the bytes that it had.
        recipe: how the recipe differs, if the commit of the other one is known here.
        not_compared: why the recipes were not compared; "".
    """

    what: str
    version: str
    facts: tuple[Change, ...]
    packages: tuple[PackageChange, ...]
    sizes: Mapping[str, int]
    recipe: tuple[Difference, ...] = ()
    not_compared: str = ""

    @property
    def nothing(self) -> bool:
        """Whether there is no difference to show."""
        return not (self.facts or self.packages or self.recipe)


def since_release(
    project: Project, image: Image, catalog: Catalog, channel: str, reporter: Reporter
) -> Since | None:
    """Compare an image with the newest release of a channel that is another image.

    Returns:
        None if there is no such release.

    Raises:
        CatalogError: the catalog cannot be reached, or holds what it must not.
    """
    release = _last_other(catalog, image, channel)
    if release is None:
        return None
    artefact = release.artefact("packages")
    before = package_list(catalog.store, artefact, reporter) if artefact else ()
    recipe, why_not = _recipe(project, image.recipe, release.git_commit, reporter)
    return Since(
        what=f"the last release in channel {channel}",
        version=release.version,
        facts=_changes(_of_release(release), _of_facts(image.facts)),
        packages=_packages(before, image.packages().packages, image.facts.distro),
        sizes={each.name: each.size for each in release.artefacts},
        recipe=recipe,
        not_compared=why_not,
    )


def since_build(image: Image) -> Since | None:
    """Compare an image with the one that was built before it and is still there."""
    older: list[Image] = []
    for path in _folders(image.path.resolve().parent):
        try:
            found = Image.open(path)
        except InputError:
            continue
        if found.id != image.id and _age(found) < _age(image):
            older.append(found)
    if not older:
        return None
    before = max(older, key=_age)
    try:
        packages = before.packages().packages
    except (OSError, ValidationError):
        return None
    return Since(
        what="the image that was built before it",
        version=f"{before.id}, built {before.facts.created}",
        facts=_changes(_of_facts(before.facts), _of_facts(image.facts)),
        packages=_packages(packages, image.packages().packages, image.facts.distro),
        sizes={each.name: each.size for each in before.facts.artefacts},
        not_compared="only a release says which commit it is of",
    )


def _age(image: Image) -> tuple[str, int]:
    """Return by what images are sorted: when they were built, the oldest first."""
    return image.facts.created, (image.path / FACTS).stat().st_mtime_ns


def _folders(place: Path) -> list[Path]:
    return [each for each in place.iterdir() if each.is_dir() and not each.is_symlink()]


def _last_other(catalog: Catalog, image: Image, channel: str) -> Release | None:
    """Return the newest release that a channel named and that is of another image."""
    try:
        moves = catalog.history(image.recipe, channel)
    except CatalogError:
        if any(each.channel == channel for each in catalog.channels(image.recipe)):
            raise
        return None
    for move in reversed(moves):
        if not move.release.endswith(image.id):
            return catalog.show(image.recipe, move.release)
    return None


def _recipe(
    project: Project, name: str, commit: str, reporter: Reporter
) -> tuple[tuple[Difference, ...], str]:
    """Return how the recipe differs from what it was at a commit, or why nobody can say."""
    if not commit:
        return (), "the release does not say which commit it is of"
    try:
        found = find_changes(
            project, since=commit.removesuffix("-dirty"), in_detail=True, cancel=reporter.cancel
        )
    except (InputError, HostError) as error:
        return (), error.what
    one = next((each for each in found.images if each.name == name), None)
    if one is None:
        return (), ""
    if one.error or one.effect == "new":
        return (), str(one.error or "the recipe is new").splitlines()[0]
    return one.differences, ""


def _of_release(release: Release) -> dict[str, str]:
    return _facts(release.distro, release.engine, release.kernel_release, release.kernel_args)


def _of_facts(facts: ImageFacts) -> dict[str, str]:
    return _facts(facts.distro, facts.engine, facts.kernel_release, facts.kernel_args)


def _facts(distro_id: str, engine: str, kernel: str, args: tuple[str, ...]) -> dict[str, str]:
    return {
        "distro": distro_id,
        "engine": engine,
        "kernel": kernel,
        **{f"kernel argument {each}": "set" for each in args},
    }


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change(name=each, old=old.get(each, ""), new=new.get(each, ""))
        for each in sorted({*old, *new})
        if old.get(each, "") != new.get(each, "")
    )


def _packages(
    old: tuple[Package, ...], new: tuple[Package, ...], distro_id: str
) -> tuple[PackageChange, ...]:
    before = {f"{each.name}:{each.arch}": each for each in old}
    after = {f"{each.name}:{each.arch}": each for each in new}
    found: list[PackageChange] = []
    for key in {*before, *after}:
        was, now = before.get(key), after.get(key)
        first, second = was.version if was else "", now.version if now else ""
        if first != second:
            name = (now or was or new[0]).name
            found.append(
                PackageChange(
                    name=name, old=first, new=second, kind=_kind(first, second, distro_id)
                )
            )
    return tuple(sorted(found, key=lambda each: (_ORDER.index(each.kind), each.name)))


def _kind(old: str, new: str, distro_id: str) -> Kind:
    if not old:
        return "added"
    if not new:
        return "removed"
    try:
        if distro.find(distro_id).family == "debian":
            return "newer" if DebianVersion(old) < DebianVersion(new) else "older"
    except ImageBuilderError:
        pass  # a distro or a version that is not known here
    return "another"
