"""What the engine tells its worker, and what the worker says back: JSON over pipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imagebuilder.engines.direct.files import Copy
from imagebuilder.livemedia_options import LivemediaOptions
from imagebuilder.recipe import ImageOptions


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Job(_Message):
    """One image to make.

    Attributes:
        name: the recipe's name.
        token: a name for this run alone.
        argv: livemedia-creator's command line, or empty: its results are kept from before.
        environment: what it needs in its environment beside the caller's.
        version: its version.
        kickstart: what ``Kickstart.to_dict`` gave, with the values of secrets in it.
        secrets: these values, to be masked in logs and messages.
        kickstart_file: where it is to find the kickstart, in memory.
        results: the folder that it makes and fills; or the one with results that are kept.
        tmp: its folder for what is in between.
        work: an empty folder for ours.
        into: the folder for the image.
        image_only: whether the results are a disk image alone.
        dracut: dracut's arguments for it.
        install_id: the id of what was installed.
        initrds: where initrds are kept.
        offline: whether there is no network but its own.
        again: whether none of these is to be taken.
        files: what is copied into it.
        options: how it is driven.
        image: the form of the artefacts.
        epoch: the file system's time stamp, in seconds since the epoch.
    """

    name: str
    token: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    version: str
    kickstart: dict[str, Any]
    secrets: tuple[str, ...] = ()
    kickstart_file: Path
    results: Path
    tmp: Path
    work: Path
    into: Path
    image_only: bool
    dracut: tuple[str, ...]
    install_id: str
    initrds: Path
    offline: bool
    again: bool
    files: tuple[Copy, ...] = ()
    options: LivemediaOptions
    image: ImageOptions
    epoch: int


class Kept(_Message):
    """``install.json`` beside results that are kept: they are whole."""

    id: str
    version: str
    epoch: int
    image_only: bool


class Outcome(_Message):
    """What a worker has made."""

    kernel_release: str
    tree_size: int
    package_count: int
    notes: tuple[str, ...]
    reused: tuple[str, ...] = ()
    seconds: dict[str, float]
