"""The same work for several recipes, some at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from imagebuilder.errors import ImageBuilderError
from imagebuilder.progress import Cancel

T = TypeVar("T")

_WAITING = 4  # pieces of work that are begun at most, for each that may run

_here = threading.local()  # the places of what this thread is a part of


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong with one of several pieces of work."""

    name: str
    error: ImageBuilderError


class _Places:
    """As many places as pieces of work may run at a time; who waits for another gives his up."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._returning = 0
        self._changed = threading.Condition()

    def begin(self) -> bool:
        """Take a place for new work, if there is one that nobody wants back."""
        with self._changed:
            is_free = self._free > 0 and not self._returning
            self._free -= is_free
            return is_free

    def leave(self) -> None:
        """Give a place up."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def back(self, cancel: Cancel) -> None:
        """Take a place again, as soon as there is one; who is to stop needs none."""
        with self._changed:
            self._returning += 1
            while self._free <= 0 and not cancel.is_set:
                self._changed.wait(0.1)
            self._returning -= 1
            self._free -= 1


@contextmanager
def waiting(cancel: Cancel) -> Iterator[None]:
    """Let other work take this one's place for as long as it waits for what another makes."""
    places: _Places | None = getattr(_here, "places", None)
    if places is None:
        yield
        return
    places.leave()
    try:
        yield
    finally:
        places.back(cancel)


def each(
    names: Sequence[str],
    work: Callable[[str], T],
    *,
    jobs: int = 1,
    keep_going: bool = False,
    cancel: Cancel,
) -> tuple[dict[str, T], tuple[Failure, ...]]:
    """Do the same for several recipes, some at a time.

    After a failure nothing more is started unless ``keep_going``; what runs is let finish.
    What waits for another's work, in :func:`waiting`, does not count among those that run.

    Returns:
        the results by name, and the failures in the order in which they happened.
    """
    results: dict[str, T] = {}
    failures: list[Failure] = []
    left = list(dict.fromkeys(names))
    running: dict[Future[T], str] = {}
    places, most = _Places(jobs), _WAITING * jobs

    def placed(name: str) -> T:
        _here.places = places
        return work(name)

    with ThreadPoolExecutor(max_workers=most, thread_name_prefix="imagebuilder") as pool:
        try:
            while left or running:
                while left and len(running) < most and (keep_going or not failures):
                    if cancel.is_set:
                        left.clear()
                        break
                    if not places.begin():
                        break
                    name = left.pop(0)
                    running[pool.submit(placed, name)] = name
                if not running:
                    break
                # The time limit lets signal handlers run in the main thread.
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    places.leave()
                    try:
                        results[name] = future.result()
                    except ImageBuilderError as error:
                        failures.append(Failure(name=name, error=error))
        except BaseException:
            # The pool waits for what runs: it is to end now.
            cancel.set("another piece of work broke")
            raise
    return results, tuple(failures)
