"""One run of livemedia-creator, as it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imagebuilder.kickstart import Kickstart

Mode = Literal["no-virt", "virt"]
Ended = Literal["", "timeout", "phase-timeout", "silence", "flood"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The least free space that a folder had during a run, in bytes.

    ``name`` is what the folder is for: ``tmp``, ``results``.
    """

    name: str
    folder: Path
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a run ended, and where what it said stands.

    Attributes:
        version: livemedia-creator's.
        mode: where Anaconda ran.
        returncode: the exit status; negative: the signal that ended it.
        ended: why it was ended from outside, or "" if it ended by itself.
        phase: the phase that it was in.
        logs: the folder with livemedia.log, program.log and anaconda/.
        stderr: the last lines of its standard error.
        results: the folder that it was to fill.
        kickstart: what it was given, each part with its origin.
        rooms: how much room it had.
    """

    version: str
    mode: Mode
    returncode: int
    ended: Ended = ""
    phase: str = ""
    logs: Path
    stderr: str = ""
    results: Path
    kickstart: Kickstart
    rooms: tuple[Room, ...] = field(default=())
