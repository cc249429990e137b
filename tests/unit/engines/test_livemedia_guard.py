"""An initrd that livemedia-creator made refuses another root than the one that is named."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from imagebuilder import command
from imagebuilder.cpio import Entry, archive
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.engines.livemedia import guard
from imagebuilder.errors import StepError

LIVE = ("usr/lib/dracut/hooks/cmdline/29-parse-livenet.sh", "usr/sbin/livenetroot")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """This host in the place of an image."""
    monkeypatch.setattr(
        Tree, "run", lambda self, argv, **_: command.run(argv, timeout=20, check=False)
    )
    return Tree(root=Path("/"), log=tmp_path / "log", epoch=1)


def initrd(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "initrd.img"
    data = archive(Entry(path=each, content=b"") for each in names)
    path.write_bytes(gzip.compress(data) + b"\0")
    return path


def added(path: Path, before: int) -> list[str]:
    """Return the files of what was appended, as cpio(1) reads them."""
    with path.open("rb") as file:
        file.seek(before + -before % 4)
        rest = file.read().lstrip(b"\0")
        assert (path.stat().st_size - len(rest)) % 4 == 0
    listed = subprocess.run(["cpio", "-it", "--quiet"], input=rest, capture_output=True, check=True)
    return listed.stdout.decode().split()


def test_what_is_lacking_is_appended(tree: Tree, tmp_path: Path) -> None:
    path = initrd(tmp_path, *LIVE)
    size = path.stat().st_size
    assert guard.add(tree, path, tmp_path) == ""
    names = added(path, size)
    assert names[:2] == [
        "usr/lib/dracut/hooks/cmdline/31-imagebuilder.sh",
        "usr/sbin/imagebuilderroot",
    ]
    assert {"usr/bin/sha256sum", "usr/bin/wc"} <= set(names)
    assert any("libc.so.6" in each for each in names)
    assert len(set(names)) == len(names)
    first = path.read_bytes()
    again = initrd(tmp_path, *LIVE)
    assert guard.add(tree, again, tmp_path) == ""
    assert again.read_bytes()[size:] == first[size:], "the same bytes each time"


def test_what_is_there_is_not_brought_again(tree: Tree, tmp_path: Path) -> None:
    listed = subprocess.check_output(["ldd", "/usr/bin/sha256sum"], text=True)
    libraries = [word.removeprefix("/") for word in listed.split() if word.startswith("/")]
    there = ["bin/wc", *(each if each.startswith("usr/") else f"usr/{each}" for each in libraries)]
    hooks = [each.replace("usr/lib/dracut", "var/lib/dracut") for each in LIVE]  # since 102
    path = initrd(tmp_path, *hooks, *there)
    size = path.stat().st_size
    assert guard.add(tree, path, tmp_path) == ""
    assert added(path, size) == [
        "var/lib/dracut/hooks/cmdline/31-imagebuilder.sh",
        "usr/sbin/imagebuilderroot",
        "usr/bin/sha256sum",
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("usr/bin/sh",), "no livenet"),
        ((*LIVE, "usr/sbin/imagebuilderroot"), ""),
    ],
)
def test_an_initrd_that_does_not_need_it_stays_as_it_is(
    tree: Tree, tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    path = initrd(tmp_path, *names)
    before = path.read_bytes()
    found = guard.add(tree, path, tmp_path)
    assert said in found
    assert bool(said) == bool(found)
    assert path.read_bytes() == before


def test_what_cannot_be_done_is_said(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "initrd.img"
    path.write_bytes(b"\x89LZO" + bytes(200))
    assert "cannot read the initrd" in guard.add(tree, path, tmp_path)
    path.write_bytes(gzip.compress(b"070701")[:-4])
    with pytest.raises(StepError, match="cut off"):
        guard.add(tree, path, tmp_path)
    (tmp_path / "bare").mkdir()
    bare = Tree(root=tmp_path / "bare", log=tmp_path / "log", epoch=1)
    assert guard.add(bare, initrd(tmp_path, *LIVE), tmp_path).endswith("has no sha256sum")
