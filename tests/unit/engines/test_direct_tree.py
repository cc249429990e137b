"""A tree and its paths: nothing in it leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import written
from treekit import untouched

from imagebuilder.engines.direct.tree import Tree, environment, tree_size


def test_absolute_links_stay_in_the_tree(tree: Tree, host: Path) -> None:
    (tree.root / "etc").symlink_to(host)
    assert tree.path("/etc/file") == tree.root.joinpath(*host.parts[1:], "file")
    assert tree.read("/etc/file") == ""
    assert not tree.exists("/etc/file")
    tree.write("/etc/file", "the tree's")
    tree.link("/etc/link", "x")
    tree.remove("/etc/nosuch")
    assert tree.read("/etc/file") == "the tree's"
    assert untouched(host)


@pytest.mark.parametrize("target", ["../../../../..", "/../..", "a/../../../.."])
def test_dots_do_not_lead_out(tree: Tree, target: str) -> None:
    (tree.root / "a").mkdir()
    (tree.root / "up").symlink_to(target)
    assert tree.path("/up/x") == tree.root / "x"
    assert tree.path("../../x") == tree.root / "x"


def test_relative_links_through_other_links(tree: Tree) -> None:
    written(tree.root, {"usr/lib/systemd/x": "found"})
    (tree.root / "lib").symlink_to("usr/lib")
    (tree.root / "usr/lib/link").symlink_to("/lib/systemd")
    (tree.root / "etc").mkdir()
    (tree.root / "etc/x").symlink_to("../lib/link/x")
    assert tree.read("/lib/link/x") == "found"
    assert tree.exists("/etc/x")
    assert tree.exists("etc/x")
    (tree.root / "usr/lib/systemd/x").unlink()
    assert not tree.exists("/etc/x")


def test_links_in_a_circle_end(tree: Tree) -> None:
    (tree.root / "a").symlink_to("b")
    (tree.root / "b").symlink_to("/a")
    assert not tree.exists("/a")
    assert not tree.exists("/a/x")
    with pytest.raises(OSError, match="symbolic links"):
        tree.path("/a/x")


def test_files_replace_whatever_stands_there(tree: Tree, host: Path) -> None:
    (tree.root / "resolv.conf").symlink_to(host / "file")
    tree.write("/resolv.conf", "new", mode=0o600)
    assert not (tree.root / "resolv.conf").is_symlink()
    assert (tree.root / "resolv.conf").stat().st_mode & 0o777 == 0o600
    tree.link("/resolv.conf", "/elsewhere")
    tree.link("/deep/er/link", "x")
    assert (tree.root / "resolv.conf").readlink() == Path("/elsewhere")
    tree.remove("/resolv.conf")
    assert not (tree.root / "resolv.conf").is_symlink()
    assert untouched(host)


def test_glob_stays_in_the_tree(tree: Tree, host: Path) -> None:
    written(tree.root, {"boot/vmlinuz-2": "", "boot/vmlinuz-1": "", "boot/x": "", "boot/.y": ""})
    (tree.root / "boot/vmlinuz-3").symlink_to("/nowhere")
    assert [path.name for path in tree.glob("boot/vmlinuz-*")] == [
        "vmlinuz-1",
        "vmlinuz-2",
        "vmlinuz-3",
    ]
    assert [path.name for path in tree.glob("boot/.y")] == [".y"]
    assert tree.glob("nosuch/*") == []
    assert tree.glob("boot/x/*") == []
    (tree.root / "tmp").symlink_to(host)
    assert tree.glob("tmp/*") == []


def test_installed(tree: Tree) -> None:
    written(
        tree.root, {"var/lib/dpkg/info/bash.list": "", "var/lib/dpkg/info/libc6:amd64.list": ""}
    )
    assert tree.installed("bash")
    assert tree.installed("libc6")
    assert not tree.installed("ba")


def test_programs_in_the_image_get_nothing_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("LD_PRELOAD", "x")
    monkeypatch.setenv("https_proxy", "http://proxy")
    made = environment(7)
    assert made["SOURCE_DATE_EPOCH"] == "7"
    assert made["https_proxy"] == "http://proxy"
    assert not {"SECRET_TOKEN", "LD_PRELOAD"} & set(made)


def test_size_counts_files_with_several_names_once(tree: Tree) -> None:
    (tree.root / "sub").mkdir()
    (tree.root / "sub/a").write_bytes(b"x" * 1000)
    os.link(tree.root / "sub/a", tree.root / "b")
    (tree.root / "c").write_bytes(b"x" * 10)
    (tree.root / "loop").symlink_to(".")
    assert tree_size(tree.root) in range(1010, 1020)
