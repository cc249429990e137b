"""One side of a comparison: what is known of an image, wherever it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imagebuilder import distro
from imagebuilder.comparison.boots import Boots
from imagebuilder.errors import ImageBuilderError, InputError, Location
from imagebuilder.image import (
    INITRD,
    KERNEL,
    KICKSTART,
    PACKAGES,
    ROOTFS,
    SBOM,
    Image,
    PackageList,
    common_name,
)
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.lines import Line
from imagebuilder.kickstart.parse import parse
from imagebuilder.smoke.report import REPORT

UNIT = (KERNEL, INITRD, ROOTFS)
LIMIT = 64 << 20  # bytes of a list of packages, a bill of materials, a kickstart


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What is known of an image.

    Attributes:
        recipe: the recipe's name.
        label: what people call the image: its recipe, and its id, release or channel.
        distro: the distribution's id.
        kernel: what ``uname -r`` says in it; "": not known, it is not built.
        kernel_args: what it wants on its kernel's command line.
        tree_size: bytes of the files in its root, unpacked; None: not known.
        artefacts: of kernel, initrd and root file system, the size in bytes and the SHA-256; the
            last by ROOTFS, whatever it is.
        rootfs: the name of the root file system.
        packages: what is installed.
        kickstart: what it was made from, without secrets; None: it cannot be read.
        components: its bill of materials: what each component is called by other tools.
        boots: what its test found.
        folder: where its initrd and root file system are, if these are to be compared.
        notes: what a reader should know: what could not be read.
    """

    recipe: str
    label: str
    distro: str
    kernel: str = ""
    kernel_args: tuple[str, ...]
    tree_size: int | None = None
    artefacts: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    rootfs: str = ROOTFS
    packages: PackageList
    kickstart: Kickstart | None
    components: Mapping[str, str] | None = None
    boots: Boots | None = None
    folder: Path | None = None
    notes: tuple[str, ...] = ()


def of_image(image: Image, *, with_files: bool = True) -> Side:
    """Return what is known of an image that was built here.

    Raises:
        InputError: its list of packages cannot be read.
    """
    facts = image.facts
    label = f"{image.recipe} {image.id}"
    read = Reader(label, lambda name: _read(image.path / name))
    return Side(
        recipe=image.recipe,
        label=label,
        distro=facts.distro,
        kernel=facts.kernel_release,
        kernel_args=facts.kernel_args,
        tree_size=facts.tree_size,
        artefacts={
            common_name(each.name): (each.size, each.sha256)
            for each in facts.artefacts
            if common_name(each.name) in UNIT
        },
        rootfs=facts.rootfs_name,
        packages=read.packages(),
        kickstart=read.kickstart(facts.distro),
        components=read.components(),
        boots=read.boots(f"{image.smoke_dir.name}/{REPORT}"),
        folder=image.path if with_files else None,
        notes=tuple(read.notes),
    )


class Reader:
    """Reads what an image says of itself; what cannot be read becomes a note.

    Args:
        label: what people call the image.
        get: returns the bytes of one of its files, at most :data:`LIMIT`; None if there is none.
    """

    def __init__(self, label: str, get: Callable[[str], bytes | None]) -> None:
        self._label = label
        self._get = get
        self.notes: list[str] = []

    def packages(self) -> PackageList:
        """Read what is installed.

        Raises:
            InputError: it cannot be read.
        """
        data = self._get(PACKAGES)
        try:
            if data is not None:
                return PackageList.model_validate_json(data)
        except ValidationError:
            pass
        raise InputError(
            f"{self._label} has no list of packages that can be read",
            where=Location(file=PACKAGES),
            fix="build it again: imagebuilder build -B NAME; or publish it again with --force",
        )

    def kickstart(self, distro_id: str) -> Kickstart | None:
        """Read what it was made from."""
        data = self._get(KICKSTART)
        if data is None:
            self.notes.append(f"{self._label}: its kickstart is not there")
            return None
        return self.parsed(data.decode(errors="replace"), distro_id)

    def parsed(self, text: str, distro_id: str) -> Kickstart | None:
        """Return a kickstart that was saved."""
        lines = [
            Line(line, Location(file=KICKSTART, line=n))
            for n, line in enumerate(text.splitlines(), 1)
        ]
        try:
            return parse(lines, distro.find(distro_id).kickstart_version)
        except ImageBuilderError as error:
            self.notes.append(f"{self._label}: its kickstart cannot be read: {error.what}")
            return None

    def components(self) -> Mapping[str, str] | None:
        """Read its bill of materials: by name, what each component is called by other tools."""
        data = self._get(SBOM)
        try:
            listed: Any = json.loads(data or b"null")
            return {
                str(each.get("bom-ref") or each["name"]): str(each.get("purl") or each["version"])
                for each in listed["components"]
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.notes.append(f"{self._label}: its bill of materials cannot be read")
            return None

    def boots(self, name: str) -> Boots | None:
        """Read what its test found; None if it has not been tested."""
        data = self._get(name)
        found = Boots.read(data) if data is not None else None
        if data is not None and found is None:
            self.notes.append(f"{self._label}: its test's report cannot be read")
        return found


def _read(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > LIMIT:
            return None
        return path.read_bytes()
    except OSError:
        return None
