"""Trees as archives: pax archives, tar(5), compressed with zstd.

A tree comes out of its archive with the owners, modes, times to the nanosecond, hard links,
capabilities and access lists that went in.  Archives come from elsewhere: :func:`unpack` takes
plain files, folders and links alone, each once, each below a folder that the archive has made,
and no more of them, nor of bytes, than it is told to.

These functions run where the ids of the tree's files are those of the image: in the namespaces
of :mod:`imagebuilder.remote.worker`.
"""

from __future__ import annotations

import base64
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Any

import zstandard

from imagebuilder.command import redact
from imagebuilder.errors import StepError

_LEVEL = 3  # zstd's default: a tree of 500 MB takes two seconds, and a third of the room
_WINDOW = 1 << 27  # bytes: what zstd(1) reads without being told to
_CHUNK = 1 << 20
_HEADERS = 8192  # bytes of headers that an entry may have; a path has 4096 at most
# As libarchive and bsdtar write extended attributes: base64, since they are bytes.
_XATTR = "LIBARCHIVE.xattr."
_XATTRS = re.compile(r"security\.capability|system\.posix_acl_(access|default)|user\.[^=]+")
_OVERLAY = "user.overlay."  # marks of a mount that is gone
_MODE = 0o7777
_LARGEST_ID = (1 << 32) - 2


class RefusedError(StepError):
    """An archive has what it must not have, or a tree what must not leave this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What went into an archive: bytes of all files, and how many files, folders and links."""

    size: int
    entries: int


def pack(
    root: Path, into: IO[bytes], *, forbidden: Sequence[str] = (), checked: Sequence[str] = ()
) -> Packed:
    """Write a tree as an archive.

    Args:
        root: the tree.
        into: takes the archive.
        forbidden: texts that must stand nowhere in the tree: secrets.
        checked: folders in which no URL may have a password.

    Raises:
        RefusedError: there is something in the tree that is not to be shared, or cannot be.
    """
    look_out = _LookOut(forbidden)
    writer = zstandard.ZstdCompressor(level=_LEVEL, threads=-1).stream_writer(into, closefd=False)
    size = entries = 0
    links: dict[tuple[int, int], str] = {}
    with writer, tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, path in _walk(root):
            facts = path.lstat()
            info = _info(name, path, facts, links)
            look_out.look(os.fsencode(name + "\0" + info.linkname), name)
            entries += 1
            if not info.isreg():
                tar.addfile(info)
                continue
            size += info.size
            with path.open("rb") as file:
                if any(name.startswith(f"{each}/") for each in checked):
                    _check_urls(file.read(), name)
                    file.seek(0)
                # A file that is cut short meanwhile ends in an OSError.
                tar.addfile(info, _Watched(file, look_out, name))  # type: ignore[arg-type]
    return Packed(size=size, entries=entries)


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Give all of a tree in the order of names, each folder before what is in it."""
    yield ".", root
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        names = sorted(each.name for each in (root / folder).iterdir())
        below = []
        for each in names:
            name = f"{folder}/{each}" if folder else each
            yield name, root / name
            if stat.S_ISDIR((root / name).lstat().st_mode):
                below.append(name)
        waiting += reversed(below)


def _info(
    name: str, path: Path, facts: os.stat_result, links: dict[tuple[int, int], str]
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    more: dict[str, str] = {}
    info.pax_headers = more
    info.mode, info.uid, info.gid = facts.st_mode & _MODE, facts.st_uid, facts.st_gid
    seconds, rest = divmod(facts.st_mtime_ns, 10**9)
    info.mtime = seconds
    if rest:
        more["mtime"] = f"{seconds}.{rest:09}"
    if stat.S_ISDIR(facts.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(facts.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)  # noqa: PTH115 - as it is
    elif stat.S_ISREG(facts.st_mode):
        first = links.setdefault((facts.st_dev, facts.st_ino), name)
        if first != name:
            info.type, info.linkname = tarfile.LNKTYPE, first
            return info
        info.size = facts.st_size
    else:
        raise RefusedError(f"{name} is neither a file nor a folder nor a link")
    for each in os.listxattr(path, follow_symlinks=False):
        if _XATTRS.fullmatch(each) and not each.startswith(_OVERLAY):
            value = os.getxattr(path, each, follow_symlinks=False)
            more[f"{_XATTR}{each}"] = base64.b64encode(value).decode()
    return info


def _check_urls(data: bytes, name: str) -> None:
    text = data.decode(errors="replace")
    if redact(text) != text:
        raise RefusedError(f"{name} has a URL with a password in it")


class _LookOut:
    """Finds texts that must not be shared."""

    def __init__(self, forbidden: Sequence[str]) -> None:
        words = {os.fsencode(each) for each in forbidden if each}
        self._pattern = re.compile(b"|".join(map(re.escape, sorted(words)))) if words else None
        self.longest = max(map(len, words), default=0)

    def look(self, data: bytes, name: str) -> None:
        if self._pattern and self._pattern.search(data):
            raise RefusedError(f"{name} has a secret in it")


class _Watched:
    """A file that is looked through while it is read."""

    def __init__(self, file: IO[bytes], look_out: _LookOut, name: str) -> None:
        self._file, self._look_out, self._name = file, look_out, name
        self._last = b""

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if longest := self._look_out.longest:
            self._look_out.look(self._last + data, self._name)
            self._last = (self._last + data)[-longest:]
        return data


def unpack(archive: IO[bytes], into: Path, *, size: int, entries: int) -> None:
    """Make a tree of an archive that nobody vouches for.

    Args:
        archive: what :func:`pack` wrote, or says that it is.
        into: an empty folder.
        size: how many bytes its files may have at most.
        entries: how many files, folders and links it may have at most.

    Raises:
        RefusedError: it has anything else in it, or cannot be read.
        OSError: the disk is full, or cannot keep owners or attributes.
    """
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(archive)
    source = _Limited(reader, size + (entries + 2) * _HEADERS)
    made = _Making(root=into, left=size)
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:  # type: ignore[call-overload]
            for number, member in enumerate(tar):
                if number >= entries:
                    raise RefusedError(
                        f"there is more in it than {entries} files, folders and links"
                    )
                made.take(tar, member)
    except (tarfile.TarError, zstandard.ZstdError, UnicodeError, EOFError) as error:
        raise RefusedError(f"the archive cannot be read: {error}") from error
    made.finish()


class _Limited:
    """What is read from an archive, up to a limit."""

    def __init__(self, reader: Any, limit: int) -> None:
        self._reader, self._left = reader, limit

    def read(self, size: int) -> bytes:
        data: bytes = self._reader.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise RefusedError("the archive unpacks to more than is named")
        return data


@dataclass(slots=True, kw_only=True)
class _Making:
    """A tree that is being made of an archive."""

    root: Path
    left: int
    folders: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = member.name
        if name == "." and member.isdir() and not self.folders:
            self.folders["."] = member
            return
        path = self._place(name)
        try:
            self._make(tar, member, path)
        except FileExistsError:
            raise RefusedError(f"{name!r} is in it twice") from None

    def _make(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        if member.isdir():
            path.mkdir(0o700)
            self.folders[member.name] = member  # what it is to be follows when it is full
        elif member.issym():
            path.symlink_to(member.linkname)
            _settle(path, member)
        elif member.islnk():
            if member.linkname not in self.files:
                raise RefusedError(f"{member.name!r} is a link to what is not in it")
            os.link(self.root / member.linkname, path, follow_symlinks=False)
            self.files.add(member.name)
        elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None:
            self._write(tar, member, path)
            self.files.add(member.name)
            _settle(path, member)
        else:
            raise RefusedError(f"{member.name!r} is neither a file nor a folder nor a link")

    def _place(self, name: str) -> Path:
        """Return where something is to be; its folder was made by this archive, and is no link."""
        folder, _, last = name.rpartition("/")
        above = folder if "/" in name else "."
        if last in ("", ".", "..") or above not in self.folders or "\0" in name:
            raise RefusedError(f"{name[:200]!r} is no place in a folder that is in it")
        return self.root / name

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        source = tar.extractfile(member)
        assert source
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            got = 0
            while data := source.read(_CHUNK):
                got += len(data)
                self.left -= len(data)
                if self.left < 0:
                    raise RefusedError("the archive unpacks to more than is named")
                file.write(data)
        if got != member.size:
            raise RefusedError("the archive is cut short")

    def finish(self) -> None:
        """Give the folders what they are to have, the innermost first."""
        if "." not in self.folders:
            raise RefusedError("the archive has no tree in it")
        for name, member in reversed(self.folders.items()):
            _settle(self.root / name, member)


def _settle(path: Path, member: tarfile.TarInfo) -> None:
    """Give a file its owner, mode, attributes and time."""
    if not (0 <= member.uid <= _LARGEST_ID and 0 <= member.gid <= _LARGEST_ID):
        raise RefusedError(f"{member.name!r} has an owner that cannot be")
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        path.chmod(member.mode & _MODE)
    for name, value in member.pax_headers.items():
        if not name.startswith(_XATTR):
            continue
        attribute = name.removeprefix(_XATTR)
        if not _XATTRS.fullmatch(attribute) or attribute.startswith(_OVERLAY):
            raise RefusedError(f"{member.name!r} has the attribute {attribute!r}")
        try:
            data = base64.b64decode(value, validate=True)
        except ValueError as error:
            raise RefusedError(f"an attribute of {member.name!r} cannot be read") from error
        os.setxattr(path, attribute, data, follow_symlinks=False)
    time = _nanoseconds(member)
    os.utime(path, ns=(time, time), follow_symlinks=False)


def _nanoseconds(member: tarfile.TarInfo) -> int:
    try:
        time = int(Decimal(member.pax_headers.get("mtime", member.mtime)) * 10**9)
    except (InvalidOperation, ValueError, OverflowError):
        time = -1
    if not 0 <= time < 1 << 63:
        raise RefusedError(f"{member.name!r} has a time that cannot be")
    return time
