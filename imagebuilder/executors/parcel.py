"""A project as bytes, on its way to another machine."""

from __future__ import annotations

import io
import os
import tarfile
import tomllib
from pathlib import Path

from imagebuilder.errors import InputError, Location
from imagebuilder.names import PROJECT_FILE
from imagebuilder.project import ResolvedRecipe

_LIMIT = 64 << 20  # bytes: recipes and what they copy, not what was built of them
_LEFT_OUT = ("build", ".git", ".venv")  # at the top of the project: these are no inputs


def wrap(resolved: ResolvedRecipe) -> bytes:
    """Return all of a project that a recipe can follow from, and no secret.

    Files that secrets are read from stay here, whichever recipe reads them, and so does a remote
    cache in the project's folder.

    Raises:
        InputError: it is too large, or cannot be read.
    """
    root = resolved.project.root
    kept = _kept(resolved)
    made = io.BytesIO()
    left = _LIMIT
    try:
        with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1) as tar:
            for path in _files(root, kept):
                left -= 0 if path.is_dir() else path.lstat().st_size
                if left < 0:
                    raise _too_large(root, path)
                tar.add(path, arcname=str(path.relative_to(root)), recursive=False)
    except OSError as error:
        raise InputError(
            f"the project cannot be sent to another machine: {error.strerror or error}",
            where=Location(file=str(error.filename or root)),
        ) from error
    return made.getvalue()


def _kept(resolved: ResolvedRecipe) -> frozenset[Path]:
    """Return what stays here."""
    root, settings = resolved.project.root, resolved.project.settings
    named = [each.file for each in (*settings.secrets.values(), *resolved.recipe.secrets.values())]
    for path in (root / "recipes").rglob("*.toml"):
        try:
            secrets = tomllib.loads(path.read_text(encoding="utf-8")).get("secrets", {})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
            continue  # not the recipe that is sent, which was read
        sources = secrets.values() if isinstance(secrets, dict) else ()
        named += [str(each.get("file", "")) for each in sources if isinstance(each, dict)]
    if settings.cache and "://" not in settings.cache:
        named.append(settings.cache)
    return frozenset(_within(root, each) for each in named if each)


def _within(root: Path, name: str) -> Path:
    return Path(os.path.normpath(root / Path(name).expanduser()))


def _files(root: Path, kept: frozenset[Path]) -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            folders[:] = [each for each in folders if each not in _LEFT_OUT]
        folders[:] = sorted(each for each in folders if Path(folder, each) not in kept)
        # Links to folders stand among the folders, and are not gone into.
        found += (Path(folder) / each for each in sorted([*folders, *files]))
    return [
        each
        for each in found
        if each not in kept and (each.is_symlink() or each.is_dir() or each.is_file())
    ]


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
