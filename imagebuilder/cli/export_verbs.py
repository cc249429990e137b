"""``imagebuilder catalog export``, ``page`` and ``presign``: what others read of a catalog."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.cli import signing_verbs
from imagebuilder.cli.context import Context
from imagebuilder.cli.named import asked, opened, settings_of
from imagebuilder.errors import InputError
from imagebuilder.sizes import seconds_of

if TYPE_CHECKING:
    from imagebuilder.policies import Exports

_FORMATS = ("fcos", "simplestreams", "ims", "matchbox", "oci", "page")  # a test compares


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
    made.add_argument(
        "-n", "--dry-run", action="store_true", help="say how much is due, and write nothing"
    )
    made = verb("page", "Write a page of HTML that shows the catalog.", page)
    made.add_argument(
        "--output", metavar="FILE", required=True, help="the file, or a folder for its index.html"
    )
    made.add_argument(
        "--url", metavar="URL", default="", help="where readers find the catalog, for links"
    )
    text = "Write a boot script that boots from a bucket that is not public, for a while."
    made = verb("presign", text, presign)
    made.add_argument("name", metavar="NAME")
    which = made.add_mutually_exclusive_group()
    which.add_argument("--channel", default="", help="the release that this channel names")
    which.add_argument("--version", default="", help="this very release")
    made.add_argument(
        "--expires", metavar="TIME", default="1h", help="for how long: 30m, 1h, at most 7d (1h)"
    )
    signing_verbs.add_trust(made)


def export(context: Context) -> int:
    """``catalog export``."""
    from imagebuilder.policies import Exports

    args = context.args
    settings = settings_of(context)
    asked = settings.exports if settings else Exports()
    formats = args.formats or list(asked.formats)
    wanted = exports_of(formats, args.url or asked.url)
    count = opened(context).export(
        wanted,
        output_dir=Path(args.output) if args.output else None,
        dry_run=args.dry_run,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    where = args.output or opened(context).url
    context.out.data("exported", {"formats": formats, "files": count, "where": where})
    done = "would be written" if args.dry_run else "written"
    context.out.say(f"{', '.join(formats)}: {count} files {done} to {where}")
    return 0


def page(context: Context) -> int:
    """``catalog page``."""
    args = context.args
    output = Path(args.output)
    if output.is_dir() or args.output.endswith("/"):
        output /= "index.html"
    path = opened(context).write_page(
        output,
        url=exports_of([], args.url).url,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    context.out.data("page", {"path": str(path)})
    context.out.say(f"the page is {path}")
    return 0


def presign(context: Context) -> int:
    """``catalog presign``."""
    args = context.args
    found = opened(context).presign(
        args.name,
        asked(context),
        seconds=seconds_of(args.expires),
        trust=signing_verbs.trust(context),
    )
    release = found.release
    context.out.data(
        "presigned",
        {
            "name": release.name,
            "version": release.version,
            "expires": found.expires,
            "urls": dict(found.urls),
            "script": found.script,
        },
    )
    context.out.say(found.script.rstrip("\n"))
    return 0


def exports_of(formats: Sequence[str], url: str) -> Exports:
    """Return what the command line asks to be exported.

    Raises:
        InputError: there is no such format, or the URL is none.
    """
    from pydantic import ValidationError

    from imagebuilder.policies import Exports

    unknown = [each for each in formats if each not in _FORMATS]
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is no format that a catalog is exported in",
            fix=f"known are: {', '.join(_FORMATS)}",
        )
    try:
        return Exports.model_validate({"formats": tuple(formats), "url": url})
    except ValidationError as error:
        raise InputError(f"--url: {error.errors()[0]['msg']}") from error
