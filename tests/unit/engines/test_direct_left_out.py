"""What packages bring and an image does not get."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.engines.direct.left_out import take_out
from imagebuilder.engines.direct.package_options import left_out
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.kickstart import Kickstart

FILES = (
    "etc/keep",
    "usr/share/doc/tool/README",
    "usr/share/doc/tool/copyright",
    "usr/share/doc/tool/examples/deep/one",
    "usr/share/doc/bare/changelog.gz",
    "usr/share/info/tool.info",
    "usr/share/lintian/overrides/tool",
    "usr/share/locale/de/LC_MESSAGES/tool.mo",
    "usr/share/locale/fr/LC_MESSAGES/tool.mo",
    "usr/share/locale/locale.alias",
    "usr/share/man/man1/tool.1",
    "usr/share/man/de/man1/tool.1",
    "usr/share/other/doc/file",
)
LINKS = {
    "usr/share/doc/library": "tool",  # has tool's licence
    "usr/share/doc/absolute": "/usr/share/doc/tool",
    "usr/share/doc/lost": "bare",
    "usr/share/doc/tool/NEWS": "README",
    "usr/share/man/man1/same.1": "tool.1",
    "usr/share/docs": "doc",
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    (root / "usr/share/doc/empty").mkdir()
    return Tree(root=root, log=tmp_path / "log", epoch=1)


def names(tree: Tree) -> set[str]:
    """Return all paths of a tree, without the folders that lead to others."""
    found = set()
    for above, folders, files in os.walk(tree.root):
        here = [name for name in folders if Path(above, name).is_symlink()]
        for name in (*files, *here):
            found.add(str(Path(above, name).relative_to(tree.root)))
        if not folders and not files:
            found.add(str(Path(above).relative_to(tree.root)))
    return found


def rules(kickstart_of: Callable[[str], Kickstart], options: str) -> tuple[str, ...]:
    return left_out(kickstart_of(f"%packages {options}\n%end\n"))


def test_documentation(tree: Tree, kickstart_of: Callable[[str], Kickstart]) -> None:
    take_out(tree, rules(kickstart_of, "--excludedocs"))
    assert names(tree) == {
        "etc/keep",
        "usr/share/doc/tool/copyright",
        "usr/share/doc/library",
        "usr/share/doc/absolute",
        "usr/share/docs",
        "usr/share/info",
        "usr/share/lintian",
        "usr/share/locale/de/LC_MESSAGES/tool.mo",
        "usr/share/locale/fr/LC_MESSAGES/tool.mo",
        "usr/share/locale/locale.alias",
        "usr/share/man",
        "usr/share/other/doc/file",
    }


def test_translations(tree: Tree, kickstart_of: Callable[[str], Kickstart]) -> None:
    before = names(tree)
    take_out(tree, rules(kickstart_of, "--inst-langs=de"))
    assert before - names(tree) == {"usr/share/locale/fr/LC_MESSAGES/tool.mo"}
    take_out(tree, rules(kickstart_of, "--inst-langs=none"))
    assert before - names(tree) == {
        "usr/share/locale/fr/LC_MESSAGES/tool.mo",
        "usr/share/locale/de/LC_MESSAGES/tool.mo",
        "usr/share/man/de/man1/tool.1",
    }


def test_both_leave_licences_and_the_list_of_names(
    tree: Tree, kickstart_of: Callable[[str], Kickstart]
) -> None:
    take_out(tree, rules(kickstart_of, "--excludedocs --inst-langs=none"))
    share = {each for each in names(tree) if each.startswith("usr/share/")}
    assert {each for each in share if (tree.root / each).is_file()} == {
        "usr/share/doc/tool/copyright",
        "usr/share/locale/locale.alias",
        "usr/share/other/doc/file",
    }


def test_nothing_is_left_out_unasked(tree: Tree, kickstart_of: Callable[[str], Kickstart]) -> None:
    before = names(tree)
    take_out(tree, rules(kickstart_of, ""))
    assert names(tree) == before


def test_links_do_not_lead_out_of_the_tree(
    tree: Tree, tmp_path: Path, kickstart_of: Callable[[str], Kickstart]
) -> None:
    outside = tmp_path / "outside"
    (outside / "tool").mkdir(parents=True)
    (outside / "tool/README").write_text("of the host")
    for name in ("usr/share/info", "usr/share/man/man9"):
        path = tree.root / name
        if path.exists():
            path.rename(tmp_path / "aside")
        path.symlink_to(outside)
    take_out(tree, rules(kickstart_of, "--excludedocs"))
    assert (outside / "tool/README").exists()
    assert not os.path.lexists(tree.root / "usr/share/man/man9")
