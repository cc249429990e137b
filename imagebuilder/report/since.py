"""How an image differs from the one before it: the last release, or the last build here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.catalog import Catalog
from imagebuilder.comparison import Comparison, compare_images
from imagebuilder.errors import InputError
from imagebuilder.growth import last_other_release
from imagebuilder.image import FACTS, Image
from imagebuilder.options import Options
from imagebuilder.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """How an image differs from the one before it.

    Attributes:
        what: what it is compared with, for people.
        version: its version or image id.
        found: the differences; files are not looked into, since they would have to be fetched.
        sizes: by the name of the file, the bytes that it had.
    """

    what: str
    version: str
    found: Comparison
    sizes: Mapping[str, int]


def since_release(
    project: Project, image: Image, catalog: Catalog, channel: str, options: Options
) -> Since | None:
    """Compare an image with the newest release of a channel that is another image.

    Returns:
        None if there is no such release.

    Raises:
        CatalogError: the catalog cannot be reached, or holds what it must not.
    """
    release = last_other_release(catalog, image, channel)
    if release is None:
        return None
    return Since(
        what=f"the last release in channel {channel}",
        version=release.version,
        found=compare_images(
            release, image, project=project, catalog=catalog, files=False, options=options
        ),
        sizes={each.name: each.size for each in release.artefacts},
    )


def since_build(project: Project, image: Image, options: Options) -> Since | None:
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
    return Since(
        what="the image that was built before it",
        version=f"{before.id}, built {before.facts.created}",
        found=compare_images(before, image, project=project, files=False, options=options),
        sizes={each.name: each.size for each in before.facts.artefacts},
    )


def _age(image: Image) -> tuple[str, int]:
    """Return by what images are sorted: when they were built, the oldest first."""
    return image.facts.created, (image.path / FACTS).stat().st_mtime_ns


def _folders(place: Path) -> list[Path]:
    return [each for each in place.iterdir() if each.is_dir() and not each.is_symlink()]
