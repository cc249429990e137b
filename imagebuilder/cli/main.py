"""The command ``imagebuilder``: arguments, signals, exit status."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

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
    start_verbs,
    test_verb,
    verbs,
)
from imagebuilder.cli.arguments import count, number, report_request
from imagebuilder.cli.ci_log import log_of
from imagebuilder.cli.context import Context
from imagebuilder.cli.output import Output
from imagebuilder.errors import ImageBuilderError
from imagebuilder.progress import Cancel

_EXIT_STATUS = """\
exit status: 0 done; 1 a step failed (with -q: something is out of date); 2 the recipe or the
command line is wrong; 3 a smoke check failed; 4 the catalog refused or could not be reached;
5 this host lacks a tool; 130 interrupted"""


def entry() -> None:
    """Run as a program."""
    status = main(sys.argv[1:])
    # What is left goes with the process: looking through it once more, for circles, takes longer
    # than planning a hundred recipes.
    gc.freeze()
    sys.exit(status)


def main(argv: Sequence[str]) -> int:
    """Run a command line; return its exit status."""
    parser = _parser()
    completion.answer(parser)
    args = parser.parse_args(argv)
    out = Output(
        as_json=args.json,
        quiet=getattr(args, "question", False),
        ci_log=log_of(os.environ, Path(args.directory)),
    )
    cancel = Cancel()
    _stop_on_signals(cancel, silent=args.json or out.quiet)
    context = Context(args=args, out=out, cancel=cancel)
    try:
        status: int = args.verb(context)
    except ImageBuilderError as error:
        out.close()
        out.error(error)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output is gone; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    finally:
        out.close()
    return status


def _stop_on_signals(cancel: Cancel, *, silent: bool) -> None:
    """Let the first signal ask to stop in good order, and the second stop at once."""

    def stop(number: int, _frame: object) -> None:
        if cancel.is_set:
            raise KeyboardInterrupt
        cancel.set(f"stopped by {signal.Signals(number).name}")
        if not silent:
            # Written past the output's lock, which the interrupted code may be holding.
            os.write(2, b"\nstopping, and clearing up...\n")

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)


def _parser() -> argparse.ArgumentParser:
    # Understood before the verb and after it; there without a default, which would undo the first.
    first, common = _everywhere(".", False), _everywhere(argparse.SUPPRESS, argparse.SUPPRESS)

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

    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--catalog",
        metavar="URL",
        default=os.environ.get("IMAGEBUILDER_CATALOG", ""),
        help="the catalog, such as file:///srv/catalog (or IMAGEBUILDER_CATALOG)",
    )

    parser = argparse.ArgumentParser(
        prog="imagebuilder",
        parents=[first],
        description="Turns recipes into tested, published PXE images.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say the version, and end")
    sub = parser.add_subparsers(metavar="VERB", required=True)

    def verb(
        name: str, text: str, function: object, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        made = sub.add_parser(name, help=text, description=text, parents=[common, *parents])
        made.set_defaults(verb=function)
        return made

    listing = verb("list", "List the recipes of the project.", look.list_recipes)
    listing.add_argument(
        "--abstract", action="store_true", help="those too that are only there to be extended"
    )
    show = verb("show", "Show a recipe as resolved, and its kickstart.", look.show)
    show.add_argument("name", metavar="NAME")
    show.add_argument(
        "--why", metavar="KEY", default="", help="say which file and line gave a value"
    )
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
    test_verb.add(
        verb(
            "test",
            "Boot images over PXE and run their checks.",
            test_verb.test,
            work,
            testing,
            where,
        )
    )
    publishing = verb(
        "publish", "Publish images that passed their tests.", verbs.publish, work, testing, where
    )
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
    doctor = verb("doctor", "Say what this host can do, and mend what it lacks.", look.doctor)
    doctor.add_argument(
        "--clean",
        action="store_true",
        help="instead remove what livemedia-creators that were killed left on this host",
    )
    doctor.add_argument("--yes", action="store_true", help="remove it without asking")
    doctor.add_argument(
        "--below",
        metavar="FOLDER",
        action="append",
        default=[],
        help="look for its folders there, too (/var/tmp, /tmp)",
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
    return parser


class _Version(argparse.Action):
    """Says the version; what finds it is loaded only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"imagebuilder {version('imagebuilder')}")
        parser.exit()


def _everywhere(folder: str, as_json: bool | str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "-C", dest="directory", metavar="DIR", default=folder, help="the project's folder"
    )
    parser.add_argument(
        "--json", action="store_true", default=as_json, help="results and events as lines of JSON"
    )
    return parser
