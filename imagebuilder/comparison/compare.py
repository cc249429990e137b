"""Comparing what people name: an image's folder, a release of a catalog, a recipe."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagebuilder import cache, engines
from imagebuilder.catalog import Catalog, Release
from imagebuilder.comparison.images import Comparison, compare_sides
from imagebuilder.comparison.planned import of_plan
from imagebuilder.comparison.released import of_release
from imagebuilder.comparison.side import Side, of_image
from imagebuilder.engines import LockingEngine, Request
from imagebuilder.errors import HostError, ImageBuilderError, InputError, Interrupted
from imagebuilder.image import FACTS, Image
from imagebuilder.kickstart import compose
from imagebuilder.lockfile import Change
from imagebuilder.names import NAME_PATTERN
from imagebuilder.options import Options
from imagebuilder.plan import Plan, make_plan
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

if TYPE_CHECKING:
    from imagebuilder.catalog.trust import Trust

_RELEASE = re.compile(rf"(?P<name>{NAME_PATTERN.strip('^$')})@(?P<which>[A-Za-z0-9._-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a text names.

    Attributes:
        kind: ``image``, ``release`` or ``recipe``.
        name: of a release and a recipe: the recipe.
        which: of a release: its version, or a channel.
        path: of an image: its folder.
    """

    kind: Literal["image", "release", "recipe"]
    name: str = ""
    which: str = ""
    path: Path | None = None

    @classmethod
    def read(cls, text: str, root: Path = Path()) -> Named:
        """Take a text apart: a folder, ``NAME@CHANNEL``, ``NAME@VERSION``, or a recipe's name.

        Args:
            text: what is named.
            root: where a folder is looked for, too: the project's.
        """
        for folder in (Path(text), root / text):
            if (folder / FACTS).is_file():
                return cls(kind="image", path=folder)
        if "/" in text:
            raise InputError(
                f"{text} holds no image (no {FACTS})", fix="build it: imagebuilder build NAME"
            )
        found = _RELEASE.fullmatch(text)
        if found:
            return cls(kind="release", name=found["name"], which=found["which"])
        return cls(kind="recipe", name=text)


def compare_images(
    old: Named | Image | Release | Plan,
    new: Named | Image | Release | Plan,
    *,
    project: Project | None = None,
    catalog: Catalog | None = None,
    trust: Trust | None = None,
    files: bool | None = None,
    options: Options | None = None,
) -> Comparison:
    """Say how two images differ, thing by thing.

    Args:
        old: one: what somebody named, an image, a release of the catalog, or a plan.
        new: the other.
        project: where recipes are; what of packages is a security update is asked there, too.
        catalog: where releases are.
        trust: whose signatures releases need; None: nobody's.
        files: whether the files in root file system and initrd are compared.  Of releases they
            are fetched for that.  None: where nothing need be fetched.
        options: how.

    Raises:
        InputError: there is no such image or recipe, or no catalog or project is given.
        CatalogError: a release is missing, or is not what it should be.
        StepError: something of an image cannot be read.
        HostError: a program is missing, or there is no room.
        Interrupted: somebody asked to stop.
    """
    options = options or Options.make()
    chosen = [_found(each, project, catalog, trust, options) for each in (old, new)]
    if files is None:
        files = all(
            isinstance(each, Image) or (isinstance(each, Plan) and each.image) for each in chosen
        )
    try:
        with cache.work_folder(options.cache_dir / "work", "diff") as work:
            sides = [
                _side(each, asked, catalog, work / str(n) if files else None, options)
                for n, (each, asked) in enumerate(zip(chosen, (old, new), strict=True))
            ]
            there = work / "compare"
            there.mkdir()
            return compare_sides(
                sides[0],
                sides[1],
                work=there,
                cancel=options.cancel,
                security=lambda changes: _security(project, sides[1].recipe, changes, options),
            )
    except OSError as error:
        raise HostError(
            f"the images cannot be compared: {error.strerror or error}",
            fix=f"see that there is room in {options.cache_dir}",
        ) from error


def _found(
    what: Named | Image | Release | Plan,
    project: Project | None,
    catalog: Catalog | None,
    trust: Trust | None,
    options: Options,
) -> Image | Release | Plan:
    if not isinstance(what, Named):
        return what
    if what.kind == "image":
        assert what.path
        return Image.open(what.path)
    if what.kind == "release":
        if catalog is None:
            raise InputError(
                f"no catalog is named, and {what.name}@{what.which} is a release of one",
                fix="say --catalog URL, or set IMAGEBUILDER_CATALOG",
            )
        return catalog.show(what.name, what.which, trust=trust)
    if project is None:
        raise InputError(f"{what.name} is a recipe, and this is no project", fix="say -C DIR")
    return make_plan(
        project,
        what.name,
        cache_dir=options.cache_dir,
        reporter=Reporter(subject=what.name, observer=options.observer, cancel=options.cancel),
        refresh=options.refresh,
        offline=options.offline,
        locked=options.locked,
        small=options.small,
    )


def _side(
    what: Image | Release | Plan,
    asked: Named | Image | Release | Plan,
    catalog: Catalog | None,
    into: Path | None,
    options: Options,
) -> Side:
    if isinstance(what, Image):
        if into is not None and not what.rootfs.is_file():
            raise InputError(
                f"{what.path} has no {what.rootfs.name}", fix="compare with --no-files"
            )
        return of_image(what, with_files=into is not None)
    if isinstance(what, Plan):
        return of_plan(what, with_files=into is not None)
    assert catalog
    if into is not None:
        into.mkdir()
    return of_release(
        catalog,
        what,
        asked=asked.which if isinstance(asked, Named) else "",
        into=into,
        reporter=Reporter(subject=what.name, observer=options.observer, cancel=options.cancel),
    )


def _security(
    project: Project | None, recipe: str, changes: Sequence[Change], options: Options
) -> Collection[str] | None:
    """Ask the package index that is in the cache; None if there is none that says."""
    if project is None or recipe not in project.names():
        return None
    reporter = Reporter(subject=recipe, cancel=options.cancel)
    try:
        resolved = project.resolve(recipe)
        engine = engines.find(resolved.recipe.engine)
        if not isinstance(engine, LockingEngine):
            return None
        request = Request(
            resolved=resolved,
            kickstart=compose(resolved),
            cache_dir=options.cache_dir,
            reporter=reporter,
            offline=True,
        )
        return engine.security_of(request, changes)
    except Interrupted:
        raise
    except ImageBuilderError:
        return None
