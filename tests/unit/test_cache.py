"""What is in the cache, and what goes first."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from imagebuilder import cache
from imagebuilder.cache import entries, lock_of, prune
from imagebuilder.cli.main import main
from imagebuilder.errors import InputError, Interrupted
from imagebuilder.progress import Cancel
from imagebuilder.sizes import human_size, size_of

DAY = 86400.0


def used(path: Path, days_ago: float) -> None:
    then = time.time() - days_ago * DAY
    os.utime(path, (then, then))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A cache with two layers, an initrd, an index and a memory of plans."""
    root = tmp_path / "cache"
    for name, days in (("a" * 32, 9), ("b" * 32, 1)):
        layer = root / f"layers/uid-{os.geteuid()}/{name}"
        (layer / "tree/usr").mkdir(parents=True)
        (layer / "tree/usr/data").write_bytes(os.urandom(100_000))
        (layer / "layer.json").write_text("{}")
        used(layer / "layer.json", days)
        lock_of(layer).touch()
    initrd = root / f"initrds/uid-{os.geteuid()}/{'f' * 32}/0123456789abcdef"
    initrd.mkdir(parents=True)
    (initrd / "initrd.img").write_bytes(os.urandom(50_000))
    (initrd / "initrd.json").write_text("{}")
    used(initrd / "initrd.json", 5)
    index = root / "apt/0123456789abcdef"
    index.mkdir(parents=True)
    (index / "index.json").write_text("{}")
    used(index / "index.json", 3)
    (root / "plans").mkdir()
    (root / "plans/one.json").write_text("{}")
    used(root / "plans/one.json", 2)
    (root / f"layers/uid-{os.geteuid()}/.{'c' * 32}.new").mkdir()  # being made
    return root


def kinds(found: tuple[cache.Entry, ...]) -> list[str]:
    return [each.kind for each in found]


def test_entries_are_listed_by_their_last_use_with_sizes(place: Path) -> None:
    found = entries(place)
    assert kinds(found) == ["packages", "initrd", "index", "plans", "packages"]
    assert found[0].path.name == "a" * 32
    assert 100_000 <= found[0].size < 150_000


def test_an_empty_cache_has_none(tmp_path: Path) -> None:
    assert entries(tmp_path / "none") == ()


def test_pruning_to_a_limit_removes_the_least_recently_used(place: Path) -> None:
    total = sum(each.size for each in entries(place))
    pruned = prune(place, limit=total - 1)
    assert kinds(pruned.removed) == ["packages"]
    assert pruned.kept == sum(each.size for each in entries(place))
    assert kinds(entries(place)) == ["initrd", "index", "plans", "packages"]
    assert prune(place, limit=pruned.kept).removed == ()


def test_pruning_by_age(place: Path) -> None:
    assert kinds(prune(place, unused_for=4 * DAY).removed) == ["packages", "initrd"]


def test_a_dry_run_says_the_same_and_removes_nothing(place: Path) -> None:
    before = entries(place)
    said = prune(place, limit=0, dry_run=True)
    assert entries(place) == before
    assert prune(place, limit=0) == said
    assert entries(place) == ()


def test_what_is_in_use_stays(place: Path) -> None:
    layer = entries(place)[0].path
    with FileLock(lock_of(layer)):
        for dry_run in (True, False):
            pruned = prune(place, limit=0, dry_run=dry_run)
            assert [each.path for each in pruned.in_use] == [layer]
    assert (layer / "tree/usr/data").exists()
    assert kinds(prune(place, limit=0).removed) == ["packages"]


def test_an_index_that_a_build_may_be_reading_stays(place: Path) -> None:
    used(place / "apt/0123456789abcdef/index.json", 0.5)
    assert kinds(prune(place, limit=0).in_use) == ["index"]


def test_a_request_to_stop_is_heard(place: Path) -> None:
    cancel = Cancel()
    cancel.set("stop")
    with pytest.raises(Interrupted):
        prune(place, limit=0, cancel=cancel)
    assert len(entries(place)) == 5


@pytest.mark.parametrize(
    ("text", "size"), [("20 GB", 20e9), ("1.5GB", 1.5e9), ("500 MB", 5e8), ("1 TB", 1e12)]
)
def test_sizes_are_read(text: str, size: float) -> None:
    assert size_of(text) == size
    assert size_of(human_size(size)) == size


@pytest.mark.parametrize("text", ["", "20", "GB", "-1 GB", "20 GiB", "1e9 GB", "20 gb"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no size"):
        size_of(text)


def test_the_verbs(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(place))
    monkeypatch.chdir(place.parent)
    assert main(["cache", "ls"]) == 0
    assert "packages  " in capsys.readouterr().out
    assert main(["cache", "ls", "--json"]) == 0
    lines = [json.loads(line)["entry"] for line in capsys.readouterr().out.splitlines()]
    assert [each["kind"] for each in lines] == kinds(entries(place))
    assert main(["cache", "prune"]) == 0  # far below the default
    assert len(entries(place)) == 5
    assert main(["cache", "prune", "-n", "--unused-for", "4"]) == 0
    assert "would be removed" in capsys.readouterr().out
    assert len(entries(place)) == 5
    assert main(["cache", "prune", "--to", "120 kB", "--json"]) == 0
    assert "removed" in capsys.readouterr().out
    assert main(["cache", "prune", "--all"]) == 0
    assert entries(place) == ()
    assert main(["cache", "prune", "--to", "much"]) == 2


def test_the_limit_of_the_project_holds(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(place))
    (tmp_path / "p/recipes").mkdir(parents=True)
    file = tmp_path / "p/imagebuilder.toml"
    file.write_text('cache_limit = "120 kB"\n')
    assert main(["cache", "prune", "-C", str(tmp_path / "p")]) == 0
    assert kinds(entries(place)) == ["packages"]
    file.write_text("cache_limit = 7\n")
    assert main(["cache", "prune", "-C", str(tmp_path / "p")]) == 2


def test_half_of_a_layer_goes_if_nobody_is_making_it(place: Path) -> None:
    folder = place / f"layers/uid-{os.geteuid()}"
    mine, theirs = folder / f".{'c' * 32}.new", folder / f".{'d' * 32}.old"
    (theirs / "tree").mkdir(parents=True)
    prune(place, limit=10**12, dry_run=True)
    assert mine.exists()
    with FileLock(lock_of(folder / ("d" * 32))):
        prune(place, limit=10**12)
    assert not mine.exists()
    assert theirs.exists()
    prune(place, limit=10**12)
    assert not theirs.exists()


def test_files_of_packages_are_entries_and_one_row(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "debs").mkdir()
    for name, days in (("1", 20), ("2", 0)):
        (place / f"debs/{name}.deb").write_bytes(os.urandom(10_000))
        used(place / f"debs/{name}.deb", days)
    assert kinds(entries(place))[0] == kinds(entries(place))[-1] == "deb"
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(place))
    assert main(["cache", "ls"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("deb")]
    assert "2 files of packages" in row
    assert [each.path.name for each in prune(place, unused_for=15 * DAY).removed] == ["1.deb"]
    assert [each.name for each in (place / "debs").iterdir()] == ["2.deb"]


def test_what_layers_share_counts_once_for_all_of_them(tmp_path: Path) -> None:
    place = tmp_path / "layers/uid-0"
    data = os.urandom(1 << 16)
    for name in ("one", "two"):
        (place / name).mkdir(parents=True)
        (place / name / "layer.json").touch()
    (place / "one/file").write_bytes(data)
    before = sum(each.size for each in entries(tmp_path))
    os.link(place / "one/file", place / "two/file")
    os.link(place / "one/file", place / "two/again")
    assert sum(each.size for each in entries(tmp_path)) == pytest.approx(before, abs=3)
