"""How the root file system is packed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakePrograms
from treekit import EPOCH

from imagebuilder.engines import squashfs
from imagebuilder.errors import StepError
from imagebuilder.progress import Event, Reporter
from imagebuilder.recipe import ImageOptions


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, "-comp zstd -Xcompression-level 3"),
        ({"compression_level": 19}, "-comp zstd -Xcompression-level 19"),
        ({"compression": "gzip"}, "-comp gzip"),
        ({"compression": "gzip", "compression_level": 1}, "-comp gzip -Xcompression-level 1"),
        ({"compression": "xz"}, "-comp xz"),
        ({"compression": "lz4"}, "-comp lz4"),
    ],
)
def test_arguments_of_mksquashfs(options: dict[str, str], arguments: str) -> None:
    made = ImageOptions.model_validate(options)
    assert " ".join(squashfs.arguments(made)) == arguments


@pytest.fixture
def packed(tmp_path: Path, fake_programs: FakePrograms) -> Callable[[], list[Event]]:
    def make() -> list[Event]:
        events: list[Event] = []
        squashfs.make(
            tmp_path,
            tmp_path / "out",
            ImageOptions(),
            EPOCH,
            tmp_path / "log",
            Reporter(subject="r", observer=events.append),
        )
        return events

    return make


def test_how_the_root_is_packed(
    packed: Callable[[], list[Event]], fake_programs: FakePrograms
) -> None:
    fake_programs.write("mksquashfs", "exit 0")
    packed()
    (call,) = fake_programs.calls()
    assert f" -mkfs-time {EPOCH} " in call
    assert " -noappend " in call
    assert re.search(r" -mem [0-9]+M ", call), "it would take a quarter of the machine's"
    assert call.endswith("-wildcards -e dev/*")


def test_a_packer_that_fails_is_a_failure(
    packed: Callable[[], list[Event]], fake_programs: FakePrograms
) -> None:
    fake_programs.write("mksquashfs", "echo no room >&2; exit 1")
    with pytest.raises(StepError, match="packing the root file system") as caught:
        packed()
    assert "no room" in caught.value.excerpt
