"""Completion of command lines in shells, and the verb ``completion``.

The shell asks the command itself, through argcomplete, so that what it offers is what the parser
takes and the recipes are those of the project.  Nothing of it is loaded in any other run.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from imagebuilder.cli.context import Context
from imagebuilder.cli.output import Output
from imagebuilder.cli.planning import planning
from imagebuilder.errors import ImageBuilderError
from imagebuilder.names import PROJECT_FILE
from imagebuilder.progress import Cancel

SHELLS = ("bash", "zsh", "fish")
_ASKED = "_ARGCOMPLETE"  # in the environment: a shell asks

# What arguments stand for, by the names that the help has for them.
_FILES = ("FILE", "PATH")
_FOLDERS = ("DIR", "FOLDER")


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb to the command line."""
    text = "Print what lets a shell complete command lines of this program."
    made = sub.add_parser("completion", help=text, description=text, parents=[common])
    made.set_defaults(verb=_completion)
    made.add_argument("shell", choices=SHELLS, help="for which shell")


def _completion(context: Context) -> int:
    from argcomplete.shell_integration import shellcode

    context.out.text(shellcode(["imagebuilder"], shell=context.args.shell).strip("\n"))
    return 0


def answer(parser: argparse.ArgumentParser) -> None:
    """If a shell asks, answer and end the process; else do nothing."""
    if _ASKED not in os.environ:
        return
    import argcomplete
    from argcomplete.completers import DirectoriesCompleter, FilesCompleter, SuppressCompleter

    for action in _actions(parser):
        offered = _offered(action)
        if offered:
            action.completer = offered  # type: ignore[attr-defined]
        elif action.metavar in _FOLDERS:
            action.completer = DirectoriesCompleter()  # type: ignore[attr-defined]
        elif action.metavar in _FILES:
            action.completer = FilesCompleter()  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, default_completer=SuppressCompleter())


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Give the arguments of all verbs, those of verbs below verbs as well."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)
        else:
            yield action


_Completer = Callable[..., list[str]]


def _offered(action: argparse.Action) -> _Completer | None:
    """Return what offers values for an argument; None: nothing of ours."""
    if action.dest in ("names", "name") and not action.option_strings:
        return _recipes
    if action.metavar == "CHANNEL" or action.dest == "channel":
        return _channels
    return None


def _recipes(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return the project's recipes that are not on the command line yet."""
    args = argparse.Namespace(directory=parsed_args.directory, all=True, names=[])
    context = Context(args=args, out=Output(as_json=False, quiet=True), cancel=Cancel())
    try:
        with planning(context) as work:
            known = work.names()
    except (ImageBuilderError, OSError):
        return []  # no project, or one that is broken: a shell has no place for errors
    there = getattr(parsed_args, "names", None) or []
    return [each for each in known if each not in there]


def _channels(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return the channels that the project file names; a catalog is not asked."""
    from imagebuilder.settings import read_settings

    try:
        settings = read_settings(Path(parsed_args.directory) / PROJECT_FILE)
    except ImageBuilderError:
        return []
    return list(dict.fromkeys((settings.channel, *settings.channels)))
