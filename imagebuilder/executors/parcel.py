"""A project as bytes, on its way to another machine."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from imagebuilder.errors import InputError, Location
from imagebuilder.names import PROJECT_FILE

_LIMIT = 64 << 20  # bytes: recipes and what they copy, not what was built of them
_LEFT_OUT = ("build", ".git", ".venv")  # at the top of the project: these are no inputs


def wrap(root: Path) -> bytes:
    """Return all of a project that its recipes can follow from.

    Raises:
        InputError: it is too large, or cannot be read.
    """
    made = io.BytesIO()
    left = _LIMIT
    try:
        with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1) as tar:
            for path in _files(root):
                facts = path.lstat()
                left -= facts.st_size
                if left < 0:
                    raise _too_large(root, path)
                tar.add(path, arcname=str(path.relative_to(root)), recursive=False)
    except OSError as error:
        raise InputError(
            f"the project cannot be sent to another machine: {error.strerror or error}",
            where=Location(file=str(error.filename or root)),
        ) from error
    return made.getvalue()


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            folders[:] = [each for each in folders if each not in _LEFT_OUT]
        folders.sort()
        # Links to folders stand among the folders, and are not gone into.
        found += (Path(folder) / each for each in sorted([*folders, *files]))
    return [each for each in found if each.is_symlink() or each.is_dir() or each.is_file()]


def _too_large(root: Path, path: Path) -> InputError:
    return InputError(
        f"the project has more than {_LIMIT >> 20} MiB, too much to be sent with each image",
        where=Location(file=str(path.relative_to(root))),
        fix=f"keep large files out of the folder of {PROJECT_FILE}: a package, or a script that "
        "fetches them, brings them as well",
    )


def unwrap(parcel: bytes, into: Path) -> None:
    """Make a project's folder again; nothing of it lands elsewhere.

    Raises:
        InputError: it is none.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(parcel), mode="r:gz") as tar:
            tar.extractall(into, filter="tar")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"the project that was sent cannot be unpacked: {error}") from error
