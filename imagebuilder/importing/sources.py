"""The files of a kickstart: itself, and what it includes, wherever they are on this host."""

from __future__ import annotations

import os
import shlex
import stat
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from imagebuilder.command import redact
from imagebuilder.errors import InputError, Location
from imagebuilder.importing.remarks import Remark
from imagebuilder.kickstart.flatten import at_install_time, included
from imagebuilder.template_text import lines_of

_LARGEST = 1 << 20  # bytes: what a fragment may have
_MOST = 500  # files
_SUFFIX = ".ks"  # of the fragments that recipes name
_OUTSIDE = "outside"  # the folder for what was included by an absolute path


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that is taken over.

    Attributes:
        name: what it is to be called, below ``kickstarts/``.
        lines: its lines, with the includes as they are to be; each has the number that it had.
        remarks: what was changed in it.
    """

    name: str
    lines: tuple[str, ...]
    remarks: tuple[Remark, ...]

    @property
    def shown_as(self) -> str:
        """What errors call it."""
        return f"kickstarts/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    lines: tuple[str, ...]
    changes: tuple[str, ...]
    wanted: Mapping[int, tuple[str, Path | None]]  # by line: what is included, and where it is


def gather(paths: Sequence[Path], into: str) -> dict[Path, Source]:
    """Read kickstarts and all that they include.

    Args:
        paths: the kickstarts.
        into: the folder below ``kickstarts/`` that they are to be in.

    Returns:
        the files by their resolved paths, those that were asked for first.

    Raises:
        InputError: a file cannot be read, is too large, or is no text.
    """
    first = [_resolved(path) for path in paths]
    read: dict[Path, _Read] = {}
    # Those that were reached by relative names alone keep their places to one another.
    beside = set(first)
    queue = deque((path, path.parent) for path in first)
    while queue:
        path, top = queue.popleft()
        if path in read:
            continue
        if len(read) == _MOST:
            raise InputError(
                f"more than {_MOST} files are included", where=Location(file=str(path))
            )
        read[path] = _read(path, top)
        for name, target in read[path].wanted.values():
            if target:
                queue.append((target, top))
                if path in beside and not name.startswith("/"):
                    beside.add(target)
    for path in first:
        if path.suffix != _SUFFIX:
            known = read[path]
            said = f"it is called {_called(path)} now: a recipe's fragments end in {_SUFFIX}"
            read[path] = replace(known, changes=(*known.changes, said))
    names = _names(list(read), beside, into, first)
    return {path: _source(each, names[path], names) for path, each in read.items()}


def _called(path: Path) -> str:
    """Return the name of a kickstart as a recipe can name it; Anaconda's own ends in ``.cfg``."""
    if path.suffix == _SUFFIX:
        return path.name
    return f"{path.stem if path.suffix == '.cfg' else path.name}{_SUFFIX}"


def _resolved(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read: {reason}") from error


def _read(path: Path, top: Path) -> _Read:
    data = _bytes(path)
    changes: list[str] = []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        changes.append("it was no UTF-8, and is taken for Latin-1: look at its letters")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        changes.append("its lines end as on Unix now")
    lines = tuple(lines_of(text))
    wanted: dict[int, tuple[str, Path | None]] = {}
    for n, line in enumerate(lines):
        if "%" in line:
            name = included(line, Location(file=str(path), line=n + 1))
            if name and not at_install_time(name):
                wanted[n] = (name, _found(name, path.parent, top))
    return _Read(lines=lines, changes=tuple(changes), wanted=wanted)


def _bytes(path: Path) -> bytes:
    where = Location(file=str(path))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("it is no file", where=where)
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from error
    if len(data) > _LARGEST:
        raise InputError(f"a fragment has at most {_LARGEST >> 20} MiB", where=where)
    if b"\0" in data:
        raise InputError(
            "it is no kickstart: it has NUL bytes",
            where=Location(file=str(path), line=data.count(b"\n", 0, data.index(b"\0")) + 1),
            fix="if it is UTF-16 text, convert it: iconv -f UTF-16 -t UTF-8 FILE",
        )
    return data


def _found(name: str, folder: Path, top: Path) -> Path | None:
    """Return the included file: beside the one that includes it, or where pykickstart was run."""
    if "://" in name:
        return None
    for each in (folder, top):
        try:
            path = (each / name).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            continue
        if path.is_file():
            return path
    return None


def _names(
    paths: Sequence[Path], beside: set[Path], into: str, first: Sequence[Path]
) -> dict[Path, str]:
    base = Path(os.path.commonpath([path.parent for path in paths if path in beside]))
    names: dict[Path, str] = {}
    for path in paths:
        inside = path.relative_to(base) if path in beside else Path(_OUTSIDE, path.name)
        inside = inside.with_name(_called(path)) if path in first else inside
        name = str(PurePosixPath(into, *inside.parts))
        n = 2
        while name in names.values():
            name = str(PurePosixPath(into, *inside.parent.parts, f"{n}-{inside.name}"))
            n += 1
        if not name.isprintable() or "{" in name:
            raise InputError(f"{str(path)!r} is no name for a fragment", fix="rename the file")
        names[path] = name
    return names


def _source(read: _Read, name: str, names: Mapping[Path, str]) -> Source:
    lines = list(read.lines)
    shown = f"kickstarts/{name}"
    remarks = [
        Remark(kind="changed", text=each, where=Location(file=shown)) for each in read.changes
    ]
    for n, (wanted, target) in read.wanted.items():
        where = Location(file=shown, line=n + 1)
        if target is None:
            remarks.append(
                Remark(
                    kind="left out",
                    text=f"%include {redact(wanted)}: "
                    + ("it is elsewhere" if "://" in wanted else "there is no such file"),
                    where=where,
                    fix="save it below kickstarts/, and include that in this line's place",
                )
            )
            lines[n] = f"# not imported: {redact(lines[n].strip())}"
            continue
        relative = os.path.relpath(names[target], str(PurePosixPath(name).parent))
        if os.path.normpath(wanted) != relative:
            lines[n] = f"%include {shlex.quote(relative)}"
            remarks.append(
                Remark(kind="changed", text=f"%include {wanted}: now {relative}", where=where)
            )
    return Source(name=name, lines=tuple(lines), remarks=tuple(remarks))
