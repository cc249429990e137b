"""Work that may hang, with an end in any case."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from imagebuilder.errors import CatalogError
from imagebuilder.progress import Cancel

T = TypeVar("T")

_POLL = 0.1  # seconds between two looks at the wish to stop
_GRACE = 2.0  # seconds for work that is given up: most of it ends at its next look


class TooSlowError(CatalogError):
    """Work was given up."""


def bounded(
    work: Callable[[Cancel], T],
    *,
    seconds: float | Callable[[], float],
    cancel: Cancel,
    grace: float = _GRACE,
) -> T:
    """Do some work in a thread of its own, and wait for it no longer than so long.

    A server that sends a byte now and then, or a folder whose host is gone, keeps whoever reads
    it waiting for ever.  Work that is not waited for any more is told so by its own wish to stop;
    what it still does must be of no consequence.

    Args:
        work: what is done; it gets its wish to stop.
        seconds: how long it may take; or what tells that anew as the work goes on.
        cancel: the caller's wish to stop.
        grace: seconds for which work that is given up is waited for.

    Raises:
        TooSlowError: it has taken too long.
        Interrupted: the caller asked to stop.
    """
    own = Cancel()
    ended: queue.Queue[tuple[bool, T | BaseException]] = queue.Queue()

    def run() -> None:
        try:
            ended.put((True, work(own)))
        except BaseException as error:
            ended.put((False, error))

    began = time.monotonic()
    allowed = seconds if callable(seconds) else lambda: seconds
    thread = threading.Thread(target=run, name="imagebuilder-remote", daemon=True)
    thread.start()
    while True:
        try:
            is_done, result = ended.get(timeout=_POLL)
        except queue.Empty:
            pass
        else:
            if isinstance(result, BaseException) and not is_done:
                raise result
            return result  # type: ignore[return-value]  # work may well return an error
        if cancel.is_set:
            own.set("the caller stopped")
            thread.join(grace)
            cancel.check()
        if (taken := time.monotonic() - began) > allowed():
            own.set("it took too long")
            thread.join(grace)
            raise TooSlowError(f"was not done after {taken:.0f} s")


def each(work: Callable[[T], None], items: Iterable[T], cancel: Cancel, *, at_once: int) -> None:
    """Do the same for some items, a few at a time.

    After a failure nothing more is begun, ``cancel`` is set for what runs, and nobody waits long
    for it: these threads do not keep the process from ending either.

    Raises:
        BaseException: what the first failure was.
    """
    waiting = list(items)
    ended: queue.Queue[BaseException | None] = queue.Queue()
    count = len(waiting)
    lock = threading.Lock()

    def run() -> None:
        while True:
            with lock:
                if not waiting or cancel.is_set:
                    return
                item = waiting.pop(0)
            try:
                work(item)
            except BaseException as error:
                with lock:
                    waiting.clear()
                ended.put(error)
            else:
                ended.put(None)

    threads = [
        threading.Thread(target=run, name="imagebuilder-remote", daemon=True)
        for _ in range(min(at_once, count))
    ]
    for thread in threads:
        thread.start()
    try:
        while count:
            try:
                failed = ended.get(timeout=_POLL)
            except queue.Empty:
                cancel.check()
                continue
            if failed is not None:
                cancel.set("another one failed")
                raise failed
            count -= 1
    finally:
        deadline = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
