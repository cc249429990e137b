"""The verbs that work: bring up to date what is named, and print what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imagebuilder.cli import signing_verbs
from imagebuilder.cli.context import Context
from imagebuilder.cli.planning import Planning, planning
from imagebuilder.cli.smoke_reports import SmokeReports
from imagebuilder.errors import ImageBuilderError, InputError, Interrupted, Location
from imagebuilder.image import INITRD, KERNEL, Image
from imagebuilder.outlook import Outlook
from imagebuilder.several import each as do_each
from imagebuilder.sizes import human_size
from imagebuilder.steady import steady

# What only some verbs need is imported in place: a build that finds nothing to do is not to
# wait for it.
if TYPE_CHECKING:
    from imagebuilder.catalog import Catalog, Release
    from imagebuilder.smoke import SmokeReport

T = TypeVar("T")


def plan(context: Context) -> int:
    """``plan``."""
    is_stale = False
    with steady(), planning(context) as work:
        for name in work.names():
            context.cancel.check()
            found = _planned(context, work, name, reasons=True, refresh=True)
            is_stale = is_stale or not found.up_to_date
    return _question(context, is_stale)


def build(context: Context) -> int:
    """``build``."""
    from imagebuilder.cli.make_verb import write_stamp

    stamp = context.args.stamp
    with planning(context) as work:
        names = work.names()
        if stamp and len(names) != 1:
            raise InputError("a stamp stands for one image", fix="name one recipe with --stamp")
        outlooks = _outlooks(context, work, names)
        if outlooks is not None:
            return _question(context, any(not each.up_to_date for each in outlooks))

        def make(name: str) -> Image:
            image = work.image(name)
            _say_image(context, image)
            if context.args.check_reproducible:
                _check_reproducible(context, work, image)
            if stamp:
                write_stamp(Path(stamp), image)
            return image

        return _each(context, names, make)


def test(context: Context) -> int:
    """``test``."""
    with planning(context) as work:
        names = work.names()
        outlooks = _outlooks(context, work, names)
        if outlooks is not None:
            return _question(context, any(_untested(context, work, each) for each in outlooks))

        reports = SmokeReports(context.args.reports, names)
        channel = context.args.compare
        catalog = _catalog(context, work) if channel else None

        def make(name: str) -> SmokeReport:
            with reports.of(name):
                image = work.image(name)
                _say_image(context, image)
                return _test(context, work, image, reports, catalog, channel)

        with reports.written():
            return _each(context, names, make)


def publish(context: Context) -> int:
    """``publish``."""
    from imagebuilder import pipeline

    with planning(context) as work:
        project = work.project
        catalog = _catalog(context, work)
        channel = context.args.channel or project.settings.channel
        names = work.names()
        outlooks = _outlooks(context, work, names)
        if outlooks is not None:
            return _question(
                context,
                any(
                    _untested(context, work, each) or _unpublished(each, catalog, channel)
                    for each in outlooks
                ),
            )

        signers = signing_verbs.signers(context)  # a key that is not there is said first

        reports = SmokeReports(context.args.reports, names)

        def make(name: str) -> Release:
            override = context.args.untested
            with reports.of(name):
                image = work.image(name)
                _say_image(context, image)
                report = None
                if not override:
                    report = _test(context, work, image, reports, catalog, channel)
            release = pipeline.publish_image(
                project,
                image,
                report,
                work.options,
                catalog=catalog,
                channel=channel,
                override=override,
                force=context.args.force,
                builder=context.args.builder,
            )
            if signers:
                catalog.sign(
                    name,
                    channel,
                    signers=signers,
                    days=context.args.days,
                    image=image,
                    observer=work.options.observer,
                    cancel=context.cancel,
                )
            context.out.data(
                "release",
                {
                    "recipe": name,
                    "version": release.version,
                    "channel": channel,
                    "url": catalog.url,
                },
            )
            context.out.say(f"{name}: release {release.version} is in channel {channel}")
            context.out.say(f"  catalog   {catalog.url}")
            context.out.say(
                f"  fetch it  imagebuilder catalog pull {name} --catalog {catalog.url} "
                f"--channel {channel} --output DIR"
            )
            return release

        with reports.written():
            return _each(context, names, make)


def _each(context: Context, names: Sequence[str], work: Callable[[str], T]) -> int:
    """Do the work for each recipe; print the failures; return the exit status."""

    def grouped(name: str) -> T:
        # Lines of several recipes at a time would be folded together.
        if context.args.jobs > 1:
            return work(name)
        with context.out.group(name):
            return work(name)

    done, failures = do_each(
        names,
        grouped,
        jobs=context.args.jobs,
        keep_going=context.args.keep_going,
        cancel=context.cancel,
    )
    context.out.close()
    real = [each for each in failures if not isinstance(each.error, Interrupted)]
    for failure in real or failures[:1]:
        context.out.error(failure.error, failure.name)
    if len(dict.fromkeys(names)) > 1:
        _sum_up(context, names, done, [each.name for each in real])
    if context.cancel.is_set:
        return Interrupted.exit_status
    return failures[0].error.exit_status if failures else 0


def _sum_up(
    context: Context, names: Sequence[str], done: Collection[str], failed: Sequence[str]
) -> None:
    """Say what became of several recipes; to people only if something is missing."""
    summary = {
        "done": [each for each in dict.fromkeys(names) if each in done],
        "failed": list(failed),
        "not_done": [each for each in dict.fromkeys(names) if each not in {*done, *failed}],
    }
    context.out.data("summary", summary)
    for state in ("failed", "not_done"):
        if summary[state]:
            context.out.say(f"{state.replace('_', ' ')}: {', '.join(summary[state])}")


def _outlooks(context: Context, work: Planning, names: Sequence[str]) -> list[Outlook] | None:
    """With -n, -q or --why return what is to be done, shown; None if it is to be done then."""
    asked = context.args.dry_run or context.args.question
    if not asked and not context.args.why:
        return None
    reasons = context.args.why or context.args.dry_run
    with steady():
        found = [_planned(context, work, name, reasons=reasons) for name in names]
    return found if asked else None


def _planned(
    context: Context, work: Planning, name: str, *, reasons: bool, refresh: bool = False
) -> Outlook:
    """Plan a recipe, and show the plan: to machines with the inputs of each step."""
    if context.out.as_json:
        made = work.plan(name, refresh=refresh)
        context.out.data("plan", made.to_dict())
        return made.outlook()
    found = work.outlook(name, refresh=refresh)
    _say_outlook(context, found, reasons=reasons)
    return found


def _question(context: Context, out_of_date: bool) -> int:
    return 1 if context.args.question and out_of_date else 0


def _untested(context: Context, work: Planning, plan: Outlook) -> bool:
    why = "it must be built first"
    if plan.image and plan.up_to_date:
        from imagebuilder import pipeline

        why = pipeline.why_untested(plan.image, work.project.resolve(plan.name), work.options)
        if context.args.always and not why:
            why = "asked to make everything again"
    context.out.data("test", {"recipe": plan.name, "needed": bool(why), "reason": why})
    context.out.say(f"  {'run  ' if why else 'reuse'}  smoke      {why or 'it passed'}")
    return bool(why)


def _unpublished(plan: Outlook, catalog: Catalog, channel: str) -> bool:
    try:
        return catalog.show(plan.name, channel).image != plan.image_id
    except ImageBuilderError:
        return True


def _say_outlook(context: Context, plan: Outlook, *, reasons: bool) -> None:
    todo = "to be taken from the remote cache" if plan.is_remote else "to be built"
    state = "up to date" if plan.up_to_date else todo
    lines = [f"{plan.name}: image {plan.image_id}, {state}"]
    for step in plan.steps:
        what = "reuse" if step.reused else "run  "
        reason = f"  because {step.reason}" if reasons and not step.reused else ""
        reason = f"  {step.reason}" if reasons and step.reused else reason
        lines.append(f"  {what}  {step.name:10} {step.text};{reason}".rstrip(";"))
    lines += (f"  note   {note}" for note in plan.notes)
    context.out.say("\n".join(lines))


def _say_image(context: Context, image: Image) -> None:
    facts = image.facts
    sizes: dict[str, int] = {each.name: each.size for each in facts.artefacts}
    context.out.data("image", facts.model_dump(mode="json") | {"path": str(image.path)})
    names = (KERNEL, INITRD, facts.rootfs_name)
    context.out.say(f"{image.recipe}: image {image.id} is in {_shown(image.path)}")
    context.out.say(
        f"  {facts.distro}, kernel {facts.kernel_release}, {facts.package_count} packages; "
        + ", ".join(f"{name} {human_size(sizes[name])}" for name in names)
    )
    times = ", ".join(
        f"{step.name} reused" if step.reused else f"{step.name} {step.seconds:.1f} s"
        for step in facts.steps
    )
    context.out.say(f"  built {facts.created}: {times}")
    for note in facts.notes:
        context.out.say(f"  note: {note}")


def _catalog(context: Context, work: Planning) -> Catalog:
    from imagebuilder.catalog import Catalog

    settings = work.project.settings
    url = context.args.catalog or settings.catalog
    if not url:
        raise InputError(
            "no catalog is named",
            fix="say --catalog URL, set IMAGEBUILDER_CATALOG, or name it in imagebuilder.toml",
        )
    return Catalog.open(url, exports=settings.exports_of(url))


def _test(
    context: Context,
    work: Planning,
    image: Image,
    reports: SmokeReports,
    catalog: Catalog | None,
    channel: str,
) -> SmokeReport:
    """Test an image; say what that found, and how it compares with what a channel names."""
    from imagebuilder import pipeline
    from imagebuilder.smoke import report_error, report_text

    stored = pipeline.smoke_image(work.project, image, work.options)
    report = stored
    if catalog and stored.passed:
        from imagebuilder.growth import compare_sizes

        report = compare_sizes(work.project, stored, image, catalog, channel)
    reports.add(report)
    context.out.data("report", report.model_dump(mode="json"))
    context.out.say(report_text(report))
    if not report.passed:
        error = report_error(report, image)
        error.where = error.where or _place_of_check(work, report)
        raise error
    # What is compared with changes; what is kept, and published, is about this image alone.
    return stored


def _place_of_check(work: Planning, report: SmokeReport) -> Location | None:
    """Return where the first check that does not hold, or the budget, stands in the recipe."""
    if any(boot.failure for boot in report.last_boots):
        return None  # that is about no check
    resolved = work.project.resolve(report.recipe)
    if report.exceeded and not any(boot.failed_checks for boot in report.last_boots):
        first = report.exceeded[0]
        key = "memory_mib" if first.what == "memory" else first.what
        key = "boot_seconds" if first.what.startswith("boot ") else key
        key = "growth_percent" if first.unit == "%" else key
        return resolved.place(f"smoke.budget.{key}")
    titles = [each.title for each in resolved.recipe.checks]
    for each in report.checks:
        if each.counts_against and each.title in titles:
            return resolved.place(f"checks.{titles.index(each.title)}")
    return None


def _check_reproducible(context: Context, work: Planning, image: Image) -> None:
    from imagebuilder.errors import StepError
    from imagebuilder.reproducible import check_reproducible

    found = check_reproducible(work.project, image, work.options)
    context.out.data("reproducible", found.to_dict())
    if not found.differences:
        context.out.say(f"{image.recipe}: a second build gave the same bytes")
        return
    context.out.say("\n".join(f"{image.recipe}: {each}" for each in found.differences))
    raise StepError(
        f"a second build of {image.recipe} gave other bytes: {_counted(len(found.differences))}",
        fix="what differs stands above; often it is a script that writes a date, a random number "
        "or a name of this host: docs/builds.md",
    )


def _counted(number: int) -> str:
    return "1 difference" if number == 1 else f"{number} differences"


def _shown(path: Path) -> str:
    """Return a path as short as it can be from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
