"""What apt has at hand for a layer of packages: their files, and an index of nothing else.

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


class Index:
    """The part of a package index that an image needs, read once for all of its layers.

    Args:
        folder: the folder with the whole index, as apt keeps it.
        versions: of the packages, by their names.
    """

    def __init__(self, folder: Path, versions: Mapping[str, str]) -> None:
        wanted = _wanted(versions)
        self._signed = sorted(folder.glob("*Release"))
        self._paragraphs = {
            path.name: list(_paragraphs(path.read_bytes(), wanted))
            for path in sorted(folder.glob("*_Packages"))
        }

    def shelf(self, versions: Mapping[str, str], files: Path, into: Path) -> Shelf:
        """Return a shelf with some of the packages.

        Args:
            versions: of these packages, by their names.
            files: the folder with their files.
            into: the folder for the index of them; it is made.

        Raises:
            OSError: the disk is full, or the like.
        """
        wanted = _wanted(versions)
        into.mkdir()
        for path in self._signed:
            shutil.copyfile(path, into / path.name)
        for name, paragraphs in self._paragraphs.items():
            kept = (each.text(files) for each in paragraphs if (each.name, each.version) in wanted)
            (into / name).write_bytes(b"\n".join(kept))
        return Shelf(files=files, lists=into)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paragraph:
    """What an index says of a package."""

    name: str
    version: str
    arch: str
    said: bytes

    def text(self, files: Path) -> bytes:
        """Return it with the size of the file at hand, if that is there."""
        file = files / file_of(self.name, self.version, self.arch)
        if not file.exists():
            return self.said
        return _OF_FILE.sub(b"", self.said) + b"Size: %d\n" % file.stat().st_size


def _wanted(versions: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(name.partition(":")[0], version) for name, version in versions.items()}


def _paragraphs(text: bytes, wanted: set[tuple[str, str]]) -> Iterator[_Paragraph]:
    begins = {b"Package: " + name.encode() for name, _ in wanted}
    for paragraph in text.split(b"\n\n"):
        # Nearly all have that field first, and are not wanted.
        if paragraph.startswith(b"Package: ") and paragraph.partition(b"\n")[0] not in begins:
            continue
        said = {key.decode(): value.decode() for key, value in _FIELDS.findall(paragraph)}
        name, version = said.get("Package", ""), said.get("Version", "")
        if (name, version) in wanted:
            yield _Paragraph(
                name=name,
                version=version,
                arch=said.get("Architecture", ""),
                said=paragraph.strip(b"\n") + b"\n",
            )
