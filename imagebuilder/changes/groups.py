"""Images in groups that are made together, for the jobs of a CI system."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from imagebuilder.errors import ImageBuilderError
from imagebuilder.kickstart import compose
from imagebuilder.project import Project

# What of a kickstart the packages of an image follow from, beside %packages.
_SOURCES = ("url", "repo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Images that one job makes.

    Attributes:
        images: their names, sorted.
        layers: how many different package layers they have: what they share is made once.
    """

    images: tuple[str, ...]
    layers: int

    @property
    def title(self) -> str:
        """A name for people."""
        more = len(self.images) - 1
        return f"{self.images[0]} and {more} more" if more else self.images[0]


def grouped(project: Project, names: Sequence[str], most: int) -> tuple[Group, ...]:
    """Return images in groups: those with the same packages stay together.

    No package index is asked: images count as alike if they ask for the same packages from the
    same places.  Recipes that are wrong are a group of their own, whose job says what is wrong.

    Args:
        project: the project.
        names: the images.
        most: how many groups there may be, 1 or more.

    Returns:
        The groups, that with the most layers to make first.
    """
    alike: dict[Hashable, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(_packages(project, name), []).append(name)
    bins: list[list[list[str]]] = [[] for _ in range(min(most, len(alike)))]
    # The largest first, each to where there is least: no group is much longer than another.
    for images in sorted(alike.values(), key=lambda each: (-len(each), each)):
        min(bins, key=lambda each: (_length(each), bins.index(each))).append(images)
    made = [
        Group(images=tuple(sorted(name for images in each for name in images)), layers=len(each))
        for each in bins
    ]
    return tuple(sorted(made, key=lambda each: (-len(each.images), each.images)))


def _length(bin_: list[list[str]]) -> int:
    return sum(len(images) for images in bin_)


def _packages(project: Project, name: str) -> Hashable:
    """Return something that is equal for recipes whose packages are."""
    try:
        resolved = project.resolve(name)
        kickstart = compose(resolved)
    except ImageBuilderError:
        return None
    recipe = resolved.recipe
    return (
        recipe.engine,
        recipe.distro,
        recipe.arch,
        recipe.preseed,
        kickstart.weak_dependencies,
        frozenset((each.name, each.excluded) for each in kickstart.packages),
        tuple(each.text for each in kickstart.commands if each.name in _SOURCES),
    )


def github_matrix(groups: Sequence[Group]) -> dict[str, Any]:
    """Return groups as a matrix of GitHub Actions: ``strategy: matrix: ${{ fromJSON(…) }}``.

    See "Running variations of jobs in a workflow" in its documentation.
    """
    return {
        "include": [
            {"group": n, "title": each.title, "images": " ".join(each.images)}
            for n, each in enumerate(groups, 1)
        ]
    }


def gitlab_pipeline(groups: Sequence[Group], include: str, template: str) -> dict[str, Any]:
    """Return groups as a child pipeline of GitLab; JSON is YAML, too.

    See "Downstream pipelines: dynamic child pipelines" in its documentation.

    Args:
        groups: the groups; without any there is one job that says so, since a pipeline has one.
        include: the file of the repository that has the template, or "".
        template: the hidden job that each job extends; it finds its images in ``$IMAGES``.
    """
    made: dict[str, Any] = {"include": [{"local": include}]} if include else {}
    if not groups:
        made["nothing"] = {"script": ["echo no image is affected"]}
    for n, each in enumerate(groups, 1):
        made[f"images {n}: {each.title}"] = {
            "extends": template,
            "variables": {"IMAGES": " ".join(each.images)},
        }
    return made
