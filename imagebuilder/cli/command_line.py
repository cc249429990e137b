"""What can be typed: the verbs with their options, and what several verbs share."""

from __future__ import annotations

import argparse
import os

from imagebuilder.cli import (
    cache_verbs,
    catalog_verbs,
    changed_verb,
    channel_verbs,
    completion,
    diff_verb,
    lint_verb,
    lock_verbs,
    look,
    make_verb,
    report_verb,
    signing_verbs,
    smoke_verb,
    start_verbs,
    verbs,
)
from imagebuilder.cli.arguments import count, number, report_request

_EXIT_STATUS = """\
exit status: 0 done; 1 a step failed (with -q: something is out of date); 2 the recipe or the
command line is wrong; 3 a smoke check failed; 4 the catalog refused or could not be reached;
5 this host lacks a tool; 130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """Return what reads a command line; the function of its verb is ``verb`` of what it gives."""
    # Understood before the verb and after it; there without a default, which would undo the first.
    first, common = _everywhere(".", False), _everywhere(argparse.SUPPRESS, argparse.SUPPRESS)
    work, testing, where = _work(), _testing(), _where()
    whole = argparse.ArgumentParser(
        prog="imagebuilder",
        parents=[first],
        description="Turns recipes into tested, published PXE images.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action=_Version, nargs=0, help="say the version, and end")
    sub = whole.add_subparsers(metavar="VERB", required=True)

    def verb(
        name: str, text: str, function: object, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        made = sub.add_parser(name, help=text, description=text, parents=[common, *parents])
        made.set_defaults(verb=function)
        return made

    look.add(sub, common)
    verb("plan", "Show the steps that an image needs, and why.", verbs.plan, work)
    building = verb("build", "Build images.", verbs.build, work)
    building.add_argument(
        "--check-reproducible",
        action="store_true",
        help="build them again in other circumstances, and say which files differ",
    )
    building.add_argument(
        "--stamp",
        metavar="FILE",
        default="",
        help="let a file hold the image's path, written when that is another one: for make",
    )
    smoke_verb.add(
        verb(
            "test",
            "Boot images over PXE and run their checks.",
            smoke_verb.test,
            work,
            testing,
            where,
        )
    )
    _add_publish(
        verb(
            "publish",
            "Publish images that passed their tests.",
            verbs.publish,
            work,
            testing,
            where,
        )
    )
    lint_verb.add(sub, common)
    changed_verb.add(sub, common)
    diff_verb.add(sub, common, where)
    make_verb.add(sub, common)
    report_verb.add(sub, common, where)
    lock_verbs.add(sub, common)
    start_verbs.add(sub, common)
    cache_verbs.add(sub, common)
    completion.add(sub, common)
    channel_verbs.add(sub, common, where)
    catalog_verbs.add(sub, common, where)
    return whole


def _work() -> argparse.ArgumentParser:
    """Return the options of verbs that plan or make images."""
    work = argparse.ArgumentParser(add_help=False)
    work.add_argument("names", nargs="*", metavar="NAME", help="recipes")
    work.add_argument("--all", action="store_true", help="all recipes of the project")
    work.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    work.add_argument("-j", "--jobs", type=count, default=1, metavar="N", help="images at a time")
    work.add_argument("-B", "--always", action="store_true", help="do all of it again")
    work.add_argument(
        "-k", "--keep-going", action="store_true", help="go on with the others after a failure"
    )
    work.add_argument(
        "-q",
        "--question",
        action="store_true",
        help="only say by the exit status whether anything is out of date",
    )
    work.add_argument("--why", action="store_true", help="say the reason for each step")
    mirrors = work.add_mutually_exclusive_group()
    mirrors.add_argument(
        "--refresh", action="store_true", help="look at the package mirrors now, not once a day"
    )
    mirrors.add_argument(
        "--offline", action="store_true", help="use no network: what is in the cache must do"
    )

    locking = work.add_mutually_exclusive_group()
    locking.add_argument(
        "--locked",
        action="store_true",
        default=None,
        help="install exactly the packages of the recipe's lock file",
    )
    locking.add_argument(
        "--unlocked",
        dest="locked",
        action="store_false",
        help="install what the mirrors have, though the recipe or the project says locked",
    )

    work.add_argument(
        "--executor",
        metavar="URL",
        help="where images are made: local, or dask://HOST:PORT (or IMAGEBUILDER_EXECUTOR)",
    )
    work.add_argument(
        "--small",
        action="store_true",
        help="make the image small, however long it takes: the recipe's small_level",
    )
    return work


def _testing() -> argparse.ArgumentParser:
    """Return the options of verbs that boot images."""
    testing = argparse.ArgumentParser(add_help=False)
    testing.add_argument(
        "--accel",
        choices=("auto", "kvm", "tcg"),
        default="auto",
        help="what runs the guest's processors (auto: KVM where a trial shows that it works)",
    )
    testing.add_argument(
        "--retries",
        type=number,
        default=0,
        metavar="N",
        help="boot again, so often at most, where an image did not pass; it is flaky then",
    )
    testing.add_argument(
        "--report",
        type=report_request,
        action="append",
        default=[],
        metavar="FORMAT=FILE",
        dest="reports",
        help="write what the tests found to a file as well, passed or not: json, junit, tap or "
        "text; {recipe} in its name makes a file for each recipe; can be given again",
    )
    return testing


def _where() -> argparse.ArgumentParser:
    """Return the option that says which catalog."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--catalog",
        metavar="URL",
        default=os.environ.get("IMAGEBUILDER_CATALOG", ""),
        help="the catalog, such as file:///srv/catalog (or IMAGEBUILDER_CATALOG)",
    )
    return where


class _Version(argparse.Action):
    """Says the version; what finds it is loaded only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"imagebuilder {version('imagebuilder')}")
        parser.exit()


def _add_publish(publishing: argparse.ArgumentParser) -> None:
    publishing.add_argument("--channel", default="", help="the channel to move (testing)")
    publishing.add_argument(
        "--force", action="store_true", help="publish again though nothing changed"
    )
    publishing.add_argument(
        "--builder",
        metavar="URI",
        default=os.environ.get("IMAGEBUILDER_BUILDER", ""),
        help="who builds, for the release's provenance (or IMAGEBUILDER_BUILDER)",
    )
    publishing.add_argument(
        "--untested", metavar="REASON", default="", help="publish without a passing test; say why"
    )
    signing_verbs.add_keys(publishing)


def _everywhere(folder: str, as_json: bool | str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "-C", dest="directory", metavar="DIR", default=folder, help="the project's folder"
    )
    parser.add_argument(
        "--json", action="store_true", default=as_json, help="results and events as lines of JSON"
    )
    return parser
