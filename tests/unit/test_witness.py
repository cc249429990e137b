from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder import witness


def digest(*paths: Path) -> str:
    seen = witness.look([str(each) for each in paths])
    assert seen
    return seen.digest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "deep").mkdir(parents=True)
    (root / "a").write_text("one")
    (root / "deep/b").write_text("two")
    return root


def rewrite(path: Path, text: str) -> None:
    """Write as many bytes, and set the time of modification back."""
    facts = path.stat()
    assert len(text) == facts.st_size
    time.sleep(0.02)  # a tick of the file system's clock
    path.write_text(text)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def exchange(path: Path, text: str) -> None:
    other = path.with_name("other")
    other.write_text(text)
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "a").write_text("longer"),
        lambda tree: rewrite(tree / "a", "two"),
        lambda tree: exchange(tree / "a", "two"),
        lambda tree: (tree / "a").chmod(0o600),
        lambda tree: (tree / "a").unlink(),
        lambda tree: (tree / "deep/new").touch(),
        lambda tree: (tree / "deep/b").rename(tree / "deep/c"),
        lambda tree: (tree / "empty").mkdir(),
        lambda tree: (tree / "link").symlink_to("a"),
        lambda tree: (tree / "dangling").symlink_to("nowhere"),
    ],
)
def test_every_change_is_seen(tree: Path, change: Callable[[Path], object]) -> None:
    before = digest(tree)
    assert digest(tree) == before
    change(tree)
    assert digest(tree) != before


def test_what_is_missing_is_seen_when_it_comes(tree: Path) -> None:
    before = digest(tree / "later")
    (tree / "later").touch()
    assert digest(tree / "later") != before


def test_a_link_that_leads_elsewhere_is_another(tree: Path) -> None:
    link = tree.parent / "link"
    link.symlink_to(tree / "a")
    before = digest(link)
    link.unlink()
    link.symlink_to(tree / "deep/b")
    assert digest(link) != before


def test_links_that_lead_in_a_circle_end(tree: Path) -> None:
    (tree / "deep/up").symlink_to("..")
    assert digest(tree) == digest(tree)


def test_too_much_is_not_looked_at(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "_MOST", 3)
    assert witness.look([str(tree)]) is None


def test_what_changed_within_a_tick_is_not_settled(tree: Path) -> None:
    now = time.time_ns()
    seen = witness.look([str(tree)])
    assert seen
    assert not seen.settled(now)
    assert seen.settled(now + 3_000_000_000)
    coarse = witness.Seen(digest="", newest=5_000_000_000)  # FAT: no fractions of a second
    assert not coarse.settled(6_900_000_000)
    assert coarse.settled(7_100_000_000)
