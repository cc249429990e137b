"""That a remote cache does not answer: found out once, and kept for the commands that follow."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from imagebuilder import files

FOLDER = "remote"  # of the cache
LASTS = 300.0  # seconds for which one that cannot be reached is not asked again
_LIMIT = 1000  # characters of what was said
# What else says which server is meant, and who asks; values that are secret are left out.
_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_REGION", "AWS_ACCESS_KEY_ID")


class Outage:
    """What is known of a remote cache that could not be reached.

    Args:
        folder: where commands that follow find it; None: for this process alone.
        url: the remote cache.
    """

    def __init__(self, folder: Path | None = None, url: str = "") -> None:
        said = "\0".join([url, *(os.environ.get(name, "") for name in _SETTINGS)])
        name = hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()[:32]
        self._file = folder / f"{name}.txt" if folder else None
        self._until = 0.0  # by the monotonic clock

    def begin(self, why: str, *, is_told: bool) -> None:
        """Note that it cannot be reached.

        Args:
            why: in words without secrets, as in "it ...".
            is_told: whether the commands that follow leave it alone as well.
        """
        self._until = time.monotonic() + LASTS
        if self._file and is_told:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                _clear(self._file.parent)
                files.replace(self._file, why[:_LIMIT])
            except OSError:
                pass  # the next command finds out by itself

    def end(self) -> None:
        """Note that it answers."""
        self._until = 0.0
        if self._file:
            try:
                self._file.unlink(missing_ok=True)
            except OSError:
                pass  # another user's: it ends by itself

    def is_now(self) -> bool:
        """Whether it is to be left alone, as far as this process has found out."""
        return time.monotonic() < self._until

    def told(self) -> str | None:
        """Return why another command found that it cannot be reached; None: nobody did."""
        if not self._file:
            return None
        try:
            age = time.time() - self._file.stat().st_mtime
            why = self._file.read_text(errors="replace")[:_LIMIT]
        except OSError:
            return None
        if not 0 <= age < LASTS:  # it is over, or the clock was set back
            return None
        self._until = time.monotonic() + LASTS - age
        return "it " + "".join(sign if sign.isprintable() else " " for sign in why)


def _clear(folder: Path) -> None:
    """Remove what is over, of whatever remote cache it was said."""
    for path in folder.glob("*.txt"):
        if time.time() - path.stat().st_mtime > LASTS:
            path.unlink(missing_ok=True)
