"""What an image may cost: sizes, memory by bisection, time, growth, and what firmware carries."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from imagebuilder.budget import Budget
from imagebuilder.image import INITRD, KERNEL, ROOTFS, Artefact, Image
from imagebuilder.smoke.budgets import growth, judge, sizes_of, warnings
from imagebuilder.smoke.memory import MOST_BOOTS, STEP_MIB, find_memory
from imagebuilder.smoke.report import Accelerator, BootReport, MemoryNeed


def boot(seconds: float | None, used: str = "kvm", path: str = "pxe-bios") -> BootReport:
    return BootReport(
        path=path,
        passed=True,
        seconds=1.0,
        accelerator=Accelerator(used=used, why="w", cpu_model="c"),  # type: ignore[arg-type]
        seconds_to_multi_user=seconds,
        logs="l",
    )


def sized(image: Image, **sizes: int) -> Image:
    """Return an image whose facts say that its files have these sizes."""
    names = {"kernel": KERNEL, "initrd": INITRD, "rootfs": ROOTFS}
    artefacts = tuple(
        Artefact(name=names[key], size=size, sha256="0" * 64) for key, size in sizes.items()
    )
    facts = image.facts.model_copy(update={"artefacts": artefacts})
    return Image(path=image.path, facts=facts)


def outcomes(built: Image, /, *boots: BootReport, memory: int = 0, **budget: Any) -> list[str]:
    need = MemoryNeed(mib=memory, too_little_mib=1, boots=1, path="x") if memory else None
    found = judge(Budget(**budget), built, boots, need)
    return [f"{each.what}: {each.outcome}" for each in found]


def test_without_a_budget_nothing_is_judged(image: Image) -> None:
    assert outcomes(image, boot(1.0)) == []


def test_sizes(image: Image) -> None:
    made = sized(image, kernel=10_000_000, initrd=30_000_000, rootfs=160_000_000)
    assert sizes_of(made) == {KERNEL: 10_000_000, INITRD: 30_000_000, ROOTFS: 160_000_000}
    assert outcomes(made, image="200 MB", initrd="30 MB", rootfs="0.16 GB") == [
        "image: kept",
        "initrd: kept",
        "rootfs: kept",
    ]
    assert outcomes(made, image="199.999 MB", initrd="29 MB") == [
        "image: exceeded",
        "initrd: exceeded",
    ]
    (found,) = judge(Budget(initrd="29 MB"), made, (), None)
    assert found.message == "initrd: 30.0 MB more than 29.0 MB"


def test_time_by_path_and_accelerator(image: Image) -> None:
    boots = (boot(20.0), boot(100.0, "tcg", "kernel"), boot(100.1, "tcg", "pxe-uefi"))
    assert outcomes(image, *boots, boot(None, path="late"), boot_seconds=20) == [
        "boot pxe-bios: kept",
        "boot kernel: kept",
        "boot pxe-uefi: exceeded",
        "boot late: not-measured",
    ]


def test_memory_counts_once_it_was_found_out(image: Image) -> None:
    assert outcomes(image, memory_mib=512) == ["memory: not-measured"]
    assert outcomes(image, memory_mib=512, memory=512) == ["memory: kept"]
    assert outcomes(image, memory_mib=512, memory=576) == ["memory: exceeded"]


@pytest.mark.parametrize("values", [{"image": "many"}, {"image": "5"}, {"growth_percent": -1}])
def test_what_is_no_budget(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Budget(**values)


def test_growth_since_a_release() -> None:
    now = {KERNEL: 100, INITRD: 200, ROOTFS: 1120}
    before = {KERNEL: 100, INITRD: 250, ROOTFS: 1000}
    found = growth(Budget(growth_percent=10), now, before, "release X in testing")
    assert [(each.what, each.outcome, each.measured) for each in found] == [
        ("growth of image", "kept", 5.2),
        ("growth of initrd", "kept", -20.0),
        ("growth of rootfs", "exceeded", 12.0),
    ]
    assert found[2].message == (
        "rootfs is 12 % larger than release X in testing: 1.1 kB, 1.0 kB before; 10 % are allowed"
    )
    assert found[1].message.startswith("initrd is 20 % smaller than release X")
    assert [each.outcome for each in growth(Budget(), now, before, "x")] == ["noted"] * 3
    exact = growth(Budget(growth_percent=12), now, before, "x")
    assert [each.outcome for each in exact] == ["kept"] * 3
    # Not by what is rounded for people.
    hair = growth(Budget(growth_percent=0), {ROOTFS: 1_000_001}, {ROOTFS: 1_000_000}, "x")
    assert [each.outcome for each in hair] == ["exceeded"] * 2


def kernel_with(folder: Path, address_max: int) -> None:
    header = bytearray(0x270)
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<I", header, 0x22C, address_max)
    struct.pack_into("<Q", header, 0x258, 16 << 20)
    struct.pack_into("<I", header, 0x260, 48 << 20)
    (folder / KERNEL).write_bytes(bytes(header))


def test_what_firmware_cannot_carry(image: Image) -> None:
    kernel_with(image.path, 0x7FFFFFFF)
    fits = sized(image, kernel=10 << 20, initrd=90 << 20, rootfs=3 << 30)
    assert warnings(fits) == ()
    (tftp,) = warnings(sized(image, kernel=10 << 20, initrd=92 << 20))
    assert "65535 of TFTP's blocks" in tftp
    assert tftp.startswith("initrd.img has 96.5 MB: more than 96.2 MB")
    room = (2 << 30) - (64 << 20)
    assert len(warnings(sized(image, initrd=room))) == 1
    bios = warnings(sized(image, initrd=room + 1))[1]
    assert bios.endswith("room for 2.1 GB below the address that the kernel allows for it")
    assert "4 GiB" in warnings(sized(image, initrd=4 << 30))[1]


def test_a_kernel_of_another_form_says_nothing_of_room(image: Image) -> None:
    assert len(warnings(sized(image, initrd=3 << 30))) == 1
    image.kernel.unlink()
    assert len(warnings(sized(image, initrd=3 << 30))) == 1


@pytest.mark.parametrize("needed", [130, 700, 704, 705, 1985, 2047, 2048])
@pytest.mark.parametrize("least", [0, 129])
def test_memory_is_found_by_bisection(needed: int, least: int) -> None:
    tried: list[int] = []

    def comes_up(mib: int) -> bool:
        tried.append(mib)
        return mib >= needed

    found = find_memory(comes_up, enough=2048, too_little=least, path="kernel")
    assert found.too_little_mib < needed <= found.mib
    assert found.mib - found.too_little_mib <= STEP_MIB
    assert found.boots == len(tried) == len(set(tried)) <= 6
    assert all(least < mib < 2048 and mib % STEP_MIB == 0 for mib in tried)


def test_the_search_for_memory_is_bounded() -> None:
    tried: list[int] = []

    def comes_up(mib: int) -> bool:
        tried.append(mib)
        return True

    found = find_memory(comes_up, enough=1 << 20, too_little=0, path="kernel")
    assert len(tried) == found.boots == MOST_BOOTS
    assert found.mib == tried[-1] == 1 << 12


def test_what_cannot_be_less_is_not_tried() -> None:
    def comes_up(mib: int) -> bool:
        pytest.fail(f"{mib} was tried")

    assert find_memory(comes_up, enough=256, too_little=256, path="x").boots == 0
