"""One exported file, and the base of the models that stand in such files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from imagebuilder.catalog.model import Release
from imagebuilder.distro import Arch, Distro, find
from imagebuilder.errors import InputError
from imagebuilder.image import EROFS


class ExportModel(BaseModel):
    """The base of all models here: their keys are those of the formats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def data(self) -> bytes:
        """Return the bytes of the file: the same each time."""
        text = self.model_dump_json(indent=2, by_alias=True, exclude_none=True)
        return (text + "\n").encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to be written.

    Attributes:
        key: where.
        data: what; None: the bytes of the catalog's blob ``sha256``, of ``size`` bytes.
        fixed: whether it never changes, so that nothing is done if it is there.
        content_type: for places that tell it to readers.
    """

    key: str
    data: bytes | None
    fixed: bool = False
    content_type: str = "application/json"
    sha256: str = ""
    size: int = 0


def arch_of(kernel_release: str) -> Arch:
    """Return the architecture of a release: what ``uname -r`` says names it in all distros."""
    return "aarch64" if kernel_release.endswith(("arm64", "aarch64")) else "x86_64"


def debian_arch(kernel_release: str) -> str:
    """Return what Debian, and with it MAAS, calls the architecture of a release."""
    return "arm64" if arch_of(kernel_release) == "aarch64" else "amd64"


def distro_of(distro: str) -> Distro | None:
    """Return the distribution of a release, None for one that this version does not know."""
    try:
        return find(distro)
    except InputError:
        return None


def when(time: str) -> datetime:
    """Return a time of the models."""
    return datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def root_of(name: str) -> str:
    """Return what a root file system is, by its file's name: ``squashfs`` or ``erofs``."""
    return "erofs" if name == EROFS else "squashfs"


def digest_of(release: Release, role: str) -> str:
    """Return the digest of what boots; a release has exactly one of each."""
    return next(each.sha256 for each in release.artefacts if each.role == role)
