"""The verb ``test``: images of recipes; published releases; images that others built."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.cli import verbs
from imagebuilder.cli.context import Context
from imagebuilder.cli.smoke_reports import SmokeReports
from imagebuilder.errors import InputError
from imagebuilder.names import PROJECT_FILE

if TYPE_CHECKING:
    from imagebuilder.smoke import SmokeReport, Subject
    from imagebuilder.subjects import Question

_FILES = ("kernel", "initrd", "rootfs", "args")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options that only this verb has."""
    parser.add_argument(
        "--path",
        action="append",
        default=[],
        metavar="NAME",
        dest="paths",
        help="boot in this way (kernel, pxe-bios, pxe-uefi, pxe-secure, uefi-http; all: each of "
        "them), whatever the recipe says; can be given again",
    )
    parser.add_argument(
        "--find-memory",
        action="store_true",
        help="also find out how much memory an image needs to come up: up to eight boots more",
    )
    parser.add_argument(
        "--compare",
        metavar="CHANNEL",
        default="",
        help="say how much larger an image is than the last release of this channel; it fails if "
        "that is more than its budget allows",
    )
    parser.add_argument(
        "--release",
        metavar="NAME@CHANNEL",
        default="",
        help="test what a channel of the catalog names (or NAME@VERSION), from where machines "
        "fetch it",
    )
    files = parser.add_argument_group("an image that was built elsewhere")
    files.add_argument("--kernel", type=Path, metavar="FILE", help="its kernel")
    files.add_argument("--initrd", type=Path, metavar="FILE", help="its initramfs, of dracut")
    files.add_argument("--rootfs", type=Path, metavar="FILE", help="its root file system")
    files.add_argument(
        "--args",
        metavar="TEXT",
        default="",
        help="its kernel arguments; {rootfs} stands for the URL of the root file system",
    )
    files.add_argument(
        "--kernel-release", metavar="TEXT", default="", help="what uname -r should say in it"
    )
    files.add_argument("--name", default="image", help="what its report calls it (image)")
    asked = parser.add_argument_group("what is asked of a release, or of such an image")
    asked.add_argument(
        "--recipe", metavar="NAME", default="", help="what this recipe asks of its own"
    )
    asked.add_argument(
        "--checks", type=Path, metavar="FILE", help="a TOML file with [smoke] and [[checks]]"
    )
    asked.add_argument(
        "--output", type=Path, metavar="DIR", help="the folder for the report and the logs"
    )


def test(context: Context) -> int:
    """``test``."""
    args = context.args
    if args.paths:
        from imagebuilder.smoke.paths import known_paths

        known_paths(args.paths)  # raises, before anything is built
    given = [f"--{each}" for each in _FILES if getattr(args, each)]
    kinds = [
        *(["recipes"] if args.names or args.all else []),
        *(["--release"] if args.release else []),
        *given[:1],
    ]
    if len(kinds) > 1:
        raise InputError(
            f"{' and '.join(kinds)} each say what to test", fix="say one of them at a time"
        )
    if (args.release or given) and (args.dry_run or args.question):
        raise InputError(
            "only the tests of recipes' images are done by need, so nothing can be said before",
            fix="leave out -n and -q: a release, and an image of elsewhere, is tested each time",
        )
    if args.release:
        return _test(context, args.release.partition("@")[0], lambda: _release(context))
    if given:
        return _test(context, args.name, lambda: _foreign(context))
    for name in ("recipe", "checks", "output"):
        if getattr(args, name):
            raise InputError(
                f"--{name} is for releases, and for images that were built elsewhere",
                fix="a recipe's image is asked what the recipe says: leave it out",
            )
    return verbs.test(context)


def _release(context: Context) -> Subject:
    from imagebuilder.catalog import Catalog
    from imagebuilder.subjects import release_subject, split

    args = context.args
    name, _ = split(args.release)
    url = args.catalog
    if not url and _has_project(context):
        url = context.project().settings.catalog
    if not url:
        raise InputError(
            "no catalog is named",
            fix="say --catalog URL, set IMAGEBUILDER_CATALOG, or name it in imagebuilder.toml",
        )
    folder = Path(args.directory) / "build" / name / "releases"
    made = release_subject(args.release, Catalog.open(url), args.output or folder)
    if args.output:
        return made
    from dataclasses import replace

    return replace(made, smoke_dir=folder / made.id)


def _foreign(context: Context) -> Subject:
    from imagebuilder.smoke import Subject

    args = context.args
    for name in ("kernel", "initrd", "output"):
        if getattr(args, name) is None:
            raise InputError(
                f"an image that was built elsewhere needs --{name}",
                fix="say --kernel FILE, --initrd FILE and --output DIR; --rootfs FILE if its "
                "initrd fetches a root file system",
            )
    return Subject.of_files(
        kernel=args.kernel,
        initrd=args.initrd,
        rootfs=args.rootfs,
        args=args.args,
        name=args.name,
        kernel_release=args.kernel_release,
        output=args.output,
    )


def _question(context: Context, name: str) -> Question:
    from imagebuilder.subjects import Question, question_of_file, question_of_recipe

    args = context.args
    if args.recipe and args.checks:
        raise InputError("--recipe and --checks each say what is asked", fix="say one")
    if args.checks:
        return question_of_file(args.checks)
    if args.recipe:
        return question_of_recipe(context.project(), args.recipe)
    if args.release and _has_project(context) and name in context.project().names():
        return question_of_recipe(context.project(), name)
    return Question()


def _has_project(context: Context) -> bool:
    folder = Path(context.args.directory)
    return (folder / PROJECT_FILE).exists() or (folder / "recipes").is_dir()


def _test(context: Context, name: str, make: Callable[[], Subject]) -> int:
    from imagebuilder.smoke import report_error, report_text
    from imagebuilder.subjects import smoke_subject

    reports = SmokeReports(context.args.reports, [name])

    def work() -> SmokeReport:
        question = _question(context, name)
        subject = make()
        context.options().cancel.check()
        report = smoke_subject(subject, question, context.options())
        reports.add(report)
        context.out.data("report", report.model_dump(mode="json"))
        context.out.say(report_text(report))
        context.out.say(f"  the report           {subject.smoke_dir}")
        if not report.passed:
            raise report_error(report, subject)
        return report

    with reports.written(), reports.of(name):
        work()
    return 0
