"""imagebuilder turns recipes into tested, published PXE images.

::

    import imagebuilder

    project = imagebuilder.Project.open("/srv/images")
    image = imagebuilder.build_image(project, "base")
    report = imagebuilder.smoke_image(project, image)
    release = imagebuilder.publish_image(project, image, report, catalog="file:///srv/catalog")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagebuilder.catalog import Catalog, Release
    from imagebuilder.changes import Changes, find_changes
    from imagebuilder.comparison import Comparison, compare_images
    from imagebuilder.errors import (
        CatalogError,
        CheckError,
        HostError,
        ImageBuilderError,
        InputError,
        Interrupted,
        Location,
        StepError,
    )
    from imagebuilder.image import Image
    from imagebuilder.importing import Imported, import_kickstarts
    from imagebuilder.kickstart import Kickstart
    from imagebuilder.lint import Finding
    from imagebuilder.locks import lock_recipe, outdated
    from imagebuilder.options import Options
    from imagebuilder.pipeline import (
        build_image,
        lint_project,
        lint_recipe,
        plan_image,
        publish_image,
        smoke_image,
    )
    from imagebuilder.plan import Plan
    from imagebuilder.progress import Cancel, Event
    from imagebuilder.project import Project
    from imagebuilder.recipe import Recipe
    from imagebuilder.reproducible import check_reproducible
    from imagebuilder.scaffold import Scaffold, init_project
    from imagebuilder.smoke import SmokeReport, Subject, report_error
    from imagebuilder.subjects import Question, smoke_release, smoke_subject

__all__ = [
    "Cancel",
    "Catalog",
    "CatalogError",
    "Changes",
    "CheckError",
    "Comparison",
    "Event",
    "Finding",
    "HostError",
    "Image",
    "ImageBuilderError",
    "Imported",
    "InputError",
    "Interrupted",
    "Kickstart",
    "Location",
    "Options",
    "Plan",
    "Project",
    "Question",
    "Recipe",
    "Release",
    "Scaffold",
    "SmokeReport",
    "StepError",
    "Subject",
    "build_image",
    "check_reproducible",
    "compare_images",
    "find_changes",
    "import_kickstarts",
    "init_project",
    "lint_project",
    "lint_recipe",
    "lock_recipe",
    "outdated",
    "plan_image",
    "publish_image",
    "report_error",
    "smoke_image",
    "smoke_release",
    "smoke_subject",
]

# Where each public name is; loaded when it is first asked for, so that a command that finds
# nothing to do does not wait for the code that would do it.
_HOME = {
    "Cancel": "imagebuilder.progress",
    "Catalog": "imagebuilder.catalog",
    "CatalogError": "imagebuilder.errors",
    "Changes": "imagebuilder.changes",
    "CheckError": "imagebuilder.errors",
    "Comparison": "imagebuilder.comparison",
    "Event": "imagebuilder.progress",
    "Finding": "imagebuilder.lint",
    "HostError": "imagebuilder.errors",
    "Image": "imagebuilder.image",
    "ImageBuilderError": "imagebuilder.errors",
    "Imported": "imagebuilder.importing",
    "InputError": "imagebuilder.errors",
    "Interrupted": "imagebuilder.errors",
    "Kickstart": "imagebuilder.kickstart",
    "Location": "imagebuilder.errors",
    "Options": "imagebuilder.options",
    "Plan": "imagebuilder.plan",
    "Project": "imagebuilder.project",
    "Question": "imagebuilder.subjects",
    "Recipe": "imagebuilder.recipe",
    "Release": "imagebuilder.catalog",
    "Scaffold": "imagebuilder.scaffold",
    "SmokeReport": "imagebuilder.smoke",
    "StepError": "imagebuilder.errors",
    "Subject": "imagebuilder.smoke",
    "build_image": "imagebuilder.pipeline",
    "check_reproducible": "imagebuilder.reproducible",
    "compare_images": "imagebuilder.comparison",
    "find_changes": "imagebuilder.changes",
    "import_kickstarts": "imagebuilder.importing",
    "init_project": "imagebuilder.scaffold",
    "lint_project": "imagebuilder.pipeline",
    "lint_recipe": "imagebuilder.pipeline",
    "lock_recipe": "imagebuilder.locks",
    "outdated": "imagebuilder.locks",
    "plan_image": "imagebuilder.pipeline",
    "publish_image": "imagebuilder.pipeline",
    "report_error": "imagebuilder.smoke",
    "smoke_image": "imagebuilder.pipeline",
    "smoke_release": "imagebuilder.subjects",
    "smoke_subject": "imagebuilder.subjects",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
