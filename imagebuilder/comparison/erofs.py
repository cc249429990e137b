"""What is in an EROFS: files with their metadata and bytes.

Names, owners, modes and times are read here, so that none is lost to a user who is not root.
The bytes of files come from fsck.erofs, which writes them to the disk, but only once all names
are known to be such that nothing can be written outside the folder for it.

The format: Linux, fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst.
"""

from __future__ import annotations

import mmap
import os
import shutil
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuilder import command, sandbox
from imagebuilder.comparison.members import TIMEOUT, Member, at_most, most_of
from imagebuilder.errors import StepError
from imagebuilder.progress import Cancel

_SUPERBLOCK = 1024  # where it is, in bytes
_MAGIC = 0xE0F5E1E2
# Of features that a reader must know, those that change nothing of what is read here: how files
# are compressed, data on further devices, prefixes of the names of attributes.
_KNOWN_FEATURES = 0x7F
_SLOT = 32  # bytes that inodes are counted in
_COMPACT = struct.Struct("<HHHHIIIIHHI")
_EXTENDED = struct.Struct("<HHHHQIIIIQII16x")
_PLAIN, _INLINE = 0, 2  # the layouts of what is not compressed
_DIRENT = struct.Struct("<QHBB")
_MOST_FILES = 8 << 20
_MOST_LINK = 1 << 16  # bytes of a link's target
_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inode:
    mode: int
    owner: str
    time: int
    size: int
    layout: int
    value: int  # the block where its data begins, or the numbers of a device
    tail: int  # where data that stands behind it begins, in bytes


def of_erofs(path: Path, work: Path, cancel: Cancel) -> Mapping[str, Member]:
    """Return what is in an EROFS, by path.

    Args:
        path: the file.
        work: a folder for twice as much as all that is in it.
        cancel: the request to stop.

    Raises:
        StepError: it is none, or damaged, or fsck.erofs cannot read it.
        HostError: there is no fsck.erofs.
        Interrupted: somebody asked to stop.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = list(_Reader(data, cancel).walk())
    except (ValueError, struct.error) as error:
        raise StepError(f"{path.name} is damaged, or no EROFS known here: {error}") from error
    if 2 * sum(size for _, _, size in found) > most_of(work):
        raise StepError(f"{path.name} unpacks to more than there is room for")
    whole = _contents(path, found, work, cancel)
    members: dict[str, Member] = {}
    at = 0
    for name, member, size in found:
        members[name] = replace(member, data=whole[at : at + size]) if size else member
        at += size
    return members


class _Reader:
    """Reads an EROFS; raises ValueError or struct.error where it is none."""

    def __init__(self, data: mmap.mmap, cancel: Cancel) -> None:
        self._data = data
        self._cancel = cancel
        (magic,) = struct.unpack_from("<I", data, _SUPERBLOCK)
        if magic != _MAGIC:
            raise ValueError("its superblock is another one's")
        bits, _, self._root = struct.unpack_from("<BBH", data, _SUPERBLOCK + 12)
        (self._built,) = struct.unpack_from("<Q", data, _SUPERBLOCK + 24)
        (meta,) = struct.unpack_from("<I", data, _SUPERBLOCK + 40)
        (features,) = struct.unpack_from("<I", data, _SUPERBLOCK + 80)
        if features & ~_KNOWN_FEATURES or not 9 <= bits <= 16:
            raise ValueError(f"it has features that are not known here ({features:#x})")
        self._block = 1 << bits
        self._inodes = meta << bits

    def walk(self) -> Iterator[tuple[str, Member, int]]:
        """Give paths with what is there, and the bytes of files."""
        seen: dict[int, str] = {}
        stack = [("", self._root)]
        while stack:
            self._cancel.check()
            path, nid = stack.pop()
            inode = self._inode(nid)
            kind = stat.filemode(inode.mode)[0]
            if nid in seen:
                if kind == "d":
                    raise ValueError(f"the folder {path} is in it twice")
                yield path, Member(kind="h", owner="0/0", target=seen[nid]), 0
                continue
            seen[nid] = path
            if len(seen) > _MOST_FILES:
                raise ValueError("it has more files than can be compared")
            if not path and kind != "d":
                raise ValueError("its root is no folder")
            if kind == "d":
                below = [(f"{path}/{name}" if path else name, at) for name, at in self._in(inode)]
                stack += reversed(below)
            yield path or "/", self._member(kind, inode), inode.size if kind == "-" else 0

    def _member(self, kind: str, inode: _Inode) -> Member:
        target = ""
        if kind == "l":
            if inode.size > _MOST_LINK:
                raise ValueError("a link's target is too long")
            target = self._bytes(inode).decode(errors="surrogateescape")
        elif kind in "bc":
            number = inode.value  # as the kernel's new_encode_dev() packs it
            target = f"{number >> 8 & 0xFFF} {number & 0xFF | number >> 12 & 0xFFF00}"
        mode = stat.S_IMODE(inode.mode)
        return Member(kind=kind, mode=mode, owner=inode.owner, time=inode.time, target=target)

    def _inode(self, nid: int) -> _Inode:
        at = self._inodes + nid * _SLOT
        if at + _SLOT > len(self._data):
            raise ValueError("an inode is beyond its end")
        (form,) = struct.unpack_from("<H", self._data, at)
        if form & 1:
            _, attributes, mode, _, size, value, _, uid, gid, time, _, _ = _EXTENDED.unpack_from(
                self._data, at
            )
            head = _EXTENDED.size
        else:
            _, attributes, mode, _, size, _, value, _, uid, gid, _ = _COMPACT.unpack_from(
                self._data, at
            )
            head, time = _COMPACT.size, self._built
        return _Inode(
            mode=mode,
            owner=f"{uid}/{gid}",
            time=time,
            size=size,
            layout=form >> 1 & 7,
            value=value,
            # A head of 12 bytes, with 4 for each further unit.
            tail=at + head + (12 + 4 * (attributes - 1) if attributes else 0),
        )

    def _bytes(self, inode: _Inode) -> bytes:
        """Return the data of a folder or link: these are not compressed."""
        begin, size = inode.value * self._block, inode.size
        if inode.layout == _PLAIN:
            found = self._data[begin : begin + size]
        elif inode.layout == _INLINE:  # what does not fill a block stands behind the inode
            full = size - (size % self._block or self._block) if size else 0
            found = self._data[begin : begin + full]
            found += self._data[inode.tail : inode.tail + size - full]
        else:
            raise ValueError("a folder or link has a layout that is not known here")
        if len(found) != size:
            raise ValueError("data is beyond its end")
        return found

    def _in(self, inode: _Inode) -> Iterator[tuple[str, int]]:
        """Give the names in a folder, and the numbers of their inodes."""
        data = self._bytes(inode)
        names: set[bytes] = set()
        for at in range(0, len(data), self._block):
            block = data[at : at + self._block]
            count = _DIRENT.unpack_from(block)[1] // _DIRENT.size
            entries = [_DIRENT.unpack_from(block, n * _DIRENT.size)[:2] for n in range(count)]
            ends = [offset for _, offset in entries[1:]] + [len(block)]
            for (nid, offset), end in zip(entries, ends, strict=True):
                name = block[offset:end].partition(b"\0")[0]
                if name in (b".", b".."):
                    continue
                if not name or b"/" in name or name in names:
                    raise ValueError(f"it has a file of the name {name!r}, or has it twice")
                names.add(name)
                yield name.decode(errors="surrogateescape"), nid


def _contents(
    path: Path, found: list[tuple[str, Member, int]], work: Path, cancel: Cancel
) -> memoryview:
    """Return the bytes of all files, one after the other."""
    folder, listed = work / f"{path.name}.files", work / f"{path.name}.members"
    listed.unlink(missing_ok=True)
    if not any(size for _, _, size in found):
        return memoryview(b"")
    try:
        command.run(
            sandbox.without_mknod(
                [
                    *at_most(most_of(work)), "fsck.erofs", f"--extract={folder}", "--no-preserve",
                    str(path),
                ]
            ),
            timeout=TIMEOUT,
            cancel=cancel,
            # Newer ones unpack the ends of files that are packed together to a file there.
            env={**os.environ, "TMPDIR": str(work)},
            what=f"reading {path.name}",
            fix="if it has features that are not known, compare where erofs-utils is newer, or "
            "with --no-files",
        )  # fmt: skip
        with listed.open("wb") as into:
            for name, member, size in found:
                cancel.check()
                place = folder if name == "/" else folder / name
                if member.kind == "d":
                    place.chmod(0o700)
                elif size:
                    place.chmod(0o600)
                    with place.open("rb") as file:
                        shutil.copyfileobj(file, into, _CHUNK)
                    place.unlink()
        with listed.open("rb") as file:
            # It lives on for as long as a member has a part of it.
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise StepError(f"{path.name} cannot be read: {error}") from error
    finally:
        listed.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    if len(whole) != sum(size for _, _, size in found):
        raise StepError(f"{path.name} is damaged: its files have other sizes than it says")
    return whole
