"""The page of a build: one file of HTML for people, without any script."""

from __future__ import annotations

from pathlib import Path

from imagebuilder import files, webpage
from imagebuilder.catalog import Catalog
from imagebuilder.comparison.page import groups
from imagebuilder.errors import HostError, ImageBuilderError, Interrupted
from imagebuilder.options import Options
from imagebuilder.project import Project
from imagebuilder.report import since, view
from imagebuilder.report.timeline import WIDTH, spell
from imagebuilder.report.view import Build, View

PAGE = "report.html"  # where a page goes by default: into the folder of the build

_PAGE = webpage.load(Path(__file__).with_name("page.html"), pictures=True)
_PAGE.environment.filters["span"] = spell
_PAGE.environment.globals.update(chart_width=WIDTH, groups=groups)


def write_report(
    project: Project,
    name: str,
    options: Options | None = None,
    *,
    image_id: str = "",
    output: Path | None = None,
    catalog: str | Catalog = "",
    channel: str = "testing",
) -> Path | None:
    """Write the page of a recipe's last build, or of an image's; nothing is built for it.

    Args:
        project: where the recipe is.
        name: the recipe.
        options: who observes, and may stop it.
        image_id: the image; "": the last build, be it one that failed.
        output: the file; by default ``report.html`` in the folder of the build.
        catalog: where the last release is that it is compared with; "": it is compared with the
            image that was built before it.
        channel: the channel whose last release it is.

    Returns:
        the page's path; None if nothing of the recipe was built here.

    Raises:
        InputError: there is no such image, or it cannot be read.
        HostError: the page cannot be written.
    """
    options = options or Options.make()
    build = view.find(project, name, image_id)
    if build is None:
        return None
    path = output or build.folder / PAGE
    found, missing = _since(project, build, catalog, channel, options)
    text = render(view.gather(build, found, missing, path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, text)
    except OSError as error:
        raise HostError(
            f"{path} cannot be written: {error.strerror}", fix="name another with --output"
        ) from error
    return path


def render(shown: View) -> str:
    """Return the page."""
    return _PAGE.render(view=shown, build=shown.build, image=shown.build.image)


def _since(
    project: Project, build: Build, catalog: str | Catalog, channel: str, options: Options
) -> tuple[since.Since | None, str]:
    if build.image is None:
        return None, "no image was made"
    try:
        if not catalog:
            found = since.since_build(project, build.image, options)
            return found, "no other image of the recipe is here, and no catalog is named"
        opened = Catalog.open(catalog) if isinstance(catalog, str) else catalog
        found = since.since_release(project, build.image, opened, channel, options)
    except Interrupted:
        raise
    except ImageBuilderError as error:  # a page without it is better than none
        return None, f"they cannot be compared: {error.what}"
    return found, f"channel {channel} has named no other release yet"
