from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import machine
from imagebuilder.smoke.machine import Loaded, first_script, qemu_argv, translation_mib
from imagebuilder.smoke.paths import BOOT_PATHS
from imagebuilder.smoke.report import Accelerator


def argv(used: Accelerator, folder: Path = Path("/f")) -> list[str]:
    return qemu_argv(
        BOOT_PATHS["pxe-bios"],
        used,
        SmokeOptions(memory_mib=1000, cpus=3),
        tftp=folder / "tftp",
        socket=folder / "http",
        results=folder / "results",
    )


def test_the_guest_is_confined() -> None:
    words = argv(Accelerator(used="tcg", why="", cpu_model="qemu64,-svm"))
    networks = [words[n + 1] for n, word in enumerate(words) if word == "-netdev"]
    assert len(networks) == 1
    assert "restrict=on" in networks[0]
    assert "hostfwd" not in networks[0]
    assert not [word for word in words if "romfile" in word or "-drive" in word]
    assert words[words.index("-m") + 1] == "1000"
    assert words[words.index("-smp") + 1] == "3"
    assert words[words.index("-cpu") + 1] == "qemu64,-svm"


def test_odd_folders_are_quoted() -> None:
    words = argv(Accelerator(used="kvm", why="", cpu_model="host"), Path("/a,b c"))
    network = words[words.index("-netdev") + 1]
    assert "tftp=/a,,b c/tftp," in network
    assert network.endswith("'/a,,b c/http'")
    assert words[words.index("-accel") + 1] == "kvm"


@pytest.mark.parametrize(("available", "size"), [(24000, 1024), (3000, 256), (0, 256)])
def test_the_translation_cache_leaves_room(available: int, size: int) -> None:
    assert translation_mib(SmokeOptions(memory_mib=2048), available) == size


def test_the_first_script_makes_the_settings_and_goes_on() -> None:
    script = first_script("smoke.cpio").splitlines()
    assert script[0] == "#!ipxe"
    assert script[-1] == f"chain {machine.FILES_URL}boot.ipxe"
    assert f"set base {machine.FILES_URL}" in script
    assert any(line.startswith("set extra-args console=ttyS0") for line in script)


def test_a_kernel_given_to_qemu_needs_no_boot_from_the_network() -> None:
    words = qemu_argv(
        BOOT_PATHS["kernel"],
        Accelerator(used="tcg", why="", cpu_model="qemu64"),
        SmokeOptions(),
        tftp=Path("/f/tftp"),
        socket=Path("/f/http"),
        results=Path("/f/results"),
        loaded=Loaded(kernel=Path("/i/vmlinuz"), initrd=Path("/f/initrd.img"), args="quiet a=b,c"),
    )
    assert words[words.index("-kernel") + 1] == "/i/vmlinuz"
    assert words[words.index("-initrd") + 1] == "/f/initrd.img"
    assert words[words.index("-append") + 1] == "quiet a=b,c"
    assert "virtio-net-pci,netdev=net,romfile=" in words
