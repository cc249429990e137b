"""What the worker says of errors of the disk, and of a package layer that is not whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from imagebuilder.engines.direct import layers, worker
from imagebuilder.engines.direct.job import Standing


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


def test_a_layer_that_is_not_what_was_kept(tmp_path: Path) -> None:
    file = tmp_path / "tree/etc/passwd"
    file.parent.mkdir(parents=True)
    file.write_text("root")
    standing = Standing(place=tmp_path, epoch=1, listing=layers.listing(tmp_path / "tree"))
    for each in (standing, standing.model_copy(update={"listing": ""}), None):
        with worker._Looking(each) as looking:
            looking.see_that_it_is_whole()
    file.write_text("ro")
    with worker._Looking(standing) as looking:
        for _ in range(2):
            with pytest.raises(worker.Damaged):
                looking.see_that_it_is_whole()
