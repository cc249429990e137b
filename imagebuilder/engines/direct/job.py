"""What the engine tells its worker, and what the worker says back: JSON over pipes.

Secrets of the kickstart travel here, and so never lie in a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from imagebuilder.engines.direct.debs import Deb, Fetching
from imagebuilder.engines.direct.files import Copy
from imagebuilder.engines.direct.image_sources import Kept
from imagebuilder.recipe import ImageOptions


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Layer(_Message):
    """A package layer that is to be made.

    Attributes:
        id: its id.
        place: where it is to be.
        fresh: the folder in which it is made.
        packages: what apt is asked to install.
        new: the packages that are to be installed, with versions.
        planned: these, and those of the layers below.
        preseed: what debconf-set-selections reads, with passwords in it.
        debs: the files of the packages that are to be installed.
        fetching: how those are fetched that the cache lacks.
    """

    id: str
    place: Path
    fresh: Path
    packages: tuple[str, ...]
    new: dict[str, str]
    planned: dict[str, str]
    preseed: str = ""
    debs: tuple[Deb, ...] = ()
    fetching: Fetching


class Standing(_Message):
    """A package layer that is there.

    Attributes:
        place: where it is.
        epoch: seconds since the epoch that no file of it is newer than.
        listing: what its listing must be; "": nobody knows.
    """

    place: Path
    epoch: int
    listing: str = ""


class Job(_Message):
    """One image to make.

    Attributes:
        name: the recipe's name.
        kickstart: what ``Kickstart.to_dict`` gave, with the values of secrets in it.
        files: what is copied into the image.
        secrets: these values, to be masked in logs and messages.
        arch: the archive's name for the architecture.
        layers: the package layers that are to be made, the lowest first.
        standing: what the first of them is made on, or the image itself; None: nothing.
        installed: the bytes that all packages take, as the index has it.
        recommends: whether recommended packages come along.
        sources: the text of the sources.list.
        preferences: the text of apt's preferences.
        apt_options: lines of an apt.conf: certificates, time limits, proxies of single hosts.
        proxies: lines of an apt.conf: this host's proxies, which no package layer has in it.
        left_out: what packages do not bring: rules as dpkg has them.
        kept: what the image's own apt is to know.
        missing: lines of %packages that nobody knows.
        lists: the folder with the package index.
        epoch: seconds since the epoch that no file is newer than; None: when the newest of the
            packages was made.
        deb_store: the folder in which files of packages are kept.
        initrds: the folder in which initrds are kept.
        again: make an initrd, whatever is kept.
        work: an empty folder for what is in between; on the disk of the layers.
        into: the folder for the results.
        project: the project's folder.
        image: the form of the artefacts.
    """

    name: str
    kickstart: dict[str, Any]
    files: tuple[Copy, ...] = ()
    secrets: tuple[str, ...] = ()
    arch: str
    layers: tuple[Layer, ...] = ()
    standing: Standing | None = None
    installed: int = 0
    recommends: bool
    sources: str
    preferences: str = ""
    apt_options: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    kept: Kept = Field(default_factory=Kept)
    missing: tuple[str, ...] = ()
    lists: Path
    epoch: int | None
    deb_store: Path
    initrds: Path
    again: bool = False
    work: Path
    into: Path
    project: Path
    image: ImageOptions


class LayerFacts(_Message):
    """``layer.json`` beside a package layer's tree: it is whole."""

    id: str
    epoch: int
    package_count: int
    listing: str = ""


class Outcome(_Message):
    """What a worker has made."""

    kernel_release: str
    tree_size: int
    package_count: int
    notes: tuple[str, ...]
    seconds: dict[str, float]
    reused: tuple[str, ...] = ()
