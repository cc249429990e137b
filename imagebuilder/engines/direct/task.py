"""One package layer in the making, and what it is made on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.engines.direct.job import Job, Layer
from imagebuilder.engines.direct.shelf import Shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One package layer in the making.

    Attributes:
        job: the image that it is for.
        layer: the layer.
        shelf: the files of its packages, which are taken out, and an index of them.
        epoch: seconds since the epoch that no file is to be newer than.
        work: a folder of its own, on the disk of the layers.
        private: a folder in memory, for what must not lie on a disk.
        log: gets what the package managers say.
    """

    job: Job
    layer: Layer
    shelf: Shelf
    epoch: int
    work: Path
    private: Path
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """The layer that another one is made on.

    Attributes:
        tree: where its files can be read already.
        epoch: seconds since the epoch that none of them is newer than.
        settled: waits until it stands on the disk, and returns its place there.
    """

    tree: Path
    epoch: int
    settled: Callable[[], Path]
