"""An image whose root file system is an EROFS: built, looked into, and booted."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import imagebuilder
from imagebuilder.comparison.roots import of_root
from imagebuilder.progress import Cancel
from imagebuilder.smoke import report_text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECIPE = """\
summary = "The base, as an EROFS"
extends = "base"

[image]
filesystem = "erofs"
compression = "lz4"

[[checks]]
name = "what is below the overlay is an EROFS"
mount = "/run/rootfsbase"
type = "erofs"
"""


def test_an_erofs_has_what_the_squashfs_has_and_boots(
    base_image: imagebuilder.Image,
    base_project: imagebuilder.Project,
    cache_dir: Path,
    tmp_path: Path,
) -> None:
    (base_project.root / "recipes/base-erofs.toml").write_text(RECIPE)
    options = imagebuilder.Options.make(cache_dir=cache_dir)
    image = imagebuilder.build_image(base_project, "base-erofs", options)
    assert image.rootfs.name == "rootfs.erofs"
    # Linux, fs/erofs/erofs_fs.h: the superblock begins at 1024.
    assert struct.unpack_from("<I", image.rootfs.read_bytes(), 1024) == (0xE0F5E1E2,)
    assert image.facts.tools["mkfs.erofs"].startswith("mkfs.erofs ")
    initrds = [each for each in image.facts.steps if each.name == "initrd"]
    assert [each.reused for each in initrds] == [True], "it is that of the squashfs"

    trees = [of_root(each.rootfs, tmp_path, Cancel()) for each in (base_image, image)]
    assert len(trees[1]) > 5000
    assert [
        path for path in {**trees[0], **trees[1]} if trees[0].get(path) != trees[1].get(path)
    ] == []

    report = imagebuilder.smoke_image(base_project, image, options)
    print(report_text(report))
    assert [boot.failure for boot in report.boots] == [None]
    assert [each.title for each in report.checks if each.outcome != "passed"] == []
    assert report.passed
