"""What the worker says of errors of the disk."""

from __future__ import annotations

import errno
import os

import pytest

from imagebuilder.engines.direct import worker


@pytest.mark.parametrize(
    ("number", "names", "said"),
    [
        (errno.ENOSPC, ("/a",), "No space left on device: /a"),
        # A copy that fails names its source first, and the full disk is that of the other end.
        (errno.ENOSPC, ("/a", None, "/b"), "No space left on device: /b"),
        (errno.EACCES, ("/a", None, "/b"), "Permission denied: /a"),
        (errno.EIO, (), "Input/output error"),
    ],
)
def test_the_place_of_an_error(number: int, names: tuple[str, ...], said: str) -> None:
    error = OSError(number, os.strerror(number), *names)  # type: ignore[call-overload]
    assert worker._in_words(error) == said
