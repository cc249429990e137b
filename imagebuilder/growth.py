"""How much larger an image is than the release before it."""

from __future__ import annotations

from imagebuilder.catalog import Catalog, Release, read
from imagebuilder.image import Image, common_name
from imagebuilder.project import Project
from imagebuilder.smoke import SmokeReport, budgets


def last_other_release(catalog: Catalog, image: Image, channel: str) -> Release | None:
    """Return the newest release that a channel named and that is of another image, if any.

    Raises:
        CatalogError: the catalog cannot be reached, or holds what it must not.
    """
    if not read.has_marker(catalog.store):  # the first publish makes the catalog
        return None
    pointer = read.channel(catalog.store, image.recipe, channel)
    moves = read.history(catalog.store, pointer) if pointer else ()
    for move in reversed(moves):
        if not move.release.endswith(image.id):
            return catalog.show(image.recipe, move.release)
    return None


def compare_sizes(
    project: Project, report: SmokeReport, image: Image, catalog: Catalog, channel: str
) -> SmokeReport:
    """Return a report with how much larger the image is than the last release of a channel.

    It has not passed if that is more than the recipe's budget allows.

    Args:
        project: where the recipe is.
        report: what a test of the image found.
        image: the image.
        catalog: where the releases are.
        channel: the channel; one that has named no other image changes nothing.

    Raises:
        CatalogError: the catalog cannot be reached, or holds what it must not.
    """
    release = last_other_release(catalog, image, channel)
    if release is None:
        return report
    found = budgets.growth(
        project.resolve(image.recipe).recipe.smoke.budget,
        budgets.sizes_of(image),
        {common_name(each.name): each.size for each in release.artefacts},
        f"release {release.version} in {channel}",
    )
    exceeded = any(each.outcome == "exceeded" for each in found)
    update = {
        "budgets": (*report.budgets, *found),
        "passed": report.passed and not exceeded,
        "flaky": report.flaky and not exceeded,
    }
    return report.model_copy(update=update)
