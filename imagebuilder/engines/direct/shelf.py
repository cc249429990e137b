"""What apt has at hand for one layer of packages: their files, and an index of nothing else.

apt reads the whole index whenever it is called, a second each time for the 63,000 packages of
Debian 12, and mmdebstrap calls it four times.  The plan has chosen all packages with their
versions already, so that the others are not missed, and none can come in by mistake.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.engines.direct.debs import file_of

# Fields of a package's paragraph in the index: "Packages" of Debian's repository format.
_FIELDS = re.compile(rb"^(Package|Version|Architecture): *(\S+)", re.MULTILINE)
# The files are packed anew.  apt takes those at hand by their size; that they have the digests of
# the signed index was seen to when they came.
_OF_FILE = re.compile(rb"^(Size|MD5sum|SHA1|SHA256|SHA512):.*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What apt has at hand.

    Attributes:
        files: the folder with the files of the packages.
        lists: the folder with the index, as apt keeps it below ``/var/lib/apt/lists``.
    """

    files: Path
    lists: Path


def of(index: Path, versions: Mapping[str, str], files: Path, into: Path) -> Shelf:
    """Return a shelf with some packages.

    Args:
        index: the folder with the whole index, as apt keeps it.
        versions: of the packages, by their names.
        files: the folder with their files.
        into: the folder for the index of them; it is made.

    Raises:
        OSError: the disk is full, or the like.
    """
    wanted = {(name.partition(":")[0], version) for name, version in versions.items()}
    into.mkdir()
    for path in sorted(index.iterdir()):
        if path.name.endswith("Release"):
            shutil.copyfile(path, into / path.name)
        elif path.name.endswith("_Packages"):
            (into / path.name).write_bytes(b"\n".join(_kept(path.read_bytes(), wanted, files)))
    return Shelf(files=files, lists=into)


def _kept(text: bytes, wanted: set[tuple[str, str]], files: Path) -> Iterator[bytes]:
    begins = {b"Package: " + name.encode() for name, _ in wanted}
    for paragraph in text.split(b"\n\n"):
        # Nearly all have that field first, and are not wanted.
        if paragraph.startswith(b"Package: ") and paragraph.partition(b"\n")[0] not in begins:
            continue
        said = {key.decode(): value.decode() for key, value in _FIELDS.findall(paragraph)}
        name, version = said.get("Package", ""), said.get("Version", "")
        if (name, version) not in wanted:
            continue
        file = files / file_of(name, version, said.get("Architecture", ""))
        if file.exists():
            paragraph = _OF_FILE.sub(b"", paragraph.rstrip(b"\n") + b"\n")
            paragraph += b"Size: %d\n" % file.stat().st_size
        yield paragraph.rstrip(b"\n") + b"\n"
