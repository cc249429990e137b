"""systemd's critical chain: what a boot waited for, read from ``systemd-analyze``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagebuilder.smoke.guest import Said, number

# "  └─ssh.service @37.532s +1min 681ms": after @ when it began or was there, after + how long it
# took (systemd-analyze(1), critical-chain).  The tree is drawn in ASCII where the locale is C.
_LINK = re.compile(r"^(?:[│|]?\s)*(?:[└├]─|[`|]-)?(\S+\.\w+)(?: @(\S[^+]*))?(?: ?\+(.*))?$")
_SPAN = re.compile(r"([\d.]+)(min|h|ms|us|s)")
_UNITS = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One unit of the chain.

    Attributes:
        unit: its name.
        start: when it was begun, in seconds since the kernel started.
        seconds: how long it took; 0 for a target.
    """

    unit: str
    start: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The guest's memory at a moment.

    Attributes:
        seconds: since the kernel started.
        total: MiB that the kernel manages.
        available: MiB that programs could have.
    """

    seconds: float
    total: float
    available: float


def read_chain(said: Sequence[Said]) -> tuple[Link, ...]:
    """Return the critical chain that the runner told of, the target first; () if none."""
    for each in said:
        if each.word == "chain":
            start = number(each.texts[0]) / 1_000_000
            links = (_link(line, start) for line in each.texts[1].splitlines())
            return tuple(link for link in links if link)
    return ()


def read_samples(said: Sequence[Said]) -> tuple[Sample, ...]:
    """Return the samples of memory that the runner told of, in the order of time."""
    samples = (
        Sample(
            seconds=number(each.texts[0]),
            total=number(each.texts[1]) / 1024,
            available=number(each.texts[2]) / 1024,
        )
        for each in said
        if each.word == "memory"
    )
    return tuple(sorted((each for each in samples if each.total), key=lambda each: each.seconds))


def _link(line: str, start: float) -> Link | None:
    found = _LINK.match(line)
    if not found or not found[2]:
        return None
    return Link(unit=found[1], start=start + _span(found[2]), seconds=_span(found[3] or ""))


def _span(text: str) -> float:
    """Read a time as systemd writes it: ``1min 2.345s``."""
    return sum(float(number) * _UNITS[unit] for number, unit in _SPAN.findall(text))
