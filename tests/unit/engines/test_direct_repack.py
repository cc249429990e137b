"""Packages' files without xz: dpkg finds the same in them; what is odd is left as it is."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from imagebuilder.engines.direct import debs
from imagebuilder.engines.direct.repack import MAGIC, repack


def made(folder: Path, how: str, size: int = 1_000_001) -> Path:
    """Build a package with a file of so many bytes, a link, and a mode of its own."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example>\nDescription: d\n"
    )
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/p").write_bytes(random.Random(1).randbytes(size))
    (tree / "usr/bin/p").chmod(0o4755)
    (tree / "usr/bin/q").symlink_to("p")
    file = folder / f"{how}.deb"
    subprocess.run(
        ["dpkg-deb", f"-Z{how}", "--root-owner-group", "--build", str(tree), str(file)],
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1700000000"},
    )
    return file


def brought(deb: Path) -> tuple[bytes, bytes]:
    """Return what dpkg would unpack, and what it knows of the package."""
    return (
        subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True).stdout,
        subprocess.run(["dpkg-deb", "--ctrl-tarfile", deb], check=True, capture_output=True).stdout,
    )


@pytest.mark.parametrize("size", [0, 1, 1_000_001])
def test_what_a_package_brings_stays_the_same(tmp_path: Path, size: int) -> None:
    old, new = made(tmp_path, "xz", size), tmp_path / "new.deb"
    assert repack(old, new)
    assert brought(new) == brought(old)
    assert b"data.tar.zst" in new.read_bytes()
    assert b"data.tar.xz" not in new.read_bytes()


def test_two_make_the_same_of_it_and_the_date_stays(tmp_path: Path) -> None:
    old = made(tmp_path, "xz")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert repack(old, tmp_path / name / "new.deb")
    assert (tmp_path / "a/new.deb").read_bytes() == (tmp_path / "b/new.deb").read_bytes()
    assert debs.made(tmp_path / "a") == 1700000000


@pytest.mark.parametrize("how", ["gzip", "zstd", "none"])
def test_other_forms_are_left_alone(tmp_path: Path, how: str) -> None:
    assert not repack(made(tmp_path, how), tmp_path / "new.deb")
    assert not (tmp_path / "new.deb").exists()


def test_what_is_damaged_is_left_for_dpkg_to_name(tmp_path: Path) -> None:
    whole = made(tmp_path, "xz").read_bytes()
    at = whole.index(b"data.tar.xz") + 60
    for n, text in enumerate(
        [
            b"",
            MAGIC,
            b"no package at all" * 9,
            whole[: at + 1000],
            whole[:at] + b"x" * (len(whole) - at),
            whole[: at - 20],
            whole[: at - 12] + b"-1        `\n" + whole[at:],
            whole[: at - 12] + b"nonsense  `\n" + whole[at:],
        ]
    ):
        bad = tmp_path / f"{n}.deb"
        bad.write_bytes(text)
        assert not repack(bad, tmp_path / "new.deb"), n
        assert not (tmp_path / "new.deb").exists()
