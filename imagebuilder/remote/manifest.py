"""What stands in a remote cache: entries, each with a manifest and the objects that it names.

::

    entries/KIND/ID.json           the manifest: what there is, each with size and SHA-256
    blobs/KIND/ID/SHA256           the objects

An object's key has its digest in it, so that builders who share the same entry at the same time
do not overwrite each other; the manifest is written last.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from imagebuilder.names import RecipeName

Kind = Literal["image", "packages", "initrd"]

ENTRIES, BLOBS = "entries/", "blobs/"
LIMIT = 4 << 20  # bytes of a manifest
_LARGEST = 1 << 40  # bytes of an object

EntryId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]

_ENTRY = re.compile(rf"{ENTRIES}(image|packages|initrd)/([0-9a-f]{{32}})\.json")
_BLOB = re.compile(rf"{BLOBS}(image|packages|initrd)/([0-9a-f]{{32}})/[0-9a-f]{{64}}")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Item(_Model):
    """An object of an entry.  ``size`` is in bytes, ``sha256`` in hexadecimal."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    size: int = Field(ge=0, le=_LARGEST)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Tree(_Model):
    """What an archive unpacks to: never more than that is taken from it."""

    size: int = Field(ge=0, le=_LARGEST, description="bytes of all files")
    entries: int = Field(ge=0, le=10_000_000, description="files, folders and links")


class Manifest(_Model):
    """``entries/KIND/ID.json``: what one result of a build consists of."""

    format: Literal[1] = 1
    kind: Kind
    id: EntryId = Field(
        description="the content id of the step whose result it is; of an initrd, of its packages"
    )
    recipe: RecipeName = Field(description="the recipe for which it was made, for people")
    used: str = Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        description="the day on which it was last shared or used by a builder that can write",
    )
    items: tuple[Item, ...]
    tree: Tree | None = Field(default=None, description="what the archive among them unpacks to")
    facts: dict[str, JsonValue] = Field(
        default_factory=dict, description="what the engine noted of the result"
    )

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if len({each.name for each in self.items}) != len(self.items):
            raise ValueError("two objects have one name")
        return self

    @property
    def size(self) -> int:
        """The bytes of all its objects."""
        return sum(each.size for each in self.items)


def entry_key(kind: Kind, entry_id: str) -> str:
    """Return where the manifest of an entry is."""
    return f"{ENTRIES}{kind}/{entry_id}.json"


def blob_folder(kind: Kind, entry_id: str) -> str:
    """Return below what the objects of an entry are."""
    return f"{BLOBS}{kind}/{entry_id}/"


def blob_key(kind: Kind, entry_id: str, item: Item) -> str:
    """Return where an object of an entry is."""
    return f"{blob_folder(kind, entry_id)}{item.sha256}"


def entry_of(key: str) -> tuple[Kind, str] | None:
    """Return kind and id of the entry whose manifest or object has that key, or None."""
    found = _ENTRY.fullmatch(key) or _BLOB.fullmatch(key)
    if not found:
        return None
    kinds: dict[str, Kind] = {each: each for each in get_args(Kind)}
    return kinds[found[1]], found[2]
