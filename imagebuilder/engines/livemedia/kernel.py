"""Kernels and initrds that somebody else made: whether they are whole, and what they are."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from imagebuilder import command, tools
from imagebuilder.errors import StepError

_MODULES = re.compile(r"(?:usr/)?lib/modules/([^/]+)/")
_HEADER = 110  # bytes of a cpio "newc" header (cpio(5))
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFacts:
    """What a kernel's file says.  ``release`` is what ``uname -r`` will say; "" if unknown."""

    release: str


def read_kernel(path: Path) -> KernelFacts:
    """Return what a kernel is.

    Raises:
        StepError: it is none, or its end is missing.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(0x10000)
    # Documentation/arch/x86/boot.rst: the header of the boot protocol, from 2.06 on.
    if head[0x202:0x206] == b"HdrS":
        sectors = head[0x1F1] or 4
        protected = 16 * int.from_bytes(head[0x1F4:0x1F8], "little")
        if size < (sectors + 1) * 512 + protected:
            raise StepError(f"the kernel {path.name} is cut off: {size} bytes")
        at = int.from_bytes(head[0x20E:0x210], "little")
        text = head[at + 0x200 : at + 0x280].split(b"\0")[0].decode("ascii", errors="replace")
        return KernelFacts(release=text.split(" ")[0] if at else "")
    # Documentation/arch/arm64/booting.rst, and the EFI stub (a PE file).
    if head[0x38:0x3C] == b"ARM\x64" or head[:2] == b"MZ":
        return KernelFacts(release="")
    what = "is empty" if not size else "is no kernel"
    raise StepError(f"{path.name} {what}")


def initrd_paths(path: Path, scratch: Path) -> frozenset[str] | None:
    """Read an initrd to its end; return the paths in it.

    Args:
        path: the initrd.
        scratch: a folder for what is in between.

    Returns:
        None if it is compressed with something that this host lacks.

    Raises:
        StepError: it is none, or its end is missing.
    """
    found: set[str] = set()
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise StepError(f"the initrd {path.name} is empty")
        _skip_early(file)
        magic = file.read(6)
        file.seek(-len(magic), 1)
        try:
            archive = _Archive(_unpacked(file, magic, scratch))
            found.update(archive.paths())
            archive.drain()  # the sum of a compressed stream is at its end
        except (EOFError, OSError, ValueError, lzma.LZMAError, StepError) as error:
            raise StepError(f"the initrd {path.name} is cut off or damaged: {error}") from error
        except _UnknownError:
            return None
    return frozenset(found)


def modules_of(paths: Iterable[str]) -> frozenset[str]:
    """Return the kernel releases that an initrd has modules of."""
    return frozenset(found[1] for each in paths if (found := _MODULES.match(each)))


class _Archive:
    """A cpio archive (newc) that is read as it comes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def paths(self) -> Iterator[str]:
        """Give the paths up to the archive's end."""
        while True:
            head = self._take(_HEADER)
            if head[:6] not in (b"070701", b"070702"):
                raise EOFError("its archive is damaged")
            name_size, size = int(head[94:102], 16), int(head[54:62], 16)
            name = self._take(name_size + -(_HEADER + name_size) % 4)[: name_size - 1]
            if name == b"TRAILER!!!":
                return
            yield name.decode(errors="surrogateescape").removeprefix("./")
            self._skip(size + -size % 4)

    def drain(self) -> None:
        """Read what comes after it."""
        for _ in self._chunks:
            pass

    def _take(self, size: int) -> bytes:
        parts = [self._rest]
        have = len(self._rest)
        while have < size:
            parts.append(self._next())
            have += len(parts[-1])
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]

    def _skip(self, size: int) -> None:
        while len(self._rest) < size:
            size -= len(self._rest)
            self._rest = self._next()
        self._rest = self._rest[size:]

    def _next(self) -> bytes:
        chunk = next(self._chunks, b"")
        if not chunk:
            raise EOFError("its archive has no end")
        return chunk


class _UnknownError(Exception):
    """A compression that cannot be read here."""


def _skip_early(file: IO[bytes]) -> None:
    """Go past the uncompressed archives before the compressed one, such as microcode."""
    while True:
        begin = file.tell()
        head = file.read(_HEADER)
        if head[:6] not in (b"070701", b"070702"):
            file.seek(begin)
            return
        name_size, size = int(head[94:102], 16), int(head[54:62], 16)
        name = file.read(name_size)
        file.seek(-(_HEADER + name_size) % 4, 1)
        file.seek(size + -size % 4, 1)
        if not name.startswith(b"TRAILER!!!"):
            continue
        rest = file.read(_CHUNK)
        kept = rest.lstrip(b"\0")
        if not kept:  # the whole was uncompressed: read it once more as it is
            file.seek(0)
            return
        file.seek(-len(kept), 1)


def _unpacked(file: IO[bytes], magic: bytes, scratch: Path) -> Iterator[bytes]:
    opened: Any = None
    if magic[:2] == b"\x1f\x8b":
        opened = gzip.GzipFile(fileobj=file)
    elif magic == b"\xfd7zXZ\0":
        opened = lzma.LZMAFile(file)  # noqa: SIM115 - the caller closes the file
    elif magic[:3] == b"BZh":
        opened = bz2.BZ2File(file)
    elif magic in (b"070701", b"070702"):
        opened = file
    if opened is not None:
        while chunk := opened.read(_CHUNK):
            yield chunk
        return
    program = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}.get(magic[:4])
    if program is None or tools.find(program) is None:
        raise _UnknownError
    unpacked = scratch / "initrd.cpio"
    script = 'tail -c +"$1" "$2" | "$3" -dcq >"$4"'
    argv = [str(file.tell() + 1), file.name, program, str(unpacked)]
    command.run(["bash", "-o", "pipefail", "-c", script, "bash", *argv], timeout=600)
    with unpacked.open("rb") as plain:
        while chunk := plain.read(_CHUNK):
            yield chunk
    unpacked.unlink()


def order(release: str) -> list[tuple[int, int | str]]:
    """Order releases as numbers and words: 5.14.0-9 before 5.14.0-10."""
    return [
        (1, int(part)) if part.isdigit() else (0, part)
        for part in re.findall(r"\d+|[a-z]+", release)
    ]
