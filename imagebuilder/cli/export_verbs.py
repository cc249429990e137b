"""``imagebuilder catalog export``: what other tools read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from imagebuilder.cli.context import Context
from imagebuilder.cli.named import opened, settings_of
from imagebuilder.errors import InputError

_FORMATS = ("fcos", "simplestreams", "ims", "matchbox", "oci")  # a test compares


def add(verb: Callable[[str, str, object], argparse.ArgumentParser]) -> None:
    """Add the verbs; ``verb`` makes one of a name, a help text and its function."""
    made = verb("export", "Write what other tools read: stream metadata and the like.", export)
    made.add_argument(
        "formats",
        metavar="FORMAT",
        nargs="*",
        help=f"{', '.join(_FORMATS)}; by default those of the project file's [exports]",
    )
    made.add_argument(
        "--output", metavar="DIR", default="", help="a folder to write to, in place of the catalog"
    )
    made.add_argument(
        "--url",
        metavar="URL",
        default="",
        help="under which URL readers reach the catalog by plain HTTP",
    )


def export(context: Context) -> int:
    """``catalog export``."""
    from pydantic import ValidationError

    from imagebuilder.policies import Exports

    args = context.args
    settings = settings_of(context)
    asked = settings.exports if settings else Exports()
    formats = args.formats or list(asked.formats)
    unknown = [each for each in formats if each not in _FORMATS]
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is no format that a catalog is exported in",
            fix=f"known are: {', '.join(_FORMATS)}",
        )
    try:
        wanted = Exports(formats=tuple(formats), url=args.url or asked.url)
    except ValidationError as error:
        raise InputError(f"--url: {error.errors()[0]['msg']}") from error
    count = opened(context).export(
        wanted,
        output_dir=Path(args.output) if args.output else None,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    where = args.output or opened(context).url
    context.out.data("exported", {"formats": formats, "files": count, "where": where})
    context.out.say(f"{', '.join(formats)}: {count} files written to {where}")
    return 0
