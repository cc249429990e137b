"""Compare-and-swap: how an object that many write to is changed without losing a change."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Cancel
from imagebuilder.stores.base import Conflict, Object, ObjectStore

ATTEMPTS = 300
# Seconds.  Each success is a failure for all who had read before it: two hundred at once get on
# faster if most of them wait.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 5.0

Change = Callable[[Object | None], bytes | None]
"""Gets the object as it is (None: there is none); returns its new bytes, None to leave it."""


def update(
    store: ObjectStore,
    key: str,
    change: Change,
    cancel: Cancel,
    *,
    content_type: str = "application/json",
) -> bytes | None:
    """Change an object; when somebody else was faster, look again and decide anew.

    Returns:
        What was written, or None when ``change`` left it as it was.

    Raises:
        CatalogError: others were faster every time, or the store refused.
    """
    written: bytes | None = None
    for attempt in range(ATTEMPTS):
        cancel.check()
        current = store.get(key)
        if written is not None and current is not None and current.data == written:
            return written  # our write came through; only the answer to it was lost
        data = change(current)
        if data is None:
            return None
        try:
            store.put(
                key,
                data,
                if_match=current.etag if current else None,
                if_none_match=current is None,
                content_type=content_type,
            )
        except Conflict:
            written = data
            let_others(attempt)
        else:
            return data
    raise CatalogError(
        f"was changed by others {ATTEMPTS} times while this process tried to",
        where=Location(file=store.url_of(key)),
        fix="run the same command again when fewer publish at once",
    )


def let_others(attempt: int, longest: float = _LONGEST_PAUSE) -> None:
    """Wait before the next attempt, for longer each time and never in step with others.

    Args:
        attempt: how many there were before.
        longest: seconds, at most.
    """
    pause = min(longest, _FIRST_PAUSE * 2 ** min(attempt, 16))
    time.sleep(random.uniform(0.2, 1.0) * pause)  # noqa: S311 - no secret hangs on it


def create(
    store: ObjectStore, key: str, data: bytes, *, content_type: str = "application/json"
) -> bool:
    """Write an object that never changes; return whether it is there now with these bytes."""
    try:
        store.put(key, data, if_none_match=True, content_type=content_type)
    except Conflict:
        current = store.get(key)
        return current is not None and current.data == data
    return True
