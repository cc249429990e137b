"""Packs and unpacks trees, in namespaces of its own: a program.

It reads an :class:`Order` from standard input and writes one line of JSON: what came of it, or
what was wrong.  An ordinary user's trees have files of his subordinate ids, which he can read and
make only here.  Before it unpacks anything, the folder that takes it becomes the root of all
that this process sees: no path leads out of it, whatever stands in the archive.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command, sandbox
from imagebuilder.errors import StepError
from imagebuilder.progress import Cancel
from imagebuilder.remote.manifest import Tree
from imagebuilder.remote.trees import RefusedError, pack, unpack

_TIMEOUT = 1800.0  # seconds
_MEMORY = 2 << 30  # bytes of addresses: headers of an archive may claim any length


class Order(BaseModel):
    """What is to be done.

    Attributes:
        tree: a folder: what is packed, or is to be filled.
        archive: a file: what is written, or is unpacked.
        limits: how much it may unpack to; None: it is packed.
        forbidden: texts that must stand nowhere in what is packed.
        checked: folders of the tree in which no URL may have a password.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tree: Path
    archive: Path
    limits: Tree | None = None
    forbidden: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()


class Archived(BaseModel):
    """An archive that was written: its size in bytes, its digest, and what it unpacks to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: str
    tree: Tree


def run_pack(order: Order, cancel: Cancel) -> Archived:
    """Pack a tree, in namespaces.

    Raises:
        StepError: it cannot be, or must not be: there is a secret in it.
        Interrupted: somebody asked to stop.
    """
    said = _run(order, cancel, "packing a tree")
    try:
        return Archived.model_validate_json(said)
    except ValidationError as error:
        raise StepError(f"packing {order.tree} ended without a result") from error


def run_unpack(order: Order, cancel: Cancel) -> None:
    """Unpack an archive into an empty folder, in namespaces.

    Raises:
        RefusedError: it has what it must not have, or cannot be read.
        StepError: it cannot be unpacked here: the disk is full, or has no room for attributes.
        Interrupted: somebody asked to stop.
    """
    assert order.limits
    _run(order, cancel, "unpacking a tree")


def _run(order: Order, cancel: Cancel, what: str) -> str:
    result = command.run(
        sandbox.enclose([sys.executable, "-P", "-m", __name__], network=False),
        timeout=_TIMEOUT,
        stdin=order.model_dump_json().encode(),
        cancel=cancel,
        check=False,
        what=what,
        raw=True,
        keep=20,
    )
    if result.returncode == 0:
        return result.stdout
    try:
        said = json.loads(result.stdout)
        error, is_refused = str(said["error"]), bool(said["refused"])
    except (ValueError, KeyError, TypeError):
        raise command.failure(result, what=what) from None
    raise RefusedError(error) if is_refused else StepError(error)


class _Hashed:
    """A file that is written, with the digest of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _pack(order: Order) -> str:
    with order.archive.open("xb") as file:
        sink = _Hashed(file)
        packed = pack(
            order.tree,
            sink,  # type: ignore[arg-type]  # it is written to, and that alone
            forbidden=order.forbidden,
            checked=order.checked,
        )
    tree = Tree(size=packed.size, entries=packed.entries)
    return Archived(size=sink.size, sha256=sink.sha256, tree=tree).model_dump_json()


def _unpack(order: Order, limits: Tree) -> str:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    with order.archive.open("rb") as archive:
        sandbox.enter_root(order.tree)
        unpack(archive, Path("/"), size=limits.size, entries=limits.entries)
    return "{}"


def main() -> int:
    """Run as a program."""
    os.umask(0o022)
    order = Order.model_validate_json(sys.stdin.buffer.read())
    command.hide(*order.forbidden)
    status = 1
    try:
        said = _unpack(order, order.limits) if order.limits else _pack(order)
        status = 0
    except RefusedError as error:
        said = json.dumps({"error": error.what, "refused": True})
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        said = json.dumps({"error": f"{error.strerror or error}{place}", "refused": False})
    sys.stdout.write(f"{said}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
