"""Engines: how a kickstart becomes an image.  Found through entry points, so others can add one."""

from imagebuilder.engines.base import (
    Engine,
    Input,
    Made,
    Request,
    Step,
    StepSpec,
    find,
)

__all__ = ["Engine", "Input", "Made", "Request", "Step", "StepSpec", "find"]
