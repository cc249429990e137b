"""Lock files: the exact packages of a recipe, written down beside it.

``recipes/NAME.lock.json`` has each package with its version and the digest of its file.  It
names no mirror: any that has those files will do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from imagebuilder.errors import InputError, Location

_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+~:_-]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LockedPackage(_Model):
    """A package, and the file that it comes in."""

    name: _Word
    version: _Word
    arch: _Word
    size: int = Field(ge=0, description="bytes of the file")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of the file")
    origin: str = Field(description="who had it, as apt says it: LABEL:VERSION/SUITE")


class LockedSource(_Model):
    """A release that packages came from, as its signed file called itself."""

    label: str
    suite: str
    date: str = Field(description="when the release was made, in the words of its file")


class Wishes(_Model):
    """What the recipe asked for."""

    packages: tuple[str, ...] = Field(description="lines of %packages")
    weak_dependencies: bool = Field(description="whether recommended packages come along")
    ignore_missing: bool = Field(description="whether packages that nobody knows are passed over")
    default: bool = Field(description="whether the default groups come along")


class LockedLayer(_Model):
    """Packages that are installed before the others, since other recipes have them as well."""

    asked: tuple[str, ...] = Field(description="what apt is asked to install")
    packages: tuple[_Word, ...] = Field(description="the names of all that this comes to")


class LockFile(_Model):
    """``recipes/NAME.lock.json``: exactly these packages make the image."""

    format: Literal[1] = 1
    recipe: str = Field(description="the recipe's name")
    distro: str = Field(description="the distribution and release that it is for")
    arch: str = Field(description="the packages' name for the architecture")
    made: str = Field(description="when it was made")
    sources: tuple[LockedSource, ...] = Field(description="the releases that it was made from")
    wishes: Wishes = Field(description="what the recipe asked for")
    asked: tuple[str, ...] = Field(description="what apt is asked to install")
    missing: tuple[str, ...] = Field(default=(), description="wishes that nobody knew")
    layers: tuple[LockedLayer, ...] = Field(
        default=(), description="what is installed before the rest, the lowest layer first"
    )
    packages: tuple[LockedPackage, ...] = Field(description="all packages, by name")

    def versions(self) -> Mapping[str, str]:
        """Return the version of each package, by name."""
        return {each.name: each.version for each in self.packages}

    def to_json(self) -> str:
        """Return the text of the file: a line for each package, so that a diff can be read."""
        data = self.model_dump(mode="json")
        layers, rows = data.pop("layers"), data.pop("packages")
        head = json.dumps(data, indent=1, ensure_ascii=False).removesuffix("\n}")
        for name, each in (("layers", layers), ("packages", rows)):
            if each or name == "packages":
                lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in each)
                head += f',\n "{name}": [\n{lines}\n ]'
        return f"{head}\n}}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a package differs between two lock files.

    Attributes:
        name: the package.
        old: its version before, or "" if it was not there.
        new: its version now, or "" if it is gone.
        why: if the version is the same: what else is different.
        security: whether a security update is in it.
    """

    name: str
    old: str
    new: str
    why: str = ""
    security: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain JSON data."""
        return {
            "package": self.name,
            "old": self.old,
            "new": self.new,
            "why": self.why,
            "security": self.security,
        }


def place_of(root: Path, name: str) -> tuple[Path, Location]:
    """Return where the lock file of a recipe is, and how that is said."""
    said = f"recipes/{name}.lock.json"
    return root / said, Location(file=said)


def read(root: Path, name: str) -> LockFile | None:
    """Return the lock file of a recipe of the project in a folder, or None if there is none.

    Raises:
        InputError: it cannot be read, or is no lock file of this recipe.
    """
    path, where = place_of(root, name)
    fix = f"make it again: imagebuilder lock {name} --update"
    try:
        lock = LockFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = f"this is no lock file: {f'{key}: ' if key else ''}{first['msg']}"
        raise InputError(what, where=where, fix=fix) from error
    if lock.recipe != name:
        raise InputError(f"this is the lock file of {lock.recipe!r}", where=where, fix=fix)
    return lock


def write(root: Path, lock: LockFile) -> Path:
    """Write a lock file beside its recipe, whole or not at all; return where.

    Raises:
        OSError: the disk is full, the folder cannot be written to.
    """
    path, _ = place_of(root, lock.recipe)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(lock.to_json(), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def changes(old: LockFile | None, new: LockFile) -> tuple[Change, ...]:
    """Return how the packages of two lock files differ, by name; none is marked as security."""
    before = {each.name: each for each in old.packages} if old else {}
    after = {each.name: each for each in new.packages}
    return tuple(_changes(before, after))


def _changes(
    before: Mapping[str, LockedPackage], after: Mapping[str, LockedPackage]
) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        old, new = was.version if was else "", now.version if now else ""
        if old != new:
            yield Change(name=name, old=old, new=new)
        elif was and now and (was.sha256, was.arch) != (now.sha256, now.arch):
            yield Change(name=name, old=old, new=new, why="another file of the same version")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a lock file."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**dialect, **LockFile.model_json_schema()}
