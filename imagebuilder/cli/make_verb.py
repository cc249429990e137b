"""The verb ``makefile``: images in a Makefile, by their names.

What make compares are times of files; what an image follows from are contents, and the package
mirrors.  So make is told which images are out of date, and has for each a file, its stamp, which
is written only when the image is another one.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from imagebuilder import files
from imagebuilder.cli.context import Context
from imagebuilder.cli.planning import Planning, planning
from imagebuilder.errors import HostError, InputError
from imagebuilder.image import Image

_FRAGMENT = Path(__file__).with_name("images.mk")


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb to the command line."""
    text = "Print what lets a Makefile depend on images by their names."
    made = sub.add_parser("makefile", help=text, description=text, parents=[common])
    made.set_defaults(verb=_makefile, all=True, names=[])
    made.add_argument("--output", metavar="FILE", default="", help="write it to a file")
    made.add_argument(
        "--state",
        metavar="DIR",
        default="",
        help="instead say, for make, which stamps in a folder are out of date: with a ! behind",
    )


def _makefile(context: Context) -> int:
    if context.args.state:
        with planning(context) as work:
            for name in work.names():
                context.cancel.check()
                mark = "" if _is_current(work, name, Path(context.args.state)) else "!"
                context.out.text(f"{name}{mark}")
        return 0
    text = _FRAGMENT.read_text(encoding="utf-8")
    if not context.args.output:
        context.out.text(text.rstrip("\n"))
        return 0
    _replace(Path(context.args.output), text)
    context.out.say(f"in the Makefile: include {context.args.output}")
    return 0


def _is_current(work: Planning, name: str, stamps: Path) -> bool:
    try:
        found = work.outlook(name)
    except InputError:
        return False  # a build says what is wrong, if make wants this one
    return found.up_to_date and found.image is not None and _read(stamps / name) == found.image_id


def _read(stamp: Path) -> str:
    """Return the id of the image that a stamp names, or ""."""
    try:
        return Path(stamp.read_text(encoding="utf-8").strip()).name
    except (OSError, UnicodeDecodeError):
        return ""


def write_stamp(path: Path, image: Image) -> None:
    """Let a file hold the path of an image, from here; it is touched only if that is another one.

    Raises:
        HostError: it cannot be written.
    """
    text = f"{os.path.relpath(image.path)}\n"
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, UnicodeDecodeError):
        pass  # it is not there, or is none
    _replace(path, text)


def _replace(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, text)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}") from error
