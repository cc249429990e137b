"""Several machines that run at once, each of which waits for the others before it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from imagebuilder.smoke.network import Place

T = TypeVar("T")


class _Company:
    """Knows which machines still have checks before them."""

    def __init__(self, machines: set[int]) -> None:
        self._busy = set(machines)
        self._lock = threading.Lock()

    def leave(self, machine: int) -> bool:
        """Note that a machine is done; return whether others are not."""
        with self._lock:
            self._busy.discard(machine)
            return bool(self._busy)


def boot_together(places: Sequence[Place], work: Callable[[Place], T]) -> tuple[T, ...]:
    """Boot a machine at each place, all at once; return what came of them in this order.

    One whose checks are done runs on until those of the others are, since they may look at it.

    Raises:
        ImageBuilderError: the first that one of them raised, once all have ended.
    """
    company = _Company({place.number for place in places})

    def one(place: Place) -> T:
        try:
            return work(replace(place, stays=lambda: company.leave(place.number)))
        finally:
            company.leave(place.number)  # however it ended

    with ThreadPoolExecutor(len(places), thread_name_prefix="machine") as pool:
        futures = [pool.submit(one, place) for place in places]
    return tuple(future.result() for future in futures)
