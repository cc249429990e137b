"""An index with the packages of one layer and no others, for files that were packed anew."""

from __future__ import annotations

from pathlib import Path

from imagebuilder.engines.direct import shelf

INDEX = """\
Package: a
Version: 1:2~rc
Architecture: amd64
Depends: b,
 c
Size: 100
MD5sum: 0123
SHA256: 4567
Description: first

Package: a
Version: 3
Architecture: amd64
Size: 101
SHA256: 89ab

Version: 5
Package: b
Architecture: all
SHA256: cdef
Size: 102

Package: aa
Version: 3
Architecture: amd64
Size: 103
"""


def made(tmp_path: Path, versions: dict[str, str], *files: str) -> dict[str, str]:
    """Make a shelf; return the texts of its index."""
    index, debs = tmp_path / "index", tmp_path / "debs"
    for folder in (index / "partial", debs):
        folder.mkdir(parents=True)
    (index / "mirror_main_Packages").write_text(INDEX)
    (index / "mirror_empty_Packages").touch()
    (index / "mirror_InRelease").write_text("signed")
    (index / "lock").touch()
    for name in files:
        (debs / name).write_bytes(b"12345")
    read = shelf.Index(index, {**versions, "other": "1"})
    found = read.shelf(versions, debs, tmp_path / "lists")
    assert found.files == debs
    return {path.name: path.read_text() for path in found.lists.iterdir()}


def test_it_has_the_planned_versions_alone(tmp_path: Path) -> None:
    found = made(tmp_path, {"a": "1:2~rc", "b": "5"}, "a_1%3a2~rc_amd64.deb", "b_5_all.deb")
    assert found == {
        "mirror_InRelease": "signed",
        "mirror_empty_Packages": "",
        "mirror_main_Packages": (
            "Package: a\nVersion: 1:2~rc\nArchitecture: amd64\nDepends: b,\n c\n"
            "Description: first\nSize: 5\n"
            "\n"
            "Version: 5\nPackage: b\nArchitecture: all\nSize: 5\n"
        ),
    }


def test_what_is_not_at_hand_stays_as_the_index_has_it(tmp_path: Path) -> None:
    found = made(tmp_path, {"aa:amd64": "3"})
    assert found["mirror_main_Packages"] == (
        "Package: aa\nVersion: 3\nArchitecture: amd64\nSize: 103\n"
    )


def test_without_packages_it_is_empty(tmp_path: Path) -> None:
    assert made(tmp_path, {})["mirror_main_Packages"] == ""


def test_each_layer_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "mirror_main_Packages").write_text(INDEX)
    read = shelf.Index(tmp_path, {"a": "3", "b": "5"})
    for name, version in (("a", "3"), ("b", "5")):
        found = read.shelf({name: version}, tmp_path / "none", tmp_path / name)
        text = (found.lists / "mirror_main_Packages").read_text()
        assert text.count("Package: ") == 1
        assert f"Version: {version}" in text
