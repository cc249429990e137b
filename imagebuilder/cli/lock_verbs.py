"""The verbs of lock files: ``lock`` and ``outdated``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imagebuilder.cli.context import Context
from imagebuilder.cli.planning import planning
from imagebuilder.several import each as do_each

if TYPE_CHECKING:
    from imagebuilder.lockfile import Change
    from imagebuilder.locks import Locking


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to the command line."""
    text = "Write the exact packages of recipes beside them; what is locked already stays."
    lock = sub.add_parser("lock", help=text, description=text, parents=[common])
    lock.set_defaults(verb=_lock)
    _names(lock)
    lock.add_argument(
        "--update",
        nargs="*",
        metavar="PACKAGE",
        help="take these packages, or all, as the mirrors have them now",
    )
    lock.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would change, and write nothing"
    )

    text = "Say what lock --update would change; exit status 1 if anything."
    outdated = sub.add_parser("outdated", help=text, description=text, parents=[common])
    outdated.set_defaults(verb=_outdated)
    _names(outdated)
    outdated.add_argument(
        "--security", action="store_true", help="only what has a security update in it"
    )


def _names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes")
    parser.add_argument("--all", action="store_true", help="all recipes of the project")
    parser.add_argument("-q", "--question", action="store_true", help="only say by the exit status")
    mirrors = parser.add_mutually_exclusive_group()
    mirrors.add_argument("--refresh", action="store_true", help="look at the package mirrors now")
    mirrors.add_argument(
        "--offline", action="store_true", help="use no network: what is in the cache must do"
    )


def _lock(context: Context) -> int:
    from imagebuilder.locks import lock_recipe

    args = context.args
    only_say = args.dry_run or args.question
    with planning(context) as work:

        def make(name: str) -> Locking:
            made = lock_recipe(
                work.project, name, work.options, update=args.update, dry_run=only_say
            )
            _tell(context, made, only_say=only_say)
            return made

        made, failures = do_each(work.names(), make, keep_going=True, cancel=context.cancel)
    for failure in failures:
        context.out.error(failure.error, failure.name)
    if failures:
        return failures[0].error.exit_status
    return 1 if args.question and any(each.is_other for each in made.values()) else 0


def _tell(context: Context, made: Locking, *, only_say: bool) -> None:
    name, count = made.lock.recipe, len(made.lock.packages)
    wrote = made.is_other and not only_say
    context.out.data(
        "lock",
        {
            "recipe": name,
            "path": str(made.path),
            "packages": count,
            "written": wrote,
            "changes": [each.to_dict() for each in made.changes],
        },
    )
    if not made.is_other:
        context.out.say(f"{name}: the lock file is up to date: {count} packages")
        return
    what = "is in" if wrote else "would be in"
    context.out.say(f"{name}: the lock of {count} packages {what} recipes/{made.path.name}")
    if not made.is_new:
        _table(context, made.changes)


def _outdated(context: Context) -> int:
    from imagebuilder import lockfile
    from imagebuilder.locks import outdated

    with planning(context) as work:

        def look(name: str) -> tuple[Change, ...]:
            found = outdated(work.project, name, work.options)
            if context.args.security:
                found = tuple(each for each in found if each.security)
            context.out.data(
                "outdated", {"recipe": name, "changes": [each.to_dict() for each in found]}
            )
            safer = sum(each.security for each in found)
            also = f", {safer} with security updates" if safer else ""
            context.out.say(f"{name}: {_counted(len(found))} would change{also}")
            _table(context, found)
            return found

        names = work.names()
        if context.args.all:  # who names a recipe is told that it has no lock file
            names = tuple(
                each for each in names if lockfile.place_of(work.project.root, each)[0].exists()
            )
            if not names:
                context.out.say("no recipe has a lock file: builds follow the mirrors")
        found, failures = do_each(names, look, keep_going=True, cancel=context.cancel)
    for failure in failures:
        context.out.error(failure.error, failure.name)
    if failures:
        return failures[0].error.exit_status
    return 1 if any(found.values()) else 0


def _counted(count: int) -> str:
    return {0: "nothing", 1: "1 package"}.get(count, f"{count} packages")


def _table(context: Context, changes: Sequence[Change]) -> None:
    context.out.table(
        [
            [
                f"  {each.name}",
                each.old or "(new)",
                "→",
                each.new or "(gone)",
                "security" if each.security else each.why,
            ]
            for each in changes
        ]
    )
