"""The way through the whole: the functions behind the verbs, for other programs as well.

Each brings what it needs up to date first, as make does.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder import cache, command, executors, sharing
from imagebuilder.errors import HostError, StepError
from imagebuilder.image import Image
from imagebuilder.names import PROJECT_FILE
from imagebuilder.options import Options
from imagebuilder.plan import Plan, make_plan
from imagebuilder.progress import Reporter
from imagebuilder.project import Project, ResolvedRecipe
from imagebuilder.recipe import Recipe
from imagebuilder.several import each

# What of a project is its own: a file there that git does not know is no part of its commit.
_RECIPES = ("recipes", "kickstarts", PROJECT_FILE)

# Where smoke and catalog are used they are imported in place: a build that finds nothing to do
# is not to wait for them.
if TYPE_CHECKING:
    from imagebuilder import lint
    from imagebuilder.catalog import Catalog, Release
    from imagebuilder.lint import Finding
    from imagebuilder.smoke import SmokeReport


def plan_image(project: Project, wanted: str | Recipe, options: Options | None = None) -> Plan:
    """Return what must be done to have the image of a recipe, and why.

    Raises:
        InputError: the recipe or its kickstart is wrong.
        StepError: the package mirrors could not be reached.
    """
    options = options or Options.make()
    name = wanted if isinstance(wanted, str) else wanted.name
    see_that_cache_can_be_written(options.cache_dir)
    return make_plan(
        project,
        wanted,
        cache_dir=options.cache_dir,
        reporter=Reporter(subject=name, observer=options.observer, cancel=options.cancel),
        refresh=options.refresh,
        offline=options.offline,
        locked=options.locked,
        small=options.small,
        again=options.again,
        remote=sharing.remote_of(project, options),
    )


def see_that_cache_can_be_written(cache_dir: Path) -> None:
    """Make the cache's folder if it is not there.

    Raises:
        HostError: it cannot be written.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        writable = os.access(cache_dir, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        raise HostError(
            f"the cache {cache_dir} cannot be written",
            fix="set IMAGEBUILDER_CACHE to a folder of this user's own",
        )


def lint_recipe(
    project: Project,
    wanted: str | Recipe,
    options: Options | None = None,
    *,
    offline: bool = False,
) -> tuple[Finding, ...]:
    """Return what would fail later in a recipe, or should not be as it is, sorted by place.

    Args:
        project: where it belongs.
        wanted: its name, or a recipe made in Python.
        options: how.
        offline: never look at the package mirrors: what is in the cache must do.

    Raises:
        HostError: the cache cannot be written.
        Interrupted: somebody asked to stop.
    """
    from imagebuilder import lint

    options = options or Options.make()
    settings = _lint_settings(options, offline=offline)
    name = wanted if isinstance(wanted, str) else wanted.name
    result = lint.look(project, wanted, settings(name))
    return lint.gather(project, [result], is_all=False, today=settings(name).today)


def lint_project(
    project: Project,
    names: Sequence[str] | None = None,
    options: Options | None = None,
    *,
    offline: bool = False,
    jobs: int = 1,
) -> tuple[Finding, ...]:
    """Return the findings of several recipes; what they share, such as a fragment's, once.

    Args:
        project: where they belong.
        names: which recipes; None: all of them, and what none of them uses.
        options: how.
        offline: as for :func:`lint_recipe`.
        jobs: how many recipes are looked at at a time.

    Raises:
        HostError: the cache cannot be written.
        Interrupted: somebody asked to stop.
    """
    from imagebuilder import lint

    options = options or Options.make()
    settings = _lint_settings(options, offline=offline)
    wrong: tuple[Finding, ...] = ()
    wanted = names
    if wanted is None:
        wanted, wrong = lint.names_of(project)
    results, failures = each(
        wanted,
        lambda name: lint.look(project, name, settings(name)),
        jobs=jobs,
        cancel=options.cancel,
    )
    if failures:
        raise failures[0].error
    options.cancel.check()
    ordered = [results[name] for name in dict.fromkeys(wanted)]
    today = settings("").today
    return (*wrong, *lint.gather(project, ordered, is_all=names is None, today=today))


def _lint_settings(options: Options, *, offline: bool) -> Callable[[str], lint.Settings]:
    """Return what gives the settings for each recipe."""
    from imagebuilder import lint

    see_that_cache_can_be_written(options.cache_dir)
    return lambda name: lint.Settings(
        cache_dir=options.cache_dir,
        reporter=Reporter(subject=name, observer=options.observer, cancel=options.cancel),
        offline=offline,
        refresh=options.refresh,
    )


def build_image(project: Project, wanted: str | Recipe, options: Options | None = None) -> Image:
    """Return the image of a recipe, made if it is not there.

    Raises:
        InputError: the recipe or its kickstart is wrong; nothing was made.
        StepError: a step failed; an image that was there is as it was.
        HostError: this host lacks what a build needs.
        Interrupted: somebody asked to stop.
    """
    options = options or Options.make()
    return carry_out(plan_image(project, wanted, options), options)


def carry_out(plan: Plan, options: Options | None = None) -> Image:
    """Return the image of a plan, made if it is not there.

    Raises:
        StepError, HostError, Interrupted: as for :func:`build_image`.
    """
    options = options or Options.make()
    executor = executors.of_options(plan.resolved.project, options)
    image = executor.build(plan, again=options.again)
    # To measure the cache takes a tenth of a second for each layer: only what grew is measured.
    if any(
        (not step.reused or step.remote) and plan.engine.has(options.cache_dir, step.name, step.id)
        for step in plan.steps
    ):
        pruned = cache.prune(options.cache_dir, limit=plan.resolved.project.settings.cache_limit)
        if pruned.removed:
            plan.request.reporter.note(
                "cache",
                f"{len(pruned.removed)} entries were removed, to keep to cache_limit: "
                f"{sum(each.size for each in pruned.removed) / 1e9:.1f} GB",
            )
    return image


def smoke_image(
    project: Project,
    image: Image,
    options: Options | None = None,
    *,
    recipe: str | Recipe | None = None,
) -> SmokeReport:
    """Boot an image and look at its recipe's checks, unless that very test has passed before.

    Args:
        project: where the recipe is.
        image: what to test.
        options: how.
        recipe: the recipe, if it was made in Python; by default the one that the image names.

    Raises:
        HostError: this host lacks what a test needs.
        Interrupted: somebody asked to stop.
    """
    from imagebuilder import smoke

    options = options or Options.make()
    resolved = project.resolve(recipe or image.recipe)
    stored = smoke.load_report(image)
    machine = smoke.over_paths(resolved.recipe.smoke, options.paths)
    unknown = options.measure_memory and (stored is None or stored.memory is None)
    if stored and not (options.again or unknown or why_untested(image, resolved, options)):
        Reporter(subject=image.recipe, observer=options.observer).reused(
            "smoke", f"it passed at {stored.started}, and nothing changed since"
        )
        return stored
    return smoke.smoke_test(
        image,
        resolved.checks(),
        machine,
        accel=options.accel,
        cache_dir=options.cache_dir,
        observer=options.observer,
        cancel=options.cancel,
        cpu_baseline=resolved.distro.cpu_baseline,
        arch=resolved.recipe.arch,
        waivers=resolved.check_waivers,
        retries=options.retries,
        measure_memory=options.measure_memory,
    )


def why_untested(image: Image, resolved: ResolvedRecipe, options: Options | None = None) -> str:
    """Return why an image must be tested, or "" if a test with the same question passed.

    Raises:
        InputError: the options name a boot path that there is not.
    """
    from imagebuilder import smoke

    machine = smoke.over_paths(resolved.recipe.smoke, options.paths if options else ())
    return smoke.why_not_up_to_date(image, resolved.checks(), machine, resolved.check_waivers)


def publish_image(
    project: Project,
    image: Image,
    report: SmokeReport | None,
    options: Options | None = None,
    *,
    catalog: str | Catalog,
    channel: str = "testing",
    override: str = "",
    force: bool = False,
    builder: str = "",
) -> Release:
    """Publish an image with its test's report, and let a channel name it.

    Args:
        project: where the recipe is: its git commit is noted in the release.
        image: what to publish.
        report: what its test found.
        options: how.
        catalog: where to.
        channel: which channel is moved.
        override: why it is published although no test has passed.
        force: publish again though nothing changed.
        builder: the URI of who built it, for the release's provenance.

    Raises:
        InputError: the catalog's URL is none, or the builder's.
        CatalogError: the test has not passed, or the catalog refused or could not be reached.
    """
    from imagebuilder.catalog import Catalog, TestEvidence
    from imagebuilder.smoke.report_text import summary_of

    options = options or Options.make()
    if isinstance(catalog, str):
        opened = Catalog.open(catalog, exports=project.settings.exports_of(catalog))
    else:
        opened = catalog
    evidence = None
    if report:
        paths = ", ".join(boot.name for boot in report.last_boots)
        evidence = TestEvidence(
            image_id=report.image,
            passed=report.passed,
            report=report.model_dump_json(indent=1).encode(),
            summary=f"{paths}: {summary_of(report)}",
        )
    return opened.publish(
        image,
        channel=channel,
        evidence=evidence,
        override=override,
        force=force,
        git_commit=git_commit(project.root),
        builder=builder,
        policy=project.settings.channels.get(channel),
        observer=options.observer,
        cancel=options.cancel,
    )


def git_commit(folder: Path) -> str:
    """Return the commit that a folder is at, or "" outside git or where git has none.

    When recipes or kickstarts, or any file that git knows, were changed since, it ends in
    ``-dirty``.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return ""
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "--", *_RECIPES)
    return f"{commit}-dirty" if changed or new else commit


def _git(folder: Path, *args: str) -> str:
    try:
        result = command.run(["git", "-C", str(folder), *args], timeout=20, check=False)
    except (HostError, StepError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
