"""What is read of an EROFS, and of what is none."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.comparison import erofs
from imagebuilder.comparison.erofs import of_erofs
from imagebuilder.comparison.roots import of_root
from imagebuilder.engines import erofs as packing
from imagebuilder.errors import Interrupted, StepError
from imagebuilder.progress import Cancel

pytestmark = pytest.mark.skipif(
    not packing.version(), reason="there is no mkfs.erofs; run ci/setup --tests"
)

Packed = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with all that a root file system has but devices, and a folder of several blocks."""
    root = tmp_path / "tree"
    (root / "usr/share/doc").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/empty").touch()
    (root / "etc/shadow").write_text("root:!:\n")
    (root / "etc/shadow").chmod(0)
    (root / "usr/large").write_bytes(os.urandom(300_000) + bytes(400_000))
    (root / "usr/passwd").write_text("x" * 5000)
    (root / "usr/passwd").chmod(0o4755)
    (root / "usr/again").hardlink_to(root / "usr/large")
    (root / "usr/link").symlink_to("large")
    (root / "usr/long").symlink_to("../" * 1200 + "etc")
    (root / "usr/ein ümlaut\n").write_text("ü")
    (root / "usr/closed").mkdir()
    (root / "usr/closed/file").write_text("within\n")
    (root / "usr/closed").chmod(0o500)
    os.mkfifo(root / "usr/pipe")
    for n in range(500):
        (root / "usr/share/doc" / f"{'name' * 10}{n}").write_text(f"{n}\n" * n)
    for path in [*root.rglob("*"), root]:
        os.utime(path, (0, 1_600_000_000 + path.lstat().st_ino % 1000), follow_symlinks=False)
    return root


@pytest.fixture
def packed(tree: Path, tmp_path: Path) -> Packed:
    def pack(*arguments: str) -> Path:
        into = tmp_path / "rootfs.erofs"
        subprocess.run(
            ["mkfs.erofs", "--quiet", *arguments, into, tree],
            check=True,
            timeout=60,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        )
        return into

    return pack


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-Enoinline_data",),
        ("-Eforce-inode-extended",),
        ("-zlz4",),
        ("-zlz4hc,9", "-C65536", "-Eztailpacking"),
        ("-zlz4hc,12", "-C131072", "-Eztailpacking,fragments,dedupe"),
    ],
)
def test_all_that_was_packed_is_read(
    tree: Path, packed: Packed, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    found = of_root(packed(*arguments), work, Cancel())
    assert list(work.iterdir()) == []
    there = {str(path.relative_to(tree)): path for path in tree.rglob("*")} | {"/": tree}
    assert set(found) == set(there)
    assert {found["usr/large"].kind, found["usr/again"].kind} == {"-", "h"}
    for name, path in there.items():
        member, status = found[name], path.lstat()
        if member.kind == "h":
            assert member.target in ("usr/large", "usr/again")
            continue
        assert member.kind == stat.filemode(status.st_mode)[0]
        assert member.mode == stat.S_IMODE(status.st_mode)
        assert member.owner == f"{status.st_uid}/{status.st_gid}"
        assert member.time == int(status.st_mtime)
        assert member.target == (str(path.readlink()) if path.is_symlink() else "")
        expected = path.read_bytes() if member.kind == "-" and os.access(path, os.R_OK) else None
        if expected is not None:
            assert bytes(member.data) == expected


def change(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_what_is_none_is_refused(packed: Packed, tmp_path: Path) -> None:
    path = packed()
    whole = path.read_bytes()
    for data in (b"", b"x" * 5000, whole[:1100], whole[:4096]):
        path.write_bytes(data)
        with pytest.raises(StepError, match=r"rootfs\.erofs is damaged, or no EROFS known here"):
            of_erofs(path, tmp_path, Cancel())


def test_features_that_are_not_known_are_refused(packed: Packed, tmp_path: Path) -> None:
    path = packed()
    change(path, 1024 + 80, struct.pack("<I", 0x100))
    with pytest.raises(StepError, match=r"features that are not known here \(0x100\)"):
        of_erofs(path, tmp_path, Cancel())


@pytest.mark.parametrize("name", [b"../passwd", b"shadow\0xxx", b"\0xxxxxxxxx", b"a/b/c/d/e/"])
def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(
    tree: Path, packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    (tree / "etc/0123456789").write_text("a name to be changed\n")
    path = packed()
    at = path.read_bytes().index(b"0123456789")
    change(path, at, name.ljust(10, b"\0"))
    monkeypatch.setattr(erofs.command, "run", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(StepError, match="it has a file of the name"):
        of_erofs(path, tmp_path, Cancel())


def test_a_folder_that_is_in_itself_is_refused(packed: Packed, tmp_path: Path) -> None:
    path = packed()
    data = path.read_bytes()
    # What stands in the root: entries of 12 bytes, then the names of ".", "..", "etc" and "usr".
    names = data.index(b"...etcusr")
    assert data[names - 48 : names - 40] == data[names - 36 : names - 28], "the root's own number"
    change(path, names - 12, data[names - 48 : names - 40])
    with pytest.raises(StepError, match="the folder usr is in it twice"):
        of_erofs(path, tmp_path, Cancel())


def test_one_that_fills_the_disk_is_refused(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagebuilder.comparison.members._MOST_ROOT", 100_000)
    with pytest.raises(StepError, match="unpacks to more than there is room for"):
        of_erofs(packed(), tmp_path, Cancel())
    monkeypatch.setattr(erofs, "_MOST_FILES", 100)
    with pytest.raises(StepError, match="more files than can be compared"):
        of_erofs(packed(), tmp_path, Cancel())


def test_data_that_is_damaged_is_found(packed: Packed, tmp_path: Path) -> None:
    path = packed("-zlz4hc,9", "-C65536")
    work = tmp_path / "work"
    work.mkdir()
    size = path.stat().st_size
    change(path, size // 2, bytes(200_000)[: size // 4])
    with pytest.raises(StepError, match="reading"):
        of_erofs(path, work, Cancel())
    assert list(work.iterdir()) == []


def test_a_request_to_stop(packed: Packed, tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        of_erofs(packed(), tmp_path, cancel)
