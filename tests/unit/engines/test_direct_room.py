"""The room that a build takes: what it is told from, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagebuilder.engines.direct import room
from imagebuilder.engines.direct.room import Room, check
from imagebuilder.errors import HostError
from imagebuilder.recipe import ImageOptions
from imagebuilder.remote import Item, Manifest, Tree

MB = 1_000_000
SOME = Room(downloads=100 * MB, layers=400 * MB, image=150 * MB, memory=300 * MB)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A cache and a project on disks of their own, with 500 and 150 MB left."""
    cache, project = tmp_path / "cache", tmp_path / "project"
    cache.mkdir()
    project.mkdir()
    free = {cache: 500 * MB, project: 150 * MB}
    monkeypatch.setattr(
        os, "statvfs", lambda path: SimpleNamespace(f_bavail=free[path], f_frsize=1)
    )
    monkeypatch.setattr(
        Path, "stat", lambda path, **_: SimpleNamespace(st_dev=list(free).index(path))
    )
    monkeypatch.setattr(room.memory, "available", lambda: 300 * MB)
    return cache, project


def test_what_just_fits_is_begun(folders: tuple[Path, Path]) -> None:
    said = check(SOME, "base", *folders)
    assert said == "about 650.0 MB of disk and 300.0 MB of memory are needed"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"downloads": 101 * MB},
            r"build base: it takes about 501\.0 MB on the disk of",
        ),
        ({"layers": 401 * MB}, r"/cache, which has 500\.0 MB left"),
        ({"image": 151 * MB}, r"about 151\.0 MB on the disk of .*/project, which has 150\.0 MB"),
        ({"memory": 301 * MB}, r"not enough memory to build base: .* 301\.0 MB, and 300\.0 MB"),
    ],
)
def test_what_cannot_fit_is_refused_with_figures(
    folders: tuple[Path, Path], change: dict[str, int], expected: str
) -> None:
    with pytest.raises(HostError, match=expected) as caught:
        check(replace(SOME, **change), "base", *folders)
    assert caught.value.fix


def test_on_one_disk_all_counts_together(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "stat", lambda path, **_: SimpleNamespace(st_dev=1))
    with pytest.raises(HostError, match=r"650\.0 MB on the disk of .*/cache, which has 500\.0 MB"):
        check(SOME, "base", *folders)


def test_compressors_that_look_far_back_take_more() -> None:
    taken = {
        (name, level): room._of_compressor(ImageOptions(compression=name, compression_level=level))  # type: ignore[arg-type]
        for name, level in (("zstd", None), ("zstd", 15), ("zstd", 19), ("gzip", 9), ("xz", None))
    }
    assert taken["zstd", None] == taken["zstd", 15] == taken["gzip", 9] == 0
    assert 0 < taken["zstd", 19] < taken["xz", None]


class Shared:
    """A remote cache with some layers."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def look(self, kind: str, entry_id: str, _: object) -> Manifest | None:
        item = Item(name="tree.tar.zst", size=5 * MB, sha256="0" * 64)
        tree = Tree(size=10 * MB if entry_id != "huge" else 1 << 40, entries=9)
        if kind != "packages" or entry_id not in self.ids:
            return None
        return Manifest(
            kind="packages", id="0" * 32, recipe="r", used="2026-01-01", items=(item,), tree=tree
        )


@pytest.mark.parametrize(
    ("shared", "again", "expected"),
    [
        (("top",), False, (5 * MB, 10 * MB)),
        (("low",), False, (5 * MB + 14, 10 * MB + 30 * MB)),  # a package of two, of 60 MB
        ((), False, (28, 60 * MB)),
        (("top",), True, (28, 60 * MB)),
        (("huge",), False, (28, 60 * MB)),  # it is not fetched
    ],
)
def test_a_layer_of_the_remote_cache_counts_by_its_manifest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared: tuple[str, ...],
    again: bool,
    expected: tuple[int, int],
) -> None:
    stages = tuple(
        SimpleNamespace(layer_id=name, new={package: "1"}, found=SimpleNamespace(versions="ab"))
        for name, package in (("low", "a"), ("huge" if shared == ("huge",) else "top", "b"))
    )
    project = SimpleNamespace(build_dir=tmp_path / "build")
    recipe = SimpleNamespace(image=ImageOptions())
    request = SimpleNamespace(
        remote=Shared(*shared),
        reporter=None,
        resolved=SimpleNamespace(project=project, name="r", recipe=recipe),
        cache_dir=tmp_path,
    )
    making = SimpleNamespace(
        request=request, stages=stages, again=again, layer=lambda n: tmp_path / str(n)
    )
    files = SimpleNamespace(installed=60 * MB, of={"a": "a", "b": "b"})
    monkeypatch.setattr(room, "wanted", lambda *_: files)
    monkeypatch.setattr(room.debs, "of", tuple)
    monkeypatch.setattr(
        room.debs, "lacking", lambda names, _: [SimpleNamespace(size=10) for _ in names]
    )
    opened = SimpleNamespace(lists=tmp_path)
    found = room.estimate(making, opened)  # type: ignore[arg-type]
    assert (found.downloads, found.layers - room._CHANGED) == expected
    assert found.image > room._KERNEL_AND_INITRD
