"""Files that stay as they are for a while: what was looked at once need not be looked at again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Found = TypeVar("Found")

_here = threading.local()


@contextmanager
def steady() -> Iterator[None]:
    """Let what this thread finds out about files hold until the end of the block.

    For work that asks the same of the same files thousands of times, and whose answer is one of
    the moment anyway: a look at a file takes ten times as long as a look at what is known of it.
    """
    before = seen()
    _here.seen = {} if before is None else before
    try:
        yield
    finally:
        _here.seen = before


def seen() -> dict[Hashable, Any] | None:
    """Return what this thread has found out; None: everything is to be looked at each time."""
    found: dict[Hashable, Any] | None = getattr(_here, "seen", None)
    return found


def once(key: Hashable, look: Callable[[], Found]) -> Found:
    """Return what a look at files finds, or has found in this steady block.

    Args:
        key: what is looked at, and what for.
        look: looks.  What it raises is not kept.
    """
    known = seen()
    if known is None:
        return look()
    if key not in known:
        known[key] = look()
    found: Found = known[key]
    return found
