"""Why packages could not be installed, out of all that mmdebstrap, apt and dpkg said."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from imagebuilder.errors import StepError

_BEFORE, _AFTER = 8, 2  # lines about the first package that dpkg gave up
_END = 12
_LONGEST = 200  # characters of a line; apt's own command line names every package

# dpkg(1) goes on with the packages that do not need the one that failed: hundreds of lines.
_GIVEN_UP = re.compile(r"dpkg: error processing (?:package|archive) (?P<name>[^\s:]+)")
# These follow from the failure, and do not explain it.
_FOLLOWS = re.compile(
    r"E: (Sub-process|setup failed|mmdebstrap failed|run_chroot failed)|I: main\(\) received"
    r"|Errors were encountered while processing:|\[exit status "
)
# What apt says when a mirror has changed since its index was fetched.
_GONE = re.compile(r"Hash Sum mismatch|File has unexpected size|\b404 +Not Found")
_FULL = "No space left on device"  # strerror(ENOSPC)
_MAKE_ROOM = "make room on the disk of the cache: imagebuilder cache prune"
_LOOK_AGAIN = "the mirror has changed since it was looked at: use --refresh"


def explained(error: StepError, log: Path) -> StepError:
    """Return the error with the lines of the log that say why, and the package's name if known.

    Args:
        error: mmdebstrap's failure.
        log: all that was said.
    """
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return error
    for n, line in enumerate(lines):
        if found := _GIVEN_UP.search(line):
            first = max(0, n - _BEFORE)
            why = f": dpkg gave up {found['name']}"
            return _with(error, lines[first : n + 1 + _AFTER], why, _room(lines))
    reasons = (line for line in reversed(lines) if line.strip() and not _FOLLOWS.match(line))
    fix = _LOOK_AGAIN if any(_GONE.search(line) for line in lines) else _room(lines)
    why = ": the disk is full" if fix == _MAKE_ROOM else ""
    return _with(error, list(islice(reasons, _END))[::-1], why, fix)


def _room(lines: list[str]) -> str:
    return _MAKE_ROOM if any(_FULL in line for line in lines) else ""


def _with(error: StepError, lines: list[str], why: str, fix: str = "") -> StepError:
    shown = "\n".join(line[:_LONGEST] + ("…" if len(line) > _LONGEST else "") for line in lines)
    return StepError(
        error.what + why, where=error.where, excerpt=shown, log=error.log, fix=fix or error.fix
    )
