"""Trees of images, the host that they must not reach, and a package index."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FakePrograms, fake_apt, written
from indexkit import Looker
from treekit import EPOCH

from imagebuilder.engines.direct.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    root.mkdir()
    return Tree(root=root, log=tmp_path / "log", epoch=EPOCH)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder of the host that nothing in the tree may reach."""
    folder = tmp_path / "host"
    written(folder, {"file": "the host's", "sub/deep": "the host's"})
    return folder


@pytest.fixture
def looker(tmp_path: Path, fake_programs: FakePrograms) -> Looker:
    fake_apt(fake_programs)
    return Looker(tmp_path / "cache", fake_programs)
