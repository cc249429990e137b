"""``imagebuilder catalog …``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.cli import contents_verbs, export_verbs, policy_verbs, signing_verbs
from imagebuilder.cli.context import Context
from imagebuilder.cli.named import asked, opened
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.names import PROJECT_FILE
from imagebuilder.sizes import human_size

if TYPE_CHECKING:
    from imagebuilder.policies import Retention


def add(sub: Any, common: argparse.ArgumentParser, where: argparse.ArgumentParser) -> None:
    """Add the verbs to a parser."""
    text = "Read a catalog, and keep it in order."
    verbs = sub.add_parser("catalog", help=text, description=text).add_subparsers(
        metavar="VERB", required=True
    )

    def verb(name: str, text: str, function: object) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(
            name, help=text, description=text, parents=[common, where]
        )
        made.set_defaults(verb=function)
        return made

    made = verb("ls", "List releases, and the channels that name them.", ls)
    made.add_argument("name", metavar="NAME", nargs="?", default="", help="of this recipe only")
    made = verb("show", "Show a release.", show)
    made.add_argument("name", metavar="NAME")
    _which(made)
    made = verb("pull", "Fetch a release into a folder, checking every byte.", pull)
    made.add_argument("name", metavar="NAME")
    _which(made)
    made.add_argument("--output", metavar="DIR", required=True, help="the folder to make")
    signing_verbs.add_trust(made)
    made = verb("history", "List the moves of a channel, the oldest first.", history)
    made.add_argument("name", metavar="NAME")
    made.add_argument("channel", metavar="CHANNEL")
    made = verb("verify", "Look whether everything is there, and is what it should be.", verify)
    made.add_argument(
        "--quick", action="store_true", help="compare sizes only, and do not read the blobs"
    )
    signing_verbs.add_trust(made)
    made = verb("gc", "Delete the releases that the project file's [retention] does not keep.", gc)
    made.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be deleted, and delete nothing"
    )
    for option, kind, text in (
        ("keep-last", int, "keep the newest N releases of each recipe"),
        ("keep-days", float, "keep releases that are younger than N days"),
        ("rollback-steps", int, "keep what a channel can go back to in N steps"),
        ("running-days", float, "keep what a host reported within N days"),
        ("grace-hours", float, "keep whatever was written within N hours"),
    ):
        made.add_argument(f"--{option}", type=kind, metavar="N", help=text)
    made = verb("running", "Note that a host runs a release, so that gc keeps it.", running)
    made.add_argument("name", metavar="NAME")
    made.add_argument("version", metavar="VERSION", help="the release, or the id of its image")
    made.add_argument("--host", required=True, help="the host's name")
    text = "Find the releases that have a package."
    made = verb("search", text, contents_verbs.search)
    made.add_argument("package", metavar="PACKAGE")
    made.add_argument("--below", metavar="VERSION", default="", help="only earlier versions")
    made.add_argument("--recipe", metavar="NAME", default="", help="only releases of this recipe")
    made.add_argument("--source", action="store_true", help="PACKAGE is a source package as well")
    export_verbs.add(verb)
    policy_verbs.add(verb)
    made = verb(
        "sign", "Sign a release; with a channel, also that it names it.", signing_verbs.sign
    )
    made.add_argument("name", metavar="NAME")
    _which(made)
    signing_verbs.add_keys(made)
    made.add_argument(
        "--image",
        metavar="DIR",
        default="",
        help="sign only if the release is of this image (build/NAME/IMAGE_ID)",
    )
    text = "Show the in-toto statements about a release: its provenance, its test result."
    made = verb("attestations", text, signing_verbs.attestations)
    made.add_argument("name", metavar="NAME")
    _which(made)
    signing_verbs.add_trust(made)
    text = "Mirror a catalog: another one gets the releases and channels that it lacks."
    made = verbs.add_parser("sync", help=text, description=text, parents=[common])
    made.set_defaults(verb=contents_verbs.sync)
    made.add_argument("source", metavar="FROM", help="the catalog's URL")
    made.add_argument("target", metavar="TO", help="the mirror's URL; made if need be")
    made.add_argument(
        "--recipe", metavar="NAME", action="append", default=[], help="only this one (repeatable)"
    )
    made.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be copied, and write nothing"
    )
    made.add_argument(
        "--export",
        metavar="FORMAT",
        action="append",
        default=[],
        help="what other tools read of the mirror follows, too: see export (repeatable)",
    )
    made.add_argument(
        "--url", metavar="URL", default="", help="where readers find the mirror by plain HTTP"
    )
    made = verbs.add_parser(
        "key",
        help="Make a key to sign with.",
        description="Make a key to sign with.",
        parents=[common],
    )
    made.set_defaults(verb=signing_verbs.key)
    made.add_argument("file", metavar="FILE", help="the secret key; FILE.pub gets the public one")


def _which(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--channel", default="", help="the release that this channel names")
    group.add_argument("--version", default="", help="this very release")


def ls(context: Context) -> int:
    """``catalog ls``."""
    catalog = opened(context)
    found = catalog.releases(context.args.name or None)
    named: dict[tuple[str, str], list[str]] = {}
    for channel in catalog.named(context.args.name or None):
        named.setdefault((channel.name, channel.release), []).append(channel.channel)
    rows: list[list[str]] = []
    for each in found:
        channels = named.get((each.name, each.version), [])
        if context.out.as_json:
            context.out.data("release", each.model_dump(mode="json") | {"channels": channels})
            continue
        rows.append([each.name, each.version, human_size(each.size), " ".join(channels)])
    context.out.table(rows)
    return 0


def show(context: Context) -> int:
    """``catalog show``."""
    release = opened(context).show(context.args.name, asked(context))
    context.out.data("release", release.model_dump(mode="json"))
    context.out.say(release.model_dump_json(indent=2, exclude_defaults=True))
    return 0


def pull(context: Context) -> int:
    """``catalog pull``."""
    folder = opened(context).pull(
        context.args.name,
        asked(context),
        Path(context.args.output),
        trust=signing_verbs.trust(context),
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    context.out.data("pulled", {"path": str(folder)})
    context.out.say(f"{context.args.name}: in {folder}")
    return 0


def history(context: Context) -> int:
    """``catalog history``."""
    rows: list[list[str]] = []
    for each in opened(context).history(context.args.name, context.args.channel):
        context.out.data("move", each.model_dump(mode="json"))
        rows.append(
            [str(each.generation), each.time, each.action, each.release, each.by, each.reason]
        )
    context.out.table(rows)
    return 0


def verify(context: Context) -> int:
    """``catalog verify``."""
    # With the exports that follow each change, so that these are looked at as well.
    found = opened(context, changes=True).verify(
        contents=not context.args.quick,
        trust=signing_verbs.trust(context),
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    for each in found.findings:
        context.out.data("finding", asdict(each))
        context.out.say(f"{each.kind:6}  {each.where}: {each.what}")
        if each.fix:
            context.out.say(f"        → {each.fix}")
    context.out.data(
        "verified", {"ok": found.ok, "releases": found.releases, "channels": found.channels}
    )
    context.out.say(
        f"{'whole' if found.ok else 'BROKEN'}: {found.releases} releases, {found.channels} "
        f"channels, {found.blobs} blobs, {human_size(found.bytes)}"
    )
    return 0 if found.ok else CatalogError.exit_status


def gc(context: Context) -> int:
    """``catalog gc``."""
    freed = opened(context, changes=True).gc(
        _policy(context),
        dry_run=context.args.dry_run,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    would = "would delete" if freed.dry_run else "deleted"
    for name, reason in freed.kept:
        context.out.data("kept", name.model_dump() | {"reason": reason})
        context.out.say(f"keep    {name.name} {name.version}  {reason}")
    for name in freed.releases:
        context.out.data("deleted", name.model_dump() | {"dry_run": freed.dry_run})
        context.out.say(f"{'delete' if freed.dry_run else 'gone  '}  {name.name} {name.version}")
    for each in freed.failures:
        context.out.error(CatalogError(each.what, where=Location(file=each.where), fix=each.fix))
    context.out.data(
        "freed",
        {
            "dry_run": freed.dry_run,
            "releases": len(freed.releases),
            "blobs": freed.blobs,
            "bytes": freed.bytes,
            "unfinished": freed.unfinished,
            "failures": len(freed.failures),
        },
    )
    said = f"{would} {len(freed.releases)} releases and {freed.blobs} blobs: "
    left = f", and {human_size(freed.unfinished)} of unfinished uploads" if freed.unfinished else ""
    context.out.say(f"{said}{human_size(freed.bytes)}{left}")
    return CatalogError.exit_status if freed.failures else 0


def running(context: Context) -> int:
    """``catalog running``."""
    args = context.args
    found = opened(context).report_running(args.name, args.version, host=args.host)
    context.out.data("running", found.model_dump(mode="json"))
    context.out.say(f"{found.host} runs {found.name} {found.version}")
    return 0


def _policy(context: Context) -> Retention:
    from pydantic import ValidationError

    from imagebuilder.policies import Retention

    try:
        policy = context.project().settings.retention
    except InputError:
        if (Path(context.args.directory) / PROJECT_FILE).exists():
            raise  # what is to be kept stands there, and cannot be read
        policy = Retention()
    asked = {
        key: value
        for key in Retention.model_fields
        if (value := getattr(context.args, key)) is not None
    }
    try:
        return Retention.model_validate(policy.model_dump() | asked)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise InputError(f"--{option}: {first['msg']}") from error
