"""Initrds that are kept: dracut need not run when nothing that it reads has changed.

An initrd follows from the package layer, from how dracut is called, and from those of the
overlay's changes that dracut reads.  Which it reads cannot be known beforehand, but what it
cannot read can: a path that is not in the initrd, lies in no folder of libraries, and of which
not one word stands anywhere in dracut's scripts, programs and configuration, so that none of
them could have asked for it.  Whatever differs beside such paths lets dracut run again.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import cache, files
from imagebuilder.image import sha256_of

FILE, FACTS = "initrd.img", "initrd.json"
RECORD = "logs/.initrd.json"  # beside an initrd that was made: what is kept of it
_KEPT = 8  # initrds of one package layer; of those that differ little the last are wanted
_HALF = 600  # seconds after which one that is not whole was left by a build that was killed
_LAYERS = 32  # package layers of which initrds are kept

# Where dracut and its scripts are, and what they are told; the programs that rules of udev and
# modprobe name are taken as well.
_DRACUT = (
    "usr/lib/dracut",
    "usr/bin/dracut",
    "etc/dracut.conf",
    "etc/dracut.conf.d",
    "usr/lib/udev/rules.d",
    "etc/udev/rules.d",
    "usr/lib/modprobe.d",
    "etc/modprobe.d",
)
_LARGEST = 4 << 20  # bytes of one of these
# What is changed below these counts in any case: programs load what they find there.
_LIBRARIES = re.compile(r"(usr/(local/)?)?lib(32|64|x32|exec)?(/|$)")
# What package managers keep of packages, and what only people read.  Of these dracut's scripts and
# the programs that they call ask nothing, though words of the paths stand in them.
_RECORDS = re.compile(
    r"var/lib/dpkg/(info|alternatives|triggers)(/|$)|var/lib/dpkg/(status|diversions)(-old)?$"
    r"|var/lib/apt(/|$)|var/cache/(apt|debconf)(/|$)|var/log(/|$)"
    r"|usr/share/(doc|man|info|locale|bug|lintian)(/|$)"
)
_WORD = re.compile(rb"[A-Za-z0-9]{3,}")
_COMMENT = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
# Words of nearly every path: that dracut's scripts have them says nothing.
_COMMON = frozenset(
    {b"etc", b"usr", b"var", b"bin", b"sbin", b"share", b"local", b"conf", b"cfg", b"txt", b"list"}
)


class Kept(BaseModel):
    """``initrd.json`` beside an initrd.

    Attributes:
        sha256: of the initrd.
        changes: what the overlay had changed in the package layer, by path.
        taken: the paths in the initrd.
        family: the name of its family; "": an older program did not note it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    changes: dict[str, str]
    taken: frozenset[str]
    family: str = Field(default="", pattern=r"^[0-9a-z]{0,32}$")


def place(cache_dir: Path) -> Path:
    """Return the folder in which this user's initrds are kept, each family in its own."""
    return cache_dir / f"initrds/uid-{os.geteuid()}"


def family(words: Iterable[str]) -> str:
    """Return the name under which initrds are kept that differ by their overlay alone.

    Args:
        words: the package layer, and all of how dracut is called.
    """
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def changes(upper: Path, lower: Path) -> dict[str, str]:
    """Return what an overlay changes, with what it is there now.

    Args:
        upper: where the overlay keeps its changes.
        lower: the tree below it.
    """
    found: dict[str, str] = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(upper / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}".lstrip("/")
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(path)
                    marks = _marks(entry.path)
                    if not marks and _is_same_folder(facts, lower / path):
                        continue
                    found[path] = f"{_mode(facts)} {marks}"
                elif stat.S_ISLNK(facts.st_mode):
                    found[path] = f"{_mode(facts)} {Path(entry.path).readlink()}"
                elif stat.S_ISREG(facts.st_mode):
                    # Its time is in the initrd, if the file is.
                    digest = sha256_of(Path(entry.path))
                    found[path] = f"{_mode(facts)} {facts.st_mtime_ns} {digest}"
                else:  # a device 0/0 stands for what was removed
                    found[path] = f"{_mode(facts)} {facts.st_rdev}"
    return found


def _mode(facts: os.stat_result) -> str:
    return f"{facts.st_mode:o} {facts.st_uid}:{facts.st_gid}"


def _marks(path: str) -> str:
    """Return overlayfs' own marks on a folder: that it hides the one below it, or renames it."""
    names = [name for name in os.listxattr(path, follow_symlinks=False) if ".overlay." in name]
    told = [name for name in names if not name.endswith((".origin", ".impure", ".uuid"))]
    return " ".join(f"{name}={os.getxattr(path, name).hex()}" for name in sorted(told))


def _is_same_folder(facts: os.stat_result, below: Path) -> bool:
    try:
        return _mode(below.lstat()) == _mode(facts)
    except OSError:
        return False


def find(store: Path, wanted: Mapping[str, str], tree: Path) -> Path | None:
    """Return an initrd that dracut would make again, byte for byte, or None.

    Args:
        store: the folder of the family.
        wanted: the changes of the tree that an initrd is wanted for.
        tree: that tree, for dracut's scripts.
    """
    named: frozenset[bytes] | None = None
    for folder in _newest_first(store, FACTS):
        kept = _read(folder)
        if kept is None:
            continue
        differ = {
            path for path in {*kept.changes, *wanted} if kept.changes.get(path) != wanted.get(path)
        }
        if differ and named is None:
            named = words(tree)
        if any(may_matter(path, kept.taken, named or frozenset()) for path in differ):
            continue
        try:
            if sha256_of(folder / FILE) == kept.sha256:
                cache.touch(folder / FACTS)
                return folder / FILE
        except OSError:
            pass  # removed meanwhile by another build
        shutil.rmtree(folder, ignore_errors=True)  # it is damaged
    return None


def keep(store: Path, made: Path, changed: Mapping[str, str], taken: Iterable[str]) -> None:
    """Keep an initrd for builds to come; the oldest of too many are removed.

    Args:
        store: the folder of the family.
        made: the initrd.
        changed: the changes of the tree that it was made of.
        taken: the paths in it.
    """
    fresh = _new(store)
    try:
        shutil.copyfile(made, fresh / FILE)
        kept = Kept(
            sha256=sha256_of(fresh / FILE),
            changes=dict(changed),
            taken=frozenset(each.removeprefix("./") for each in taken),
            family=store.name,
        )
        _note(fresh / FACTS, kept)
        if (made.parent / RECORD).parent.is_dir():
            _note(made.parent / RECORD, kept)
        files.sync(fresh / FILE)
        fresh.rename(store / secrets.token_hex(8))
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _bound(store)


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


def may_matter(path: str, taken: frozenset[str], named: frozenset[bytes]) -> bool:
    """Return whether dracut may have looked at a path.

    Args:
        path: relative to the root.
        taken: the paths in the initrd.
        named: the words of dracut's scripts.
    """
    if path in taken or _LIBRARIES.match(path):
        return True
    if _RECORDS.match(path):
        return False
    found = set(_WORD.findall(path.encode(errors="surrogateescape"))) - _COMMON
    return not found or not found.isdisjoint(named)


def words(tree: Path) -> frozenset[bytes]:
    """Return all words that stand in dracut's scripts, programs and configuration."""
    found: set[bytes] = set()
    for name in _DRACUT:
        place = tree / name
        for path in [place, *(place.rglob("*") if place.is_dir() else ())]:
            if path.is_file() and path.stat().st_size <= _LARGEST:
                found.update(_WORD.findall(_COMMENT.sub(b"", path.read_bytes())))
    return frozenset(found)


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
