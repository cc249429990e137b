"""Fragments: where they are, and what stands in them."""

from __future__ import annotations

import codecs
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import InputError, Location
from imagebuilder.memo import Memo
from imagebuilder.steady import seen

_FILE_LIMIT = 1 << 20  # bytes of one fragment
_KEPT = 32 << 20  # characters of fragments that are kept
# Two writes within a tick of a file system's clock leave the same time: of FAT's, two seconds.
_SETTLED = 2.0

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A fragment that was found.

    Attributes:
        path: the file, with no links in it.
        root: the folder of fragments that it was found in.
        folder: the folder that it stands in; what it includes is looked for there first.
        shown_as: what to call it in errors.
        stamp: what differs when the file was written to, or is another.
    """

    path: str
    root: str
    folder: str
    shown_as: str
    stamp: tuple[int, ...]


_found: Memo[Fragment] = Memo(20_000)
_texts: Memo[str] = Memo(_KEPT)
_unchanging: set[str] = set()


def forget() -> None:
    """Forget what was found and read: only time tells the difference."""
    _found.clear()
    _texts.clear()


@contextmanager
def unchanging(folder: Path) -> Iterator[None]:
    """Let what is below a folder be kept though it was written just now: nobody else writes there.

    Args:
        folder: one that a copy of fragments was made in; its path has no links in it.
    """
    name = f"{folder}/"
    _unchanging.add(name)
    try:
        yield
    finally:
        _unchanging.discard(name)


def find(name: str, folders: Sequence[str], includer: Fragment | None, where: Location) -> Fragment:
    """Return the fragment of that name.

    Args:
        name: its path, relative to the includer's folder or one of the folders.
        folders: where fragments are looked for, the first match wins.
        includer: the fragment that includes it.
        where: the place that asks for it.

    Raises:
        InputError: there is none, it is no file, or it lies outside the folders.
    """
    known = seen()
    if known is None:
        return _find(name, folders, includer, where)
    key = ("fragment", name, includer.folder if includer else "", *folders)
    if key not in known:
        known[key] = _find(name, folders, includer, where)
    found: Fragment = known[key]
    return found


def _find(
    name: str, folders: Sequence[str], includer: Fragment | None, where: Location
) -> Fragment:
    if name.startswith("/") or "://" in name:
        raise InputError(
            f"fragment {name!r} lies outside the project",
            where=where,
            fix=f"save it below kickstarts/ and include that{_similar(name, folders)}",
        )
    if includer:
        found = _look(name, includer.root, includer.folder, where)
        if found:
            return found
    for folder in folders:
        found = _look(name, folder, folder, where)
        if found:
            return found
    raise InputError(
        f"there is no fragment {name!r}",
        where=where,
        fix=f"looked in {', '.join(folders) or 'no folder'}{_similar(name, folders)}",
    )


def _look(name: str, root: str, folder: str, where: Location) -> Fragment | None:
    candidate = f"{folder}/{name}"
    try:
        facts = os.stat(candidate)  # noqa: PTH116 - a Path takes three times as long
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise InputError(
            f"fragment {name!r} cannot be read: {error.strerror}", where=where
        ) from error
    if not stat.S_ISREG(facts.st_mode):
        raise InputError(
            f"fragment {name!r} is no file", where=where, fix="name a file below kickstarts/"
        )
    stamp = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    known = _found.get((root, candidate))
    if known and known.stamp == stamp:
        return known
    path, below = Path(candidate).resolve(), Path(root).resolve()
    if not path.is_relative_to(below):
        raise InputError(
            f"fragment {name!r} lies outside {below.name}/",
            where=where,
            fix="move it below that folder",
        )
    found = Fragment(
        path=str(path),
        root=root,
        folder=str(path.parent),
        shown_as=f"kickstarts/{path.relative_to(below)}",
        stamp=stamp,
    )
    return _found.put((root, candidate), found)


def _similar(name: str, folders: Sequence[str]) -> str:
    same = sorted(
        str(path.relative_to(folder))
        for folder in map(Path, folders)
        for path in folder.rglob("*.ks")
        if path.name == Path(name).name
    )
    return f"; did you mean {same[0]!r}?" if same else ""


def read(fragment: Fragment, asked: Location) -> str:
    """Return the text of a fragment, with plain newlines.

    Args:
        fragment: which.
        asked: the place that asks for it.

    Raises:
        InputError: it is too large, cannot be read, or is no UTF-8 text.
    """
    known = _texts.get((fragment.path, fragment.stamp))
    if known is not None:
        return known
    where = Location(file=fragment.shown_as)
    began = time.time_ns()
    try:
        with Path(fragment.path).open("rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from error
    if len(data) > _FILE_LIMIT:
        raise InputError(
            f"{fragment.shown_as} is too large: a fragment has at most {_FILE_LIMIT >> 20} MiB",
            where=asked,
            fix="put what is so large into a file, which [[files]] copies into the image",
        )
    text = _decoded(data, fragment.shown_as)
    *_, written, changed = fragment.stamp
    is_ours = bool(_unchanging) and fragment.path.startswith(tuple(_unchanging))
    if is_ours or began - max(written, changed) > _SETTLED * 1e9:
        _texts.put((fragment.path, fragment.stamp), text, len(text) + 1)
    return text


def _decoded(data: bytes, shown_as: str) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        is_utf_16 = data.startswith(_UTF_16)
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            "UTF-16 text, not UTF-8" if is_utf_16 else "not UTF-8 text",
            where=Location(file=shown_as, line=1 if is_utf_16 else line),
            fix="save it as UTF-8, such as with: iconv -f "
            f"{'UTF-16' if is_utf_16 else 'LATIN1'} -t UTF-8 FILE",
        ) from error
