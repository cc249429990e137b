"""What the page of a build shows, gathered from the build's folder."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from imagebuilder import build_record, smoke
from imagebuilder.build import FAILED
from imagebuilder.build_record import BuildRecord
from imagebuilder.errors import InputError, Location
from imagebuilder.image import Image, Package
from imagebuilder.project import Project
from imagebuilder.report import timeline
from imagebuilder.report.since import Since
from imagebuilder.report.timeline import Timeline
from imagebuilder.report.treemap import Treemap, treemap
from imagebuilder.smoke import SmokeReport
from imagebuilder.smoke.report import BootReport

_TILES = 80  # packages of the treemap; the others are one tile
_LOGS = 200
_PICTURE = 2 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build: of an image, or one that failed.

    Attributes:
        name: the recipe.
        folder: where the image is, or the logs of what failed.
        image: the image; None if the build failed.
        record: how the build went; None if it is from before there were records.
        smoke: what the last test of the image found; None if there was none.
    """

    name: str
    folder: Path
    image: Image | None
    record: BuildRecord | None
    smoke: SmokeReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A file that the page links to."""

    name: str
    href: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BootView:
    """A boot of the test.

    Attributes:
        report: what was found.
        timeline: its stages; None: it came to none.
        details: a picture of stages, units and memory, as a ``data:`` URL; "" if there is none.
        screen: one of the screen at the end.
    """

    report: BootReport
    timeline: Timeline | None
    details: str
    screen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that the page shows.

    Attributes:
        build: the build.
        stages: when its parts ran.
        packages: what is installed, the largest first.
        wide: the treemap for a wide screen.
        narrow: the treemap for a phone.
        boots: the boots of the test.
        since: how it differs from the one before; None if there is none.
        since_missing: why there is nothing to compare with.
        logs: what the tools said.
        files: links to the image's files, by their names.
    """

    build: Build
    stages: Timeline | None
    packages: tuple[Package, ...]
    wide: Treemap
    narrow: Treemap
    boots: tuple[BootView, ...]
    since: Since | None
    since_missing: str
    logs: tuple[Log, ...]
    files: dict[str, str]


def find(project: Project, name: str, image_id: str = "") -> Build | None:
    """Return the last build of a recipe, or that of an image; None if there is none.

    Raises:
        InputError: the recipe is unknown, or the image that is named is not there.
    """
    place = project.build_dir / name
    failed = build_record.load(place / FAILED)
    if not image_id and failed:
        return Build(name=name, folder=place / FAILED, image=None, record=failed, smoke=None)
    if not image_id and not (place / "latest").exists():
        return None
    image = Image.open((place / (image_id or "latest")).resolve())
    if image.recipe != name:
        raise InputError(
            f"{image.path} holds an image of {image.recipe!r}, not of {name!r}",
            where=Location(file=str(image.path)),
        )
    return Build(
        name=name,
        folder=image.path,
        image=image,
        record=build_record.of_image(image),
        smoke=smoke.load_report(image),
    )


def gather(build: Build, since: Since | None, since_missing: str, page: Path) -> View:
    """Return what the page of a build shows.

    Args:
        build: the build.
        since: how it differs from the one before.
        since_missing: why there is nothing to compare with.
        page: where the page will be: links start there.
    """
    packages = _packages(build.image)
    largest = [(each.name, each.size) for each in packages[:_TILES]]
    rest = sum(each.size for each in packages[_TILES:])
    if rest:
        largest.append((f"{len(packages) - _TILES} more", rest))
    return View(
        build=build,
        stages=timeline.of_build(build.record) if build.record else None,
        packages=packages,
        wide=treemap(largest, 1100, 460),
        narrow=treemap(largest, 340, 520),
        boots=tuple(_boots(build)),
        since=since,
        since_missing=since_missing,
        logs=tuple(_logs(build, page)),
        files={
            each.name: _href(build.folder / each.name, page)
            for each in (build.image.facts.artefacts if build.image else ())
        },
    )


def _packages(image: Image | None) -> tuple[Package, ...]:
    if image is None:
        return ()
    try:
        found = image.packages().packages
    except (OSError, ValidationError) as error:
        raise InputError(
            "the list of packages cannot be read",
            where=Location(file=str(image.path)),
            fix=f"build it again: imagebuilder build -B {image.recipe}",
        ) from error
    return tuple(sorted(found, key=lambda each: (-each.size, each.name)))


def _boots(build: Build) -> Iterator[BootView]:
    for boot in build.smoke.boots if build.smoke else ():
        logs = build.folder / "smoke" / boot.logs
        yield BootView(
            report=boot,
            timeline=timeline.of_boot(boot.stages, boot.seconds) if boot.stages else None,
            details=_picture(logs, boot.timeline, "image/svg+xml"),
            screen=_picture(logs, boot.screenshot, "image/png"),
        )


def _picture(folder: Path, name: str, kind: str) -> str:
    """Return a picture as a URL; as one, nothing in it can run or load anything."""
    try:
        path = folder / name
        if not name or path.stat().st_size > _PICTURE:
            return ""
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError:
        return ""


def _logs(build: Build, page: Path) -> Iterator[Log]:
    tops = (
        (build.folder,) if build.image is None else (build.folder / "logs", build.folder / "smoke")
    )
    count = 0
    for top in tops:
        for path in sorted(each for each in top.rglob("*") if each.is_file()):
            hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
            if hidden or path == page or count >= _LOGS:
                continue
            count += 1
            name = os.fsencode(path.relative_to(build.folder)).decode(errors="replace")
            yield Log(name=name, href=_href(path, page), size=path.stat().st_size)


def _href(path: Path, page: Path) -> str:
    # A name such as "a:b" would be read as a scheme if nothing stood before it.
    return "./" + quote(os.fsencode(os.path.relpath(path.resolve(), page.parent.resolve())))
