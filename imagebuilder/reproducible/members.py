"""What is in a squashfs and in an initrd: files with their metadata and bytes.

For looking only: nothing is unpacked onto the disk, so that no owner and no device node is lost
to a user who is not root.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import command
from imagebuilder.errors import StepError
from imagebuilder.progress import Cancel

_TIMEOUT = 3600.0  # seconds

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
_ZSTD = b"\x28\xb5\x2f\xfd"


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
        ["unsquashfs", "-no-progress", "-quiet", "-pf", str(listed), str(path)],
        timeout=_TIMEOUT,
        cancel=cancel,
        what=f"reading {path.name}",
    )
    with listed.open("rb") as file:
        # It lives on for as long as a member has a part of it.
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    listed.unlink()
    return dict(_pseudo(whole))


def _pseudo(whole: memoryview) -> Iterator[tuple[str, Member]]:
    text = whole.obj
    assert isinstance(text, mmap.mmap)
    end = text.find(_DATA)
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


def of_initrd(path: Path, work: Path, cancel: Cancel) -> Mapping[str, Member]:
    """Return what is in an initrd: archives one after the other, of which the last is compressed.

    Args:
        path: the file.
        work: a folder for as much as all that is in it.
        cancel: the request to stop.

    Raises:
        StepError: it is none, or its compression is not known here.
        HostError: what can undo its compression is not installed.
    """

    def plain(data: bytes) -> bytes:
        return _plain(path, data, work, cancel)

    return dict(_archives(path, path.read_bytes(), plain))


def _archives(
    path: Path, data: bytes, plain: Callable[[bytes], bytes]
) -> Iterator[tuple[str, Member]]:
    at = 0
    while at < len(data):
        if data[at : at + 1] == b"\0":  # what fills up between two
            rest = data[at:].lstrip(b"\0")
            at = len(data) - len(rest)
        elif data[at : at + 6] in _MAGIC:
            name, member, at = _newc(path, data, at)
            if name != "TRAILER!!!":
                yield name, member
        else:
            yield from _archives(path, plain(data[at:]), plain)
            return


def _newc(path: Path, data: bytes, at: int) -> tuple[str, Member, int]:
    try:
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
    except ValueError as error:
        raise StepError(f"{path.name} has a damaged archive in it") from error
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


def _plain(path: Path, data: bytes, work: Path, cancel: Cancel) -> bytes:
    try:
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data.startswith(b"\xfd7zXZ\0"):
            return lzma.decompress(data)
        if data.startswith(b"BZh"):
            return bz2.decompress(data)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise StepError(f"{path.name} is damaged: {error}") from error
    if data.startswith(_ZSTD):
        packed, made = work / f"{path.name}.zst", work / f"{path.name}.plain"
        packed.write_bytes(data)
        command.run(
            ["zstd", "-dqf", "--rm", "-o", str(made), str(packed)],
            timeout=_TIMEOUT,
            cancel=cancel,
            what=f"reading {path.name}",
        )
        data = made.read_bytes()
        made.unlink()
        return data
    raise StepError(f"{path.name}: its compression is not known here")
