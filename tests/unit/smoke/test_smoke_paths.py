from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from imagebuilder.errors import HostError, InputError
from imagebuilder.recipe import BootPathName, SmokeOptions
from imagebuilder.smoke.paths import BOOT_PATHS, find_tools, known_paths, over_paths


def test_each_name_that_a_recipe_may_say_is_a_path() -> None:
    assert set(BOOT_PATHS) == set(get_args(BootPathName))


def test_paths_are_chosen_once_each_and_in_order() -> None:
    assert known_paths(["pxe-bios", "kernel", "pxe-bios"]) == ("pxe-bios", "kernel")
    assert known_paths(["all"]) == tuple(BOOT_PATHS)
    options = SmokeOptions(cpus=3)
    assert over_paths(options, []) is options
    assert over_paths(options, ["kernel"]) == SmokeOptions(cpus=3, paths=("kernel",))
    with pytest.raises(InputError, match="floppy") as caught:
        known_paths(["kernel", "floppy"])
    assert "pxe-bios" in caught.value.fix


def test_only_what_a_path_needs_is_asked_for(fake_qemu: Path) -> None:
    fake_qemu.with_name("pxe-virtio.rom").unlink()
    find_tools([BOOT_PATHS["kernel"]])
    with pytest.raises(HostError, match=r"pxe-virtio\.rom.*pxe-bios") as caught:
        find_tools([BOOT_PATHS["kernel"], BOOT_PATHS["pxe-bios"]])
    assert "ipxe-qemu" in caught.value.fix
