"""The root file system as an EROFS: how it is asked for, and what stands against it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fakes import FakePrograms
from treekit import EPOCH

from imagebuilder import distro
from imagebuilder.comparison.erofs import of_erofs
from imagebuilder.engines import erofs, rootfs
from imagebuilder.errors import HostError, StepError
from imagebuilder.progress import Cancel, Reporter
from imagebuilder.recipe import ImageOptions

# What erofs-utils 1.5 (Debian 12) and 1.8 (Debian 13) say when asked for their version.
OLD = """
echo mkfs.erofs 1.5
echo "mkfs.erofs: unrecognized option '--version'" >&2
printf 'usage: [options] FILE DIRECTORY\\n\\nAvailable compressors are: lz4hc, lz4\\n' >&2
exit 1
"""
NEW = """
echo mkfs.erofs \\(erofs-utils\\) 1.8.6
echo available compressors: lz4, lz4hc, lzma, deflate, libdeflate, zstd
"""


def options(**keys: object) -> ImageOptions:
    return ImageOptions.model_validate({"filesystem": "erofs", "compression": "lz4", **keys})


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ({}, "-zlz4 -C65536 -Eztailpacking"),
        ({"compression_level": 9}, "-zlz4hc,9 -C65536 -Eztailpacking"),
        ({"compression": "zstd"}, "-zzstd,3 -C131072 -Eztailpacking,fragments"),
        (
            {"compression": "zstd", "compression_level": 19},
            "-zzstd,19 -C131072 -Eztailpacking,fragments",
        ),
        ({"compression": "xz"}, "-zlzma -C131072 -Eztailpacking,fragments"),
        (
            {"compression": "xz", "compression_level": 6},
            "-zlzma,6 -C131072 -Eztailpacking,fragments",
        ),
    ],
)
def test_arguments_of_mkfs(keys: dict[str, object], arguments: str) -> None:
    assert " ".join(rootfs.arguments(options(**keys))) == arguments


def test_a_squashfs_is_what_it_was() -> None:
    assert rootfs.arguments(ImageOptions()) == ["-comp", "zstd", "-Xcompression-level", "3"]
    assert rootfs.described(ImageOptions()) == "squashfs with zstd"
    assert rootfs.described(options(compression_level=9)) == "EROFS with lz4 at level 9"


@pytest.mark.parametrize(
    ("compression", "refused"), [("lz4", []), ("zstd", ["debian-12"]), ("xz", ["debian-12"])]
)
def test_a_kernel_that_cannot_read_it(compression: str, refused: list[str]) -> None:
    wanted = options(compression=compression)
    why = {each: erofs.why_not(wanted, distro.find(each)) for each in ("debian-12", "debian-13")}
    assert [each for each, text in why.items() if text] == refused
    assert all(f"reads an EROFS with lz4 alone, not with {compression}" in why[n] for n in refused)


@pytest.mark.parametrize(
    ("said", "compression", "level", "knows"),
    [
        (OLD, "lz4", None, True),
        (OLD, "lz4", 9, True),
        (OLD, "zstd", None, False),
        (OLD, "xz", 6, False),
        (NEW, "lz4", 9, True),
        (NEW, "zstd", None, True),
        (NEW, "xz", 6, True),
        ("exit 0", "lz4", None, False),
    ],
)
def test_a_host_that_cannot_make_it(
    fake_programs: FakePrograms, said: str, compression: str, level: int | None, knows: bool
) -> None:
    fake_programs.write("mkfs.erofs", said)
    wanted = options(compression=compression, compression_level=level)
    if knows:
        rootfs.see_that_it_can(wanted)
        return
    with pytest.raises(HostError, match="does not know the compressor") as caught:
        rootfs.see_that_it_can(wanted)
    assert "erofs-utils" in caught.value.fix


def test_a_host_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagebuilder.command.search_path", lambda: str(tmp_path))
    with pytest.raises(HostError, match=r"mkfs\.erofs is not installed") as caught:
        rootfs.see_that_it_can(options())
    assert caught.value.fix == "run: sudo apt-get install erofs-utils"


@pytest.mark.parametrize(
    ("said", "version"),
    [(OLD, "mkfs.erofs 1.5"), (NEW, "mkfs.erofs (erofs-utils) 1.8.6"), ("exit 1", "")],
)
def test_its_version(fake_programs: FakePrograms, said: str, version: str) -> None:
    fake_programs.write("mkfs.erofs", said)
    assert rootfs.versions(options()) == {"mkfs.erofs": version}


def test_one_that_fails_is_a_failure(tmp_path: Path, fake_programs: FakePrograms) -> None:
    fake_programs.write("mkfs.erofs", "echo no room >&2; exit 1")
    with pytest.raises(StepError, match="packing the root file system") as caught:
        rootfs.make(tmp_path, tmp_path, options(), EPOCH, tmp_path / "log", Reporter(subject="r"))
    assert "no room" in caught.value.excerpt


@pytest.mark.skipif(not erofs.version(), reason="there is no mkfs.erofs; run ci/setup --tests")
def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    """Times up to the image's are kept, and newer ones are the image's; no device is taken."""
    made: list[bytes] = []
    for n in range(2):
        tree, out = tmp_path / f"tree{n}", tmp_path / f"out{n}"
        out.mkdir()
        for name in ["etc/dev", "etc", "dev", "usr/bin"][:: 1 - 2 * n]:
            (tree / name).mkdir(parents=True, exist_ok=True)
        for name in ["etc/old", "etc/dev/kept", "dev/node", "usr/bin/program"][:: 1 - 2 * n]:
            (tree / name).write_text(name * 5000)
        os.utime(tree / "etc/old", (n, EPOCH - 1000))
        rootfs.make(tree, out, options(), EPOCH, out / "log", Reporter(subject="r"))
        made.append((out / "rootfs.erofs").read_bytes())
    assert made[0] == made[1]
    found = of_erofs(tmp_path / "out0/rootfs.erofs", tmp_path, Cancel())
    assert {path: each.time for path, each in found.items()} == {
        "/": EPOCH,
        "dev": EPOCH,
        "etc": EPOCH,
        "etc/dev": EPOCH,
        "etc/dev/kept": EPOCH,
        "etc/old": EPOCH - 1000,
        "usr": EPOCH,
        "usr/bin": EPOCH,
        "usr/bin/program": EPOCH,
    }
    subprocess.run(["fsck.erofs", tmp_path / "out0/rootfs.erofs"], check=True, timeout=60)
