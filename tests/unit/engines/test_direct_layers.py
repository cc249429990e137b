"""A package layer is used only if it is still what was kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.engines.direct import layers
from imagebuilder.engines.direct.job import LayerFacts


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_text("localhost")
    (root / "etc/link").symlink_to("hosts")
    return root


def test_a_listing_says_nothing_of_the_place(tree: Path, tmp_path: Path) -> None:
    before = layers.listing(tree)
    assert layers.listing(tree.rename(tmp_path / "elsewhere")) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree: (tree / "etc/hosts").unlink(),
        lambda tree: (tree / "etc/hosts").write_text("LOCALHOST"),
        lambda tree: os.truncate(tree / "etc/hosts", 3),
        lambda tree: (tree / "etc/hosts").chmod(0o600),
        lambda tree: (tree / "etc/new").touch(),
        lambda tree: (tree / "etc/link").unlink(),
        lambda tree: ((tree / "etc/link").unlink(), (tree / "etc/link").symlink_to("other")),
    ],
)
def test_damage_is_seen(tree: Path, damage: Callable[[Path], object]) -> None:
    before = layers.listing(tree)
    damage(tree)
    assert layers.listing(tree) != before


def test_a_layer_is_there_when_it_is_whole(tree: Path, tmp_path: Path) -> None:
    layer = layers.place(tmp_path / "cache", "0" * 32)
    assert layers.facts(layer) is None
    fresh = tmp_path / "cache/layers" / f"uid-{os.geteuid()}" / ".new"
    (fresh / "tree").mkdir(parents=True)
    told = LayerFacts(id="0" * 32, epoch=1, package_count=2, listing=layers.listing(tree))
    layers.keep(fresh, layer, told)
    assert layers.facts(layer) == told
    (layer / layers.FACTS).write_text("{")
    assert layers.facts(layer) is None
