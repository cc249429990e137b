"""Differences between images that were made by hand, and the second build that finds them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import Image, Options, build_image, command, cpio, reproducible
from imagebuilder.cli.main import main
from imagebuilder.engines import erofs, rootfs
from imagebuilder.errors import StepError
from imagebuilder.image import ARTEFACTS, EROFS, artefact_names
from imagebuilder.progress import Cancel, Reporter
from imagebuilder.project import Project
from imagebuilder.recipe import ImageOptions
from imagebuilder.reproducible import check, explain

TIME = 1_700_000_000
RUN = command.run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a root file system may have in it."""
    root = tmp_path / "tree"
    (root / "etc/a b\\c").mkdir(parents=True)
    (root / "etc/motd").write_text("one\ntwo\nthree\n")
    (root / "etc/a b\\c/ä").write_text("x")
    (root / "etc/empty").touch()
    (root / "etc/link").symlink_to("motd")
    (root / "bin").write_bytes(bytes(range(256)) * 4)
    os.link(root / "bin", root / "same")
    _dated(root)
    return root


def _dated(root: Path) -> None:
    for path in [*root.rglob("*"), root]:
        os.utime(path, (TIME, TIME), follow_symlinks=False)


@pytest.mark.skipif(not erofs.version(), reason="no mkfs.erofs; run ci/setup --tests")
def test_what_differs_in_an_erofs(tree: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for n, folder in enumerate(folders):
        folder.mkdir()
        for name in artefact_names(EROFS):
            (folder / name).write_text(f"{name}\n")
        (tree / "stamp").write_text(f"{n}\n")
        _dated(tree)
        options = ImageOptions(filesystem="erofs", compression="lz4")
        rootfs.make(tree, folder, options, TIME, tmp_path / "log", Reporter(subject="r"))
    work = tmp_path / "work"
    work.mkdir()
    found = [str(each) for each in explain(*folders, work, Cancel())]
    assert found == ["rootfs.erofs: stamp: content\n    -0\n    +1"]
    shutil.copyfile(folders[0] / EROFS, folders[1] / EROFS)
    assert explain(*folders, work, Cancel()) == ()


class Images:
    """Two folders with the artefacts of images: alike at first."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.one, self.other, self.work = folder / "one", folder / "other", folder / "work"
        self.work.mkdir()
        self.one.mkdir()
        for name in ARTEFACTS:
            (self.one / name).write_text(f"{name}\n")
        packed(tree, self.one / "rootfs.squashfs")
        entries = [cpio.Entry(path="init", content=b"#!/bin/sh\n", mode=0o755)]
        (self.one / "initrd.img").write_bytes(initrd(entries))
        shutil.copytree(self.one, self.other)

    def explained(self) -> list[str]:
        found = [str(each) for each in explain(self.one, self.other, self.work, Cancel())]
        assert list(self.work.iterdir()) == []
        return found


def packed(tree: Path, into: Path, *options: str) -> None:
    into.unlink(missing_ok=True)
    subprocess.run(
        ["mksquashfs", str(tree), str(into), "-quiet", "-no-progress", "-all-root", *options],
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(TIME)},
    )


def initrd(
    entries: list[cpio.Entry],
    compress: Callable[[bytes], bytes] = lambda x: gzip.compress(x, mtime=0),
) -> bytes:
    """Return what dracut makes: an archive for the processor, and a compressed one."""
    early = cpio.archive([cpio.Entry(path="early_cpio", content=b"1\n")])
    return early + compress(cpio.archive(entries))


@pytest.fixture
def images(tmp_path: Path, tree: Path) -> Images:
    return Images(tmp_path, tree)


def test_images_with_the_same_bytes_do_not_differ(images: Images) -> None:
    assert images.explained() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda tree: (tree / "etc/motd").write_text("one\nTWO\nthree\n"),
            ["etc/motd: content\n    -two\n    +TWO"],
        ),
        (
            lambda tree: (tree / "etc/motd").write_text("one\ntwo\nthree\r\n"),
            ["etc/motd: content\n    only the ends of lines differ"],
        ),
        (
            lambda tree: (tree / "bin").write_bytes(bytes(range(255)) + b"\0\1" + bytes(767)),
            [
                "bin: content\n    from byte 255 on: ff 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d "
                "0e / 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00; of 1024 / 1024 bytes"
            ],
        ),
        (
            lambda tree: (tree / "etc/empty").write_bytes(b"\0"),
            ["etc/empty: content\n    from byte 0 on: the end / 00; of 0 / 1 bytes"],
        ),
        (
            lambda tree: (tree / "etc/motd").chmod(0o4640),
            ["etc/motd: mode rw-r--r-- became rwSr-----"],
        ),
        (
            lambda tree: os.utime(tree / "etc/a b\\c/ä", (TIME - 1, TIME - 1)),
            ["etc/a b\\c/ä: time 2023-11-14T22:13:20Z became 2023-11-14T22:13:19Z"],
        ),
        (
            lambda tree: ((tree / "etc/link").unlink(), (tree / "etc/link").symlink_to("empty")),
            ["etc/link: 'motd' became 'empty'"],
        ),
        (
            lambda tree: ((tree / "etc/link").unlink(), (tree / "etc/link").mkdir()),
            ["etc/link: a link became a folder"],
        ),
        (
            lambda tree: ((tree / "etc/motd").unlink(), (tree / "etc/new").mkdir()),
            [
                "etc/motd: a file only in the first image",
                "etc/new: a folder only in the second image",
            ],
        ),
    ],
)
def test_what_differs_in_the_root_file_system(
    images: Images, tree: Path, change: Callable[[Path], object], said: list[str]
) -> None:
    change(tree)
    if "time" not in said[0]:
        _dated(tree)
    packed(tree, images.other / "rootfs.squashfs")
    assert images.explained() == [f"rootfs.squashfs: {each}" for each in said]


def test_a_root_file_system_that_is_only_packed_otherwise(images: Images, tree: Path) -> None:
    packed(tree, images.other / "rootfs.squashfs", "-b", "8192")
    (found,) = images.explained()
    assert found.startswith("rootfs.squashfs: all that is in it is the same")


def test_owners_are_compared(images: Images, tree: Path) -> None:
    packed(tree, images.other / "rootfs.squashfs", "-force-uid", "7")
    assert "rootfs.squashfs: etc/motd: owner 0/0 became 7/0" in images.explained()


def zstd(data: bytes) -> bytes:
    return subprocess.run(
        ["zstd", "-qc"], input=data, capture_output=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("compress", [gzip.compress, zstd, lambda data: data])
def test_what_differs_in_an_initrd(images: Images, compress: Callable[[bytes], bytes]) -> None:
    for place, text in ((images.one, b"a\n"), (images.other, b"b\n")):
        entries = [
            cpio.Entry(path="etc"),
            cpio.Entry(path="etc/x", content=text, mode=0o644),
            cpio.Entry(path="etc/y", content=b"y", mode=0o600 if text == b"b\n" else 0o644),
        ]
        (place / "initrd.img").write_bytes(initrd(entries, compress))
    assert images.explained() == [
        "initrd.img: etc/x: content\n    -a\n    +b",
        "initrd.img: etc/y: mode rw-r--r-- became rw-------",
    ]


def test_the_order_in_an_initrd(images: Images) -> None:
    entries = [cpio.Entry(path=name, content=b"", mode=0o644) for name in "ab"]
    (images.one / "initrd.img").write_bytes(initrd(entries))
    (images.other / "initrd.img").write_bytes(initrd(entries[::-1]))
    assert images.explained() == ["initrd.img: its files are in another order"]


@pytest.mark.parametrize("data", [b"junk", b"\x1f\x8bjunk", b"070701" + b"x" * 200])
def test_an_initrd_that_cannot_be_read(images: Images, data: bytes) -> None:
    (images.other / "initrd.img").write_bytes(data)
    (found,) = images.explained()
    assert found.startswith("initrd.img: it differs; where is not known: initrd.img")


def test_texts_and_kernels(images: Images) -> None:
    (images.other / "packages.json").write_text("packages.json\n" + "more\n" * 20)
    (images.other / "vmlinuz").write_bytes(b"\0")
    kernel, packages = images.explained()
    assert kernel.startswith("vmlinuz: the kernel differs\n    from byte 0 on: 76 6d 6c")
    assert packages.startswith("packages.json: its text differs\n    +more\n")
    assert packages.endswith("    and 8 more lines")


# ----- the second build ---------------------------------------------------------------------------

FILES = {
    "recipes/base.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
    "kickstarts/a.ks": "timezone UTC\n",
}


@pytest.fixture
def built(make_project: MakeProject, fake_engine: FakeEngine, tmp_path: Path) -> Image:
    made = build_image(make_project(FILES), "base", Options.make(cache_dir=tmp_path / "cache"))
    for name in ("rootfs.squashfs", "initrd.img"):  # what can be read
        (made.path / name).write_bytes(b"")
    return made


def reproduce(
    built: Image,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    program: str,
) -> check.Reproduced:
    """Let a Python program stand for the second build; it is told the first one's folder."""

    def instead(argv: list[str], **options: object) -> object:
        assert argv[-1] == "imagebuilder.reproducible.again"
        return RUN([sys.executable, "-c", program, str(built.path)], **options)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "run", instead)
    monkeypatch.setattr(
        check.cache, "remove_tree", lambda path: shutil.rmtree(path, ignore_errors=True)
    )
    project = Project.open(built.path.parents[2])
    return check.check_reproducible(project, built, Options.make(cache_dir=tmp_path / "cache"))


COPY = """
import json, os, shutil, sys
order = json.load(sys.stdin)
into = order["root"] + "/build/base/x"
assert not os.path.exists(order["root"] + "/build")
assert sorted(os.listdir(order["root"])) == ["kickstarts", "recipes"]
assert sorted(os.listdir(order["cache_dir"])) == ["apt", "debs"]
shutil.copytree(sys.argv[1], into)
with open(into + "/kickstart.ks", "a") as file:
    file.write(CHANGE)
print(json.dumps({"event": {"kind": "note", "subject": "base", "step": "x", "text": "again"}}))
print(json.dumps({"image": into}))
"""


def test_a_second_build_that_gives_the_same(
    built: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = reproduce(built, monkeypatch, tmp_path, COPY.replace("CHANGE", "''"))
    assert found.to_dict() == {
        "recipe": "base",
        "image": built.id,
        "same": True,
        "differences": [],
    }
    assert list((tmp_path / "cache/work").iterdir()) == []


def test_a_second_build_in_other_circumstances(
    built: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    change = "' '.join(os.environ[name] for name in ('TZ', 'LANG', 'LC_ALL')) + '\\n'"
    found = reproduce(built, monkeypatch, tmp_path, COPY.replace("CHANGE", change))
    (difference,) = found.differences
    assert difference.artefact == "kickstart.ks"
    assert difference.detail.endswith("+America/Lima de_DE.UTF-8 de_DE.UTF-8")


def test_a_second_build_that_fails(
    built: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    error = json.dumps({"error": StepError("no room").to_dict()})
    for program, said in (
        (f"print({error!r})", "no room"),
        ("raise SystemExit(3)", "ended without a result"),
    ):
        with pytest.raises(StepError, match=said):
            reproduce(built, monkeypatch, tmp_path, program)
    assert list((tmp_path / "cache/work").iterdir()) == []


def test_a_project_that_cannot_be_copied(
    built: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.mkfifo(built.path.parents[2] / "pipe")
    with pytest.raises(StepError, match=r"cannot be copied for a second build.*pipe"):
        reproduce(built, monkeypatch, tmp_path, "pass")


def test_the_second_build_is_a_program_of_its_own(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(FILES | {"kickstarts/a.ks": "nosuch\n"})
    order = {
        "root": str(project.root),
        "recipe": "base",
        "cache_dir": str(tmp_path / "cache"),
        "offline": True,
        "locked": None,
    }
    result = subprocess.run(
        [sys.executable, "-P", "-m", "imagebuilder.reproducible.again"],
        input=json.dumps(order),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    (message,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert "nosuch" in message["error"]["what"]


def test_the_command(
    make_project: MakeProject,
    fake_engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    differences: list[reproducible.Difference] = []
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        reproducible,
        "check_reproducible",
        lambda project, image, options: check.Reproduced(
            image=image, differences=tuple(differences)
        ),
    )
    argv = ["build", "-C", str(make_project(FILES).root), "--check-reproducible", "base"]
    assert main(argv) == 0
    assert "base: a second build gave the same bytes" in capsys.readouterr().out
    differences.append(
        reproducible.Difference(artefact="initrd.img", path="x", what="content", detail="-a\n+b")
    )
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert "base: initrd.img: x: content\n    -a\n    +b\n" in out
    assert "gave other bytes: 1 difference" in err
