"""What is in a root file system, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagebuilder.comparison.erofs import of_erofs
from imagebuilder.comparison.members import Member, of_squashfs
from imagebuilder.image import EROFS
from imagebuilder.progress import Cancel


def of_root(path: Path, work: Path, cancel: Cancel) -> Mapping[str, Member]:
    """Return what is in a squashfs or an EROFS, by path; the file's name says what it is.

    Args:
        path: the file.
        work: a folder for as much as all that is in it.
        cancel: the request to stop.

    Raises:
        StepError: it cannot be read.
        HostError: the program that reads it is not installed.
        Interrupted: somebody asked to stop.
    """
    return (of_erofs if path.name == EROFS else of_squashfs)(path, work, cancel)
