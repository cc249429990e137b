"""Initrds that are kept: dracut need not run when nothing that it reads has changed.

An initrd follows from the package layer, from how dracut is called, and from those of the
overlay's changes that dracut reads: what is in the initrd, what dracut's scripts may ask for (see
:mod:`~imagebuilder.engines.direct.dracut_asks`), and libraries that programs found or may find.
Whatever differs beside these lets an initrd stand.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import cache, files
from imagebuilder.engines.direct import dracut_asks
from imagebuilder.image import sha256_of

FILE, FACTS = "initrd.img", "initrd.json"
RECORD = "logs/.initrd.json"  # beside an initrd that was made: what is kept of it
# dracut has ldconfig write it anew, of the libraries that the initrd has.
_LINKER_CACHE = "etc/ld.so.cache"
_KEPT = 8  # initrds of one package layer; of those that differ little the last are wanted
_HALF = 600  # seconds after which one that is not whole was left by a build that was killed
_LAYERS = 32  # package layers of which initrds are kept


class Kept(BaseModel):
    """``initrd.json`` beside an initrd.

    Attributes:
        sha256: of the initrd.
        changes: what the overlay had changed in the package layer, by path.
        taken: the paths in the initrd.
        family: the name of its family; "": an older program did not note it.
        libraries: the names of all shared libraries of the tree that it was made of, without
            their versions; None: an older program did not note them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    changes: dict[str, str]
    taken: frozenset[str]
    family: str = Field(default="", pattern=r"^[0-9a-z]{0,32}$")
    libraries: frozenset[str] | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the files in it, without their folders."""
        return frozenset(each.rsplit("/", 1)[-1] for each in self.taken)


def place(cache_dir: Path) -> Path:
    """Return the folder in which this user's initrds are kept, each family in its own."""
    return cache_dir / f"initrds/uid-{os.geteuid()}"


def family(words: Iterable[str]) -> str:
    """Return the name under which initrds are kept that differ by their overlay alone.

    Args:
        words: the package layer, and all of how dracut is called.
    """
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def find(store: Path, wanted: Mapping[str, str], tree: Path) -> Path | None:
    """Return an initrd that dracut would make again, byte for byte, or None.

    Args:
        store: the folder of the family.
        wanted: the changes of the tree that an initrd is wanted for.
        tree: that tree, for dracut's scripts.
    """
    asks: dracut_asks.Asks | None = None
    for folder in _newest_first(store, FACTS):
        kept = _read(folder)
        if kept is None:
            continue
        differ = {
            path for path in {*kept.changes, *wanted} if kept.changes.get(path) != wanted.get(path)
        }
        if differ:
            asks = asks or dracut_asks.read(tree)
            if any(may_matter(path, kept, asks) for path in differ):
                continue
        try:
            if sha256_of(folder / FILE) == kept.sha256:
                cache.touch(folder / FACTS)
                return folder / FILE
        except OSError:
            pass  # removed meanwhile by another build
        shutil.rmtree(folder, ignore_errors=True)  # it is damaged
    return None


def keep(
    store: Path, made: Path, changed: Mapping[str, str], taken: Iterable[str], tree: Path
) -> None:
    """Keep an initrd for builds to come; the oldest of too many are removed.

    Args:
        store: the folder of the family.
        made: the initrd.
        changed: the changes of the tree that it was made of.
        taken: the paths in it.
        tree: that tree, for its libraries.

    Raises:
        OSError: the disk is full.
    """
    fresh = _new(store)
    try:
        shutil.copyfile(made, fresh / FILE)
        kept = Kept(
            sha256=sha256_of(fresh / FILE),
            changes=dict(changed),
            taken=frozenset(each.removeprefix("./") for each in taken),
            family=store.name,
            libraries=dracut_asks.libraries(tree),
        )
        _note(fresh / FACTS, kept)
        if (made.parent / RECORD).parent.is_dir():
            _note(made.parent / RECORD, kept)
        files.sync(fresh / FILE)
        fresh.rename(store / secrets.token_hex(8))
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _bound(store)


def note_taken(found: Path, changed: Mapping[str, str], into: Path) -> None:
    """Note beside an image what its initrd follows from that was taken from those that are kept.

    dracut would have made it of this image's tree as well: so what is noted is of that, and
    nothing of the image that it was made for first.

    Args:
        found: the initrd that was taken.
        changed: the changes of the tree that it was taken for.
        into: the image's initrd.
    """
    kept = _read(found.parent)
    if kept is None or not (into.parent / RECORD).parent.is_dir():
        return  # it was pruned meanwhile; this is for others alone
    libraries = kept.libraries
    if libraries is not None:
        libraries |= {dracut_asks.library(path.rsplit("/", 1)[-1]) for path in changed} - {""}
    fields = {"changes": dict(changed), "libraries": libraries}
    _note(into.parent / RECORD, kept.model_copy(update=fields))


def adopt(store: Path, folder: Path, name: str) -> None:
    """Keep an initrd that was made elsewhere.

    Args:
        store: the folder of its family.
        folder: has ``initrd.img`` and ``initrd.json``, compared with their digests.
        name: what it is kept as.

    Raises:
        OSError: the disk is full.
    """
    fresh = _new(store)
    try:
        for each in (FILE, FACTS):
            shutil.copyfile(folder / each, fresh / each)
        (fresh / FACTS).chmod(0o600)
        files.sync(fresh / FILE)
        if not (store / name).exists():
            fresh.rename(store / name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _bound(store)


def _new(store: Path) -> Path:
    """Make a folder for an initrd that is not whole yet; remove those of builds long killed."""
    store.mkdir(parents=True, exist_ok=True)
    for half in store.glob(".new-*"):
        if time.time_ns() - _changed(half) > _HALF * 10**9:
            shutil.rmtree(half, ignore_errors=True)
    fresh = store / f".new-{secrets.token_hex(4)}"
    fresh.mkdir()
    return fresh


def _note(path: Path, kept: Kept) -> None:
    # Digests of small files, such as a script writes with a secret, can be guessed from.
    path.touch(mode=0o600)
    path.write_text(kept.model_dump_json())


def _bound(store: Path) -> None:
    os.utime(store)
    for old in [*_newest_first(store, FACTS)[_KEPT:], *_newest_first(store.parent)[_LAYERS:]]:
        shutil.rmtree(old, ignore_errors=True)


def may_matter(path: str, kept: Kept, asks: dracut_asks.Asks) -> bool:
    """Return whether an initrd would be another one if a path were.

    A library matters if the tree had one of that name in any version and place, which a program
    may have found, or would have found now.  One that is new to the tree was asked for by no
    program that worked.

    Args:
        path: relative to the root.
        kept: what is known of the initrd.
        asks: what dracut may ask for.
    """
    name = path.rsplit("/", 1)[-1]
    if path in kept.taken and path != _LINKER_CACHE:
        return True
    if dracut_asks.is_record(path):
        return False
    if name in kept.names:  # it may be found in the other's place
        return True
    library = dracut_asks.library(name)
    if library and (kept.libraries is None or library in kept.libraries):
        return True
    return asks.may_read(path)


def _read(folder: Path) -> Kept | None:
    try:
        return Kept.model_validate_json((folder / FACTS).read_bytes())
    except (OSError, ValidationError):
        return None


def _newest_first(place: Path, marker: str = "") -> list[Path]:
    """Return what is in a folder by the time of each, or of a file in each."""
    try:
        found = [each for each in place.iterdir() if not each.name.startswith(".")]
    except OSError:
        return []  # it is not there yet
    return sorted(found, key=lambda each: _changed(each / marker), reverse=True)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # half of one, or removed just now by another build
