"""What an overlay keeps, and the tree below it, become one tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from imagebuilder.engines.direct import addition, layers
from imagebuilder.engines.direct.addition import Changes


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    root = tmp_path / "lower"
    for name in ("etc/stays", "etc/changes", "etc/goes", "opt/all/goes", "srv/hidden/old"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"old {name}")
    return root


@pytest.fixture
def tree(lower: Path, tmp_path: Path) -> Path:
    """The lower tree again, of hard links."""
    root = tmp_path / "tree"
    for folder, _, names in os.walk(lower):
        into = root / Path(folder).relative_to(lower)
        into.mkdir()
        for name in names:
            os.link(Path(folder) / name, into / name)
    return root


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    root = tmp_path / "upper"
    for name in ("etc/changes", "etc/new", "new/folder/file"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"new {name}")
    for name in ("etc/goes", "opt"):  # overlayfs' sign for what was removed
        os.mknod(root / name, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    return root


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text() if path.is_file() else ""
        for path in root.rglob("*")
        if not path.is_dir()
    }


def test_changes_are_applied_and_the_layer_below_stays_as_it_was(
    lower: Path, upper: Path, tree: Path
) -> None:
    before = layers.listing(lower)
    addition.merge(upper, tree)
    assert contents(tree) == {
        "etc/stays": "old etc/stays",
        "etc/changes": "new etc/changes",
        "etc/new": "new etc/new",
        "new/folder/file": "new new/folder/file",
        "srv/hidden/old": "old srv/hidden/old",
    }
    assert not (tree / "opt").exists()
    assert layers.listing(lower) == before
    assert (tree / "etc/stays").stat().st_ino == (lower / "etc/stays").stat().st_ino


def test_folders_have_the_modes_and_times_of_the_overlay(upper: Path, tree: Path) -> None:
    (upper / "etc").chmod(0o710)
    os.utime(upper / "etc", (5, 5))
    os.utime(upper, (6, 6))
    addition.merge(upper, tree)
    told = (tree / "etc").stat()
    assert (stat.S_IMODE(told.st_mode), told.st_mtime) == (0o710, 5)
    assert tree.stat().st_mtime == 6


def test_kinds_change(lower: Path, tmp_path: Path, tree: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "etc/stays").mkdir(parents=True)
    (upper / "etc/stays/file").write_text("in place of a file")
    (upper / "srv").mkdir()
    (upper / "srv/hidden").symlink_to("/etc")
    addition.merge(upper, tree)
    assert (tree / "etc/stays/file").read_text() == "in place of a file"
    assert (tree / "srv/hidden").is_symlink()
    assert (lower / "srv/hidden/old").exists()


def test_a_folder_that_hides_the_one_below(
    upper: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (upper / "srv/hidden").mkdir(parents=True)
    marked = str(upper / "srv/hidden")
    monkeypatch.setattr(
        os, "listxattr", lambda path, **_: ["user.overlay.opaque"] if str(path) == marked else []
    )
    addition.merge(upper, tree)
    assert list((tree / "srv/hidden").iterdir()) == []


def test_what_a_layer_says_it_has_changed(tmp_path: Path) -> None:
    layer = tmp_path / ("0" * 32)
    layer.mkdir()
    assert addition.changes(layer) == Changes(lowest="0" * 32)
    told = Changes(lowest="1" * 32, changed={"etc/new": "x"})
    (layer / "changes.json").write_text(told.model_dump_json())
    assert addition.changes(layer) == told
    (layer / "changes.json").write_text("{")
    assert addition.changes(layer) == Changes(lowest="0" * 32)
