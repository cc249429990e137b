"""The same work for several recipes, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from imagebuilder.errors import ImageBuilderError
from imagebuilder.progress import Cancel

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong with one of several pieces of work."""

    name: str
    error: ImageBuilderError


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

    Returns:
        the results by name, and the failures in the order in which they happened.
    """
    results: dict[str, T] = {}
    failures: list[Failure] = []
    waiting = list(dict.fromkeys(names))
    running: dict[Future[T], str] = {}
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="imagebuilder") as pool:
        try:
            while waiting or running:
                while waiting and len(running) < jobs and (keep_going or not failures):
                    if cancel.is_set:
                        waiting.clear()
                        break
                    name = waiting.pop(0)
                    running[pool.submit(work, name)] = name
                if not running:
                    break
                # The time limit lets signal handlers run in the main thread.
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    try:
                        results[name] = future.result()
                    except ImageBuilderError as error:
                        failures.append(Failure(name=name, error=error))
        except BaseException:
            # The pool waits for what runs: it is to end now.
            cancel.set("another piece of work broke")
            raise
    return results, tuple(failures)
