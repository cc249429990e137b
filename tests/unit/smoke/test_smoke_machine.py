from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from smoke_support import Descriptions

from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke.machine import Loaded, first_script, qemu_argv, translation_mib
from imagebuilder.smoke.network import user_network
from imagebuilder.smoke.paths import BOOT_PATHS
from imagebuilder.smoke.report import Accelerator


def argv(used: Accelerator, folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    return qemu_argv(
        BOOT_PATHS["pxe-bios"],
        used,
        SmokeOptions(memory_mib=1000, cpus=3),
        wiring=user_network(folder),
        results=folder / "results",
        scratch=folder,
    )


def test_the_guest_is_confined(tmp_path: Path) -> None:
    words = argv(Accelerator(used="tcg", why="", cpu_model="qemu64,-svm"), tmp_path)
    networks = [words[n + 1] for n, word in enumerate(words) if word == "-netdev"]
    assert len(networks) == 1
    assert "restrict=on" in networks[0]
    assert "hostfwd" not in networks[0]
    assert not [word for word in words if "romfile" in word or "-drive" in word]
    assert words[words.index("-m") + 1] == "1000"
    assert words[words.index("-smp") + 1] == "3"
    assert words[words.index("-cpu") + 1] == "qemu64,-svm"


def test_odd_folders_are_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "a,b c"
    words = argv(Accelerator(used="kvm", why="", cpu_model="host"), folder)
    network = words[words.index("-netdev") + 1]
    assert network.startswith("user,id=net,restrict=on,")
    assert "a,,b c/tftp," in network
    assert network.endswith("a,,b c/http'")
    assert words[words.index("-accel") + 1] == "kvm"


@pytest.mark.parametrize(("available", "size"), [(24000, 1024), (3000, 256), (0, 256)])
def test_the_translation_cache_leaves_room(available: int, size: int) -> None:
    assert translation_mib(SmokeOptions(memory_mib=2048), available) == size


def test_the_first_script_makes_the_settings_and_goes_on(tmp_path: Path) -> None:
    wiring = replace(user_network(tmp_path), args=("role=compute",))
    script = first_script(wiring, "boot/base/a+b.ipxe", "smoke.cpio").splitlines()
    assert script[0] == "#!ipxe"
    assert script[-1] == f"chain {wiring.files_url}boot/base/a%2Bb.ipxe"
    assert f"set base {wiring.files_url}" in script
    args = next(line for line in script if line.startswith("set extra-args console=ttyS0"))
    assert args.endswith(" role=compute")


def test_a_kernel_given_to_qemu_needs_no_boot_from_the_network(tmp_path: Path) -> None:
    words = qemu_argv(
        BOOT_PATHS["kernel"],
        Accelerator(used="tcg", why="", cpu_model="qemu64"),
        SmokeOptions(),
        wiring=user_network(tmp_path),
        results=tmp_path / "results",
        scratch=tmp_path,
        loaded=Loaded(kernel=Path("/i/vmlinuz"), initrd=Path("/f/initrd.img"), args="quiet a=b,c"),
    )
    assert words[words.index("-kernel") + 1] == "/i/vmlinuz"
    assert words[words.index("-initrd") + 1] == "/f/initrd.img"
    assert words[words.index("-append") + 1] == "quiet a=b,c"
    assert "virtio-net-pci,netdev=net,romfile=" in words


def test_a_uefi_machine_has_variables_of_its_own(
    tmp_path: Path, descriptions: Descriptions
) -> None:
    firmware = descriptions("60-plain.json")
    words = qemu_argv(
        BOOT_PATHS["pxe-uefi"],
        Accelerator(used="tcg", why="", cpu_model="qemu64"),
        SmokeOptions(),
        wiring=user_network(tmp_path),
        results=tmp_path / "results",
        scratch=tmp_path,
    )
    drives = [words[n + 1] for n, word in enumerate(words) if word == "-drive"]
    assert [drive.rpartition("file=")[2] for drive in drives] == [
        str(firmware / "CODE.fd"),
        str(tmp_path / "variables.raw"),
    ]
    assert "readonly=on" in drives[0]
    assert (tmp_path / "variables.raw").read_text() == "variables"
