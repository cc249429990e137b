"""What a livemedia-creator left is looked at before it is used: nothing of it is trusted."""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.engines.livemedia import results
from imagebuilder.engines.livemedia.kernel import initrd_paths, modules_of, order, read_kernel
from imagebuilder.errors import StepError


def bzimage(release: str, size: int = 4096) -> bytes:
    head = bytearray(0x1000)
    head[0x1F1] = 4
    head[0x1F4:0x1F8] = struct.pack("<I", size // 16)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = struct.pack("<H", 0x300)
    text = f"{release} (builder@host) #1 SMP".encode() + b"\0"
    head[0x500 : 0x500 + len(text)] = text
    return bytes(head[: 5 * 512]) + bytes(size)


def cpio(*names: str) -> bytes:
    made = b""
    for name in (*names, "TRAILER!!!"):
        encoded = name.encode() + b"\0"
        fields = [0] * 13
        fields[11] = len(encoded)
        entry = b"070701" + b"".join(b"%08X" % each for each in fields) + encoded
        made += entry + bytes(-len(entry) % 4)
    return made


def squashfs(size: int = 200) -> bytes:
    return b"hsqs" + bytes(36) + struct.pack("<Q", size) + bytes(size - 48)


@pytest.fixture
def left(tmp_path: Path) -> Callable[..., Path]:
    """Writes what a run left; a name with None is not there."""

    def make(**changed: bytes | None) -> Path:
        modules = cpio("usr/lib/modules/5.14.0-9.el9.x86_64/modules.dep")
        files: dict[str, bytes | None] = {
            "PXE_CONFIG": b"kernel\n",
            "live-rootfs.squashfs.img": squashfs(),
            "vmlinuz-5.14.0-9.el9.x86_64": bzimage("5.14.0-9.el9.x86_64"),
            "initramfs-5.14.0-9.el9.x86_64.img": gzip.compress(modules),
        }
        names = {"pxe": 0, "squashfs": 1, "kernel": 2, "initrd": 3}
        for key, value in changed.items():
            files[list(files)[names[key]]] = value
        folder = tmp_path / "results"
        folder.mkdir()
        for name, data in files.items():
            if data is not None:
                (folder / name).write_bytes(data)
        return folder

    return make


def test_whole_results_are_taken(left: Callable[..., Path], tmp_path: Path) -> None:
    found = results.look(left(), tmp_path)
    pair = results.choose(found, "")
    assert pair.release == "5.14.0-9.el9.x86_64"
    assert pair.modules == {"5.14.0-9.el9.x86_64"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"squashfs": None}, "left no live-rootfs.squashfs.img"),
        ({"squashfs": b""}, "is empty"),
        ({"squashfs": b"x" * 200}, "is no squashfs"),
        ({"squashfs": squashfs()[:150]}, "cut off: 150 of 200 bytes"),
        ({"kernel": None}, "left no kernel"),
        ({"kernel": b""}, "is empty"),
        ({"kernel": b"x" * 5000}, "is no kernel"),
        ({"kernel": bzimage("1.x")[:3000]}, "is cut off"),
        ({"initrd": None}, "no kernel with an initrd"),
        ({"initrd": b""}, "is empty"),
        ({"initrd": gzip.compress(bytes(range(256)) * 99)[:90]}, "cut off or damaged"),
        ({"initrd": gzip.compress(cpio("a")[:-40])}, "its archive has no end"),
        ({"pxe": None}, "left no PXE_CONFIG"),
    ],
)
def test_half_results_are_refused(
    left: Callable[..., Path], tmp_path: Path, changed: dict[str, bytes | None], said: str
) -> None:
    with pytest.raises(StepError, match=said):
        results.look(left(**changed), tmp_path)


def test_no_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="left no results"):
        results.look(tmp_path / "none", tmp_path)


def test_an_initrd_of_another_kernel_is_refused(left: Callable[..., Path], tmp_path: Path) -> None:
    other = gzip.compress(cpio("lib/modules/5.14.0-8.el9.x86_64/modules.dep"))
    found = results.look(left(initrd=other), tmp_path)
    with pytest.raises(StepError, match=r"does not belong to its kernel.*5\.14\.0-8"):
        results.choose(found, "")


def test_the_newest_kernel_is_chosen_or_the_one_that_is_named(
    left: Callable[..., Path], tmp_path: Path
) -> None:
    folder = left()
    name = "5.14.0-10.el9.x86_64"
    (folder / f"vmlinuz-{name}").write_bytes(bzimage(name))
    archive = cpio(f"usr/lib/modules/{name}/modules.dep")
    # Microcode stands before the rest, uncompressed and padded.
    early = cpio("kernel/x86/microcode/GenuineIntel.bin")
    (folder / f"initramfs-{name}.img").write_bytes(
        early + bytes(-len(early) % 512) + lzma.compress(archive, check=lzma.CHECK_CRC32)
    )
    found = results.look(folder, tmp_path)
    assert results.choose(found, "").name == name
    assert results.choose(found, "5.14.0-9.el9.x86_64").name == "5.14.0-9.el9.x86_64"
    with pytest.raises(StepError, match=r"no kernel 6\.0"):
        results.choose(found, "6.0")


def test_releases_are_ordered_as_numbers() -> None:
    assert max(["5.14.0-9.el9", "5.14.0-10.el9"], key=order) == "5.14.0-10.el9"


def test_an_uncompressed_initrd_is_read(tmp_path: Path) -> None:
    path = tmp_path / "i"
    path.write_bytes(cpio("usr/lib/modules/6.1/modules.dep"))
    assert modules_of(initrd_paths(path, tmp_path) or ()) == {"6.1"}


def test_an_arm_kernel_has_no_release_to_read(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(bytes(0x38) + b"ARM\x64" + bytes(100))
    assert read_kernel(path).release == ""
