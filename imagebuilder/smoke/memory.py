"""How much memory an image needs to come up, found by bisection."""

from __future__ import annotations

from collections.abc import Callable

from imagebuilder.smoke.report import MemoryNeed

STEP_MIB = 64
"""How exactly it is found out."""
MOST_BOOTS = 8
"""Boots that it may take: from 16 GiB to 64 MiB by halves."""


def find_memory(
    comes_up: Callable[[int], bool], *, enough: int, too_little: int, path: str
) -> MemoryNeed:
    """Find out how much memory an image needs.

    Args:
        comes_up: boots it with so many MiB, and says whether it came up.
        enough: MiB with which it came up.
        too_little: MiB with which it cannot.
        path: over which it is booted.

    Returns:
        The least that was enough, and the most that was not; they are at most :data:`STEP_MIB`
        apart, unless :data:`MOST_BOOTS` boots did not do.
    """
    boots = 0
    while enough - too_little > STEP_MIB and boots < MOST_BOOTS:
        # At multiples of a step, where there is one in between.
        middle = (enough + too_little) // 2 // STEP_MIB * STEP_MIB
        if middle <= too_little:
            middle += STEP_MIB
        if middle >= enough:
            break
        boots += 1
        if comes_up(middle):
            enough = middle
        else:
            too_little = middle
    return MemoryNeed(mib=enough, too_little_mib=too_little, boots=boots, path=path)
