"""Engines: how a kickstart becomes an image.  Found through entry points, so others can add one."""

from imagebuilder.engines.base import (
    Engine,
    IndexedEngine,
    Input,
    LockingEngine,
    Made,
    Request,
    SharingEngine,
    Step,
    StepSpec,
    Units,
    Watched,
    WatchedEngine,
    find,
)

__all__ = [
    "Engine",
    "IndexedEngine",
    "Input",
    "LockingEngine",
    "Made",
    "Request",
    "SharingEngine",
    "Step",
    "StepSpec",
    "Units",
    "Watched",
    "WatchedEngine",
    "find",
]
