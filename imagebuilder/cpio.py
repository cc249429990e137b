"""Writes the small archives that the kernel unpacks over an initramfs.

The format is "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
The kernel unpacks several archives one after the other; each must start at a multiple of
four bytes, unless it is compressed.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_ALIGNMENT = 4
_BLOCK = 512  # archives end at such a multiple, as cpio(1) has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, or a directory when ``content`` is None.

    A directory that the first archive has, or that might be a symbolic link there, must not
    be an entry: the kernel would put the new one in its place.  A file whose directory is
    missing is passed over by the kernel.

    Attributes:
        path: where it goes, without a leading slash.
        content: the file's bytes.
        mode: permissions.
    """

    path: str
    content: bytes | None = None
    mode: int = 0o755


def archive(entries: Iterable[Entry]) -> bytes:
    """Return an archive of the entries, owned by root, without times: same input, same bytes."""
    parts = [_member(number, entry) for number, entry in enumerate(entries, 1)]
    data = b"".join([*parts, _record("TRAILER!!!", b"", number=0, mode=0, links=1)])
    return data + bytes(-len(data) % _BLOCK)


def align(path: Path) -> None:
    """Fill the end of archives with zeros, as their format allows, so that one more can follow.

    Firmware and boot loaders may put initramfs archives together without regard to where the
    next one starts; Linux' EFI stub is one that does.
    """
    with path.open("ab") as file:
        file.write(bytes(-file.tell() % _ALIGNMENT))


def _member(number: int, entry: Entry) -> bytes:
    if entry.content is None:
        return _record(entry.path, b"", number=number, mode=stat.S_IFDIR | entry.mode, links=2)
    mode = stat.S_IFREG | entry.mode
    return _record(entry.path, entry.content, number=number, mode=mode, links=1)


def _record(path: str, content: bytes, *, number: int, mode: int, links: int) -> bytes:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
