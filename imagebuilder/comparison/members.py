"""What is in a squashfs and in an initrd: files with their metadata and bytes.

For looking only: nothing is unpacked onto the disk, so that no owner and no device node is lost
to a user who is not root.
"""

from __future__ import annotations

import bz2
import lzma
import mmap
import re
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import zstandard

from imagebuilder import command
from imagebuilder.errors import StepError
from imagebuilder.progress import Cancel

TIMEOUT = 3600.0  # seconds
# What somebody else's image may unpack to: a bound against files that are made to fill a disk.
_MOST_ROOT = 64 << 30  # bytes
_MOST_INITRD = 2 << 30  # bytes
_MOST_LISTED = 512 << 20  # bytes of what is said of files, which is some millions of them
_LEFT_FREE = 0.1  # of the free disk, for others
_MOST_ARCHIVES = 16  # that stand in each other, or are compressed one by one

# A line of a pseudo file, mksquashfs(1): PATH TYPE TIME MODE UID GID and more, by type.  Blanks
# and backslashes in a path have a backslash before them.
_LINE = re.compile(
    rb"(?P<path>(?:\\.|[^ \\])+) (?P<kind>[A-Za-z])(?: (?P<time>\d+) (?P<mode>[0-7]+)"
    rb" (?P<uid>\d+) (?P<gid>\d+))?(?: (?P<rest>.*))?"
)
_DATA = b"# START OF DATA - DO NOT MODIFY\n#\n"
_KINDS = {b"D": "d", b"R": "-", b"S": "l", b"L": "h", b"C": "c", b"B": "b"}

# newc: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
_MAGIC = (b"070701", b"070702")
_HEAD = 110  # bytes
_FIELDS = re.compile(rb"[0-9A-Fa-f]{104}")
_ZSTD = b"\x28\xb5\x2f\xfd"
_WINDOW = 1 << 27  # bytes: what zstd(1) reads without being told to
_CHUNK = 1 << 12  # bytes that are unpacked at a time: they can come to 128 MiB
_NO_ZERO = re.compile(rb"[^\0]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file, folder, link or device.

    Attributes:
        kind: the letter that ls(1) has for it; ``h``: another name of a file.
        mode: permissions.
        owner: ``UID/GID``.
        time: of its last change, in seconds since the epoch.
        target: of a link; of a device, its numbers.
        data: the bytes of a file.
    """

    kind: str
    mode: int = 0
    owner: str = ""
    time: int = 0
    target: str = ""
    data: bytes | memoryview = b""


def of_squashfs(path: Path, work: Path, cancel: Cancel) -> Mapping[str, Member]:
    """Return what is in a squashfs, by path.

    Args:
        path: the file.
        work: a folder for as much as all that is in it.
        cancel: the request to stop.

    Raises:
        StepError: unsquashfs cannot read it.
    """
    listed = work / f"{path.name}.members"
    listed.unlink(missing_ok=True)
    command.run(
        [
            *at_most(most_of(work)), "unsquashfs", "-no-progress", "-quiet",
            "-pf", str(listed), str(path),
        ],
        timeout=TIMEOUT,
        cancel=cancel,
        what=f"reading {path.name}",
    )  # fmt: skip
    with listed.open("rb") as file:
        # It lives on for as long as a member has a part of it.
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    listed.unlink()
    return dict(_pseudo(path, whole))


def _pseudo(squashfs: Path, whole: memoryview) -> Iterator[tuple[str, Member]]:
    text = whole.obj
    assert isinstance(text, mmap.mmap)
    end = text.find(_DATA)
    if (end if end >= 0 else len(whole)) > _MOST_LISTED:
        raise StepError(f"{squashfs.name} has more files than can be compared")
    data = end + len(_DATA) if end >= 0 else len(whole)
    for line in bytes(whole[: max(end, 0) or len(whole)]).splitlines():
        found = _LINE.fullmatch(line)
        if line.startswith(b"#") or found is None or found["kind"] == b"x":
            continue
        path = re.sub(rb"\\(.)", rb"\1", found["path"]).decode(errors="surrogateescape")
        rest = (found["rest"] or b"").decode(errors="surrogateescape")
        kind = _KINDS.get(found["kind"], found["kind"].decode())
        content: bytes | memoryview = b""
        if kind == "-":
            size, offset = (int(each) for each in rest.split()[:2])
            content = whole[data + offset : data + offset + size]
        yield (
            path,
            Member(
                kind=kind,
                mode=int(found["mode"] or b"0", 8),
                owner=f"{(found['uid'] or b'0').decode()}/{(found['gid'] or b'0').decode()}",
                time=int(found["time"] or 0),
                target="" if kind == "-" else rest,
                data=content,
            ),
        )


def most_of(folder: Path) -> int:
    """Return how many bytes a root file system may unpack to in a folder."""
    return min(_MOST_ROOT, int(shutil.disk_usage(folder).free * (1 - _LEFT_FREE)))


def at_most(size: int) -> list[str]:
    """Return what is put before a program so that no file that it writes gets larger."""
    return ["prlimit", f"--fsize={size}", "--"]


def of_initrd(path: Path, _work: Path, cancel: Cancel) -> Mapping[str, Member]:
    """Return what is in an initrd: archives one after the other, of which the last is compressed.

    Args:
        path: the file.
        _work: not needed; it is read as a squashfs is.
        cancel: the request to stop.

    Raises:
        StepError: it is none, or its compression is not known here.
        Interrupted: somebody asked to stop.
    """

    left = _MOST_INITRD

    def plain(data: bytes) -> bytes:
        nonlocal left
        cancel.check()
        made = _plain(path, data, left)
        left -= len(made)
        return made

    return dict(_archives(path, path.read_bytes(), plain))


def _archives(
    path: Path, data: bytes, plain: Callable[[bytes], bytes], deep: int = 0
) -> Iterator[tuple[str, Member]]:
    at = 0
    while at < len(data):
        if data[at : at + 1] == b"\0":  # what fills up between two
            at = _past_zeros(data, at)
        elif data[at : at + 6] in _MAGIC:
            name, member, at = _newc(path, data, at)
            if name != "TRAILER!!!":
                yield name, member
        elif deep == _MOST_ARCHIVES:
            raise StepError(f"{path.name} is packed more than {_MOST_ARCHIVES} times")
        else:
            yield from _archives(path, plain(data[at:]), plain, deep + 1)
            return


def _past_zeros(data: bytes, at: int) -> int:
    found = _NO_ZERO.search(data, at)
    return found.start() if found else len(data)


def _newc(path: Path, data: bytes, at: int) -> tuple[str, Member, int]:
    head = data[at + 6 : at + _HEAD]
    if not _FIELDS.fullmatch(head):
        raise StepError(f"{path.name} has a damaged archive in it")
    fields = [int(head[8 * n : 8 * n + 8], 16) for n in range(13)]
    mode, size, length = fields[1], fields[6], fields[11]
    name = data[at + _HEAD : at + _HEAD + length - 1].decode(errors="surrogateescape")
    begin = _aligned(at + _HEAD + length)
    content, kind = data[begin : begin + size], stat.filemode(mode)[0]
    target = content.decode(errors="surrogateescape") if kind == "l" else ""
    if kind in "bc":
        target = f"{fields[9]} {fields[10]}"
    member = Member(
        kind=kind,
        mode=stat.S_IMODE(mode),
        owner=f"{fields[2]}/{fields[3]}",
        time=fields[5],
        target=target,
        data=content if kind == "-" else b"",
    )
    return name, member, _aligned(begin + size)


def _aligned(at: int) -> int:
    return (at + 3) & ~3


def _plain(path: Path, data: bytes, most: int) -> bytes:
    """Return what was compressed, if it is not larger than it may be."""
    try:
        if data.startswith(b"\x1f\x8b"):
            unpacked = _gzip(data, most)
        elif data.startswith(b"\xfd7zXZ\0"):
            unpacked = lzma.LZMADecompressor().decompress(data, most + 1)
        elif data.startswith(b"BZh"):
            unpacked = bz2.BZ2Decompressor().decompress(data, most + 1)
        elif data.startswith(_ZSTD):
            unpacked = _zstd(data, most)
        else:
            raise StepError(f"{path.name}: its compression is not known here")
    except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise StepError(f"{path.name} is damaged: {error}") from error
    if len(unpacked) > most:
        raise StepError(f"{path.name} unpacks to more than {_MOST_INITRD >> 30} GiB")
    return unpacked


def _gzip(data: bytes, most: int) -> bytes:
    made = zlib.decompressobj(wbits=31)  # with gzip's header
    unpacked = made.decompress(data, most + 1)
    if not made.eof and len(unpacked) <= most:
        raise EOFError("it is cut short")
    return unpacked


def _zstd(data: bytes, most: int) -> bytes:
    """Unpack one frame; zeros that fill up may follow it, which zstd(1) takes for damage."""
    made = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    unpacked, at = bytearray(), 0
    while not made.eof and len(unpacked) <= most:
        if at >= len(data):
            raise EOFError("it is cut short")
        unpacked += made.decompress(data[at : at + _CHUNK])
        at += _CHUNK
    return bytes(unpacked)
