"""``imagebuilder catalog sign`` and ``key``, and what other verbs ask of signatures."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.cli.context import Context
from imagebuilder.cli.named import asked, opened
from imagebuilder.errors import InputError

if TYPE_CHECKING:
    from imagebuilder.catalog.envelope import Signer
    from imagebuilder.catalog.trust import Trust


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the options of verbs that check signatures."""
    parser.add_argument(
        "--trust",
        metavar="FILE",
        default="",
        help="refuse what the keys of this trust root did not sign",
    )
    parser.add_argument(
        "--memory",
        metavar="FILE",
        default="",
        help="where the newest signature seen of each channel is kept (in the user's state folder)",
    )


def add_keys(parser: argparse.ArgumentParser) -> None:
    """Add the options of verbs that sign."""
    parser.add_argument(
        "--key", metavar="FILE", action="append", default=[], help="a secret key; can be repeated"
    )
    parser.add_argument(
        "--key-command",
        metavar="COMMAND",
        default="",
        help="a command that signs its standard input and prints Base64",
    )
    parser.add_argument(
        "--public-key", metavar="FILE", default="", help="the public key of --key-command"
    )
    parser.add_argument(
        "--days", type=float, default=30.0, metavar="N", help="how long a channel is signed for"
    )


def trust(context: Context) -> Trust | None:
    """Return the trust root that the command line names, if it names one."""
    if not context.args.trust:
        if context.args.memory:
            raise InputError("--memory has no effect without --trust")
        return None
    import platformdirs

    from imagebuilder.catalog.trust import Trust

    state = platformdirs.user_state_path("imagebuilder") / "signed-channels.json"
    memory = Path(context.args.memory) if context.args.memory else state
    return Trust.open(Path(context.args.trust), memory)


def sign(context: Context) -> int:
    """``catalog sign``."""
    from imagebuilder.image import Image

    which = asked(context)
    folder = context.args.image
    image = Image.open(Path(folder)) if folder else None
    ids = opened(context, changes=True).sign(
        context.args.name,
        which,
        signers=signers(context),
        days=context.args.days,
        image=image,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    context.out.data("signed", {"name": context.args.name, "what": which, "keys": list(ids)})
    context.out.say(f"{context.args.name}: signed {which} with {len(ids)} keys")
    return 0


def attestations(context: Context) -> int:
    """``catalog attestations``."""
    which = asked(context)
    believed = trust(context)
    for each in opened(context).attestations(context.args.name, which, trust=believed):
        said = each.statement
        signers = sorted(each.signers)
        context.out.data(
            "attestation",
            {"statement": said.model_dump(mode="json", by_alias=True), "signers": signers},
        )
        context.out.say(said.kind)
        if said.builder:
            context.out.say(f"  builder  {said.builder}")
        for test in sorted(said.passed):
            context.out.say(f"  passed   {test}")
        for test in sorted(said.warned):
            context.out.say(f"  warned   {test}")
        for signer in signers:
            context.out.say(f"  signer   {signer}")
    return 0


def key(context: Context) -> int:
    """``catalog key``."""
    from imagebuilder.catalog.envelope import key_id, make_key, read_public_key

    public = make_key(Path(context.args.file))
    found = key_id(read_public_key(public))
    context.out.data("key", {"secret": context.args.file, "public": str(public), "id": found})
    context.out.say(f"the secret key is in {context.args.file}, the public one in {public}")
    context.out.say(f"  key id  {found}")
    return 0


def signers(context: Context) -> list[Signer]:
    """Return what the command line names to sign with.

    Raises:
        InputError: a key cannot be read, or a command lacks its public key.
    """
    from imagebuilder.catalog.envelope import CommandSigner, FileSigner, read_public_key

    args = context.args
    found: list[Signer] = [FileSigner.open(Path(each)) for each in args.key]
    if bool(args.key_command) != bool(args.public_key):
        raise InputError("--key-command and --public-key belong together")
    if args.key_command:
        try:
            argv = tuple(shlex.split(args.key_command))
        except ValueError as error:
            raise InputError(f"--key-command: {error}") from error
        if not argv:
            raise InputError("--key-command names no command")
        found.append(CommandSigner(argv=argv, public_key=read_public_key(Path(args.public_key))))
    return found
