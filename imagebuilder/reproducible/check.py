"""Build a recipe twice, the second time in other circumstances, and compare."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder import cache, command
from imagebuilder.engines.messages import listener
from imagebuilder.errors import ImageBuilderError, StepError
from imagebuilder.image import FACTS, Image
from imagebuilder.options import Options
from imagebuilder.plan import changed
from imagebuilder.progress import Reporter
from imagebuilder.project import Project
from imagebuilder.reproducible.again import Order
from imagebuilder.reproducible.differences import Difference, explain

STEP = "reproduce"

_TIMEOUT = 6 * 3600.0  # seconds for a whole image; each step has a limit of its own
# What both builds have of a cache: the mirrors' index, since with another one it would be
# another plan, and the files of packages, whose digests that index has.
_SHARED = ("apt", "debs")
# What a build must not follow from.  Of each the first, or the second if the first is the
# caller's own.
_CIRCUMSTANCES = {
    "TZ": ("Asia/Tokyo", "America/Lima"),
    "LANG": ("de_DE.UTF-8", "C"),
    "LC_ALL": ("de_DE.UTF-8", "C"),
}
_LEFT_OUT = ("build", ".git")  # of the project: these are no inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What a second build came to.

    Attributes:
        image: the first one.
        differences: how the second one differs; empty: all artefacts have the same bytes.
    """

    image: Image
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "recipe": self.image.recipe,
            "image": self.image.id,
            "same": not self.differences,
            "differences": [each.to_dict() for each in self.differences],
        }


def check_reproducible(project: Project, image: Image, options: Options) -> Reproduced:
    """Build an image's recipe again and say how the result differs.

    The second build has a copy of the project in another folder, a cache without results,
    another umask, time zone and language, and it is later.  Nothing of it is left.

    Args:
        project: where the recipe is.
        image: what was built of it.
        options: how it was built.

    Raises:
        ImageBuilderError: the second build failed.
        Interrupted: somebody asked to stop.
    """
    reporter = Reporter(subject=image.recipe, observer=options.observer, cancel=options.cancel)
    with cache.work_folder(options.cache_dir / "work", f"{image.recipe}-again") as work:
        with reporter.step(STEP, "building it again in other circumstances"):
            other = _build_again(project, image.recipe, work, options)
        with reporter.step(STEP, "comparing"):
            there = work / "compare"
            there.mkdir()
            found = explain(image.path, other.path, there, options.cancel)
        return Reproduced(image=image, differences=(*_of_plans(image, other), *found))


def _build_again(project: Project, recipe: str, work: Path, options: Options) -> Image:
    root, cache_dir = work / "elsewhere" / "project", work / "cache"
    try:
        shutil.copytree(
            project.root,
            root,
            symlinks=True,
            ignore=lambda folder, _: _LEFT_OUT if Path(folder) == project.root else (),
        )
    except OSError as error:
        raise StepError(
            f"the project cannot be copied for a second build: {error}",
            fix="see that there is room in the cache, and that all of the project can be read",
        ) from error
    cache_dir.mkdir()
    for name in _SHARED:
        (options.cache_dir / name).mkdir(exist_ok=True)
        (cache_dir / name).symlink_to((options.cache_dir / name).absolute())
    order = Order(
        root=root,
        recipe=recipe,
        cache_dir=cache_dir,
        offline=options.offline,
        locked=options.locked,
        small=options.small,
    )
    images: list[Image] = []
    failures: list[ImageBuilderError] = []

    take = listener(
        options.observer,
        {
            "image": lambda path: images.append(Image.open(Path(path))),
            "error": lambda said: failures.append(ImageBuilderError.from_dict(said)),
        },
    )
    result = command.run(
        [sys.executable, "-P", "-m", "imagebuilder.reproducible.again"],
        timeout=_TIMEOUT,
        stdin=order.model_dump_json().encode(),
        env={**os.environ, **_circumstances()},
        cwd=work,
        cancel=options.cancel,
        on_line=take,
        raw=True,  # its workers mask secrets themselves
        check=False,
        what="building it again",
    )
    if failures:
        raise failures[0]
    if not images:
        raise StepError(
            f"the second build ended without a result (exit status {result.returncode})",
            excerpt="\n".join(result.stderr.splitlines()[-15:]),
        )
    return images[0]


def _circumstances() -> dict[str, str]:
    return {
        name: first if os.environ.get(name) != first else second
        for name, (first, second) in _CIRCUMSTANCES.items()
    }


def _of_plans(one: Image, other: Image) -> tuple[Difference, ...]:
    """Return what the plans differ in: circumstances must not be inputs."""
    if one.id == other.id:
        return ()
    words = changed(*([*_inputs(each)] for each in (one, other)))
    what = f"the second plan is another one: {'; '.join(words) or 'it has other steps'}"
    return (Difference(artefact=FACTS, path="", what=what),)


def _inputs(image: Image) -> list[tuple[str, str, str]]:
    return [
        (each.kind, each.label, each.digest) for step in image.facts.steps for each in step.inputs
    ]
