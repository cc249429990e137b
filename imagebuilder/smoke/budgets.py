"""Whether an image keeps to its recipe's budget, and to what firmware can carry."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuilder.budget import Budget
from imagebuilder.image import INITRD, KERNEL, ROOTFS, Image
from imagebuilder.sizes import human_size, size_of
from imagebuilder.smoke.machine import SLOWNESS
from imagebuilder.smoke.report import BootReport, BudgetResult, MemoryNeed
from imagebuilder.smoke.subject import Subject, subject_of

_BOOTED = (KERNEL, INITRD, ROOTFS)

# TFTP numbers blocks with 16 bits (RFC 1350); the largest block that fits into a packet on
# Ethernet has 1468 bytes: 1500 without the headers of IP, UDP and TFTP (RFC 2348).  What comes
# after block 65535 no RFC says: some begin again at 0, some at 1, some give up.
_TFTP_LIMIT = 65535 * 1468
# The header of a bzImage (Linux, Documentation/arch/x86/boot.rst): its magic, the highest address
# that an initrd may have, where the kernel would like to be, and how much room it needs there.
_MAGIC, _MAGIC_AT = b"HdrS", 0x202
_ADDRESS_MAX_AT, _PREFERRED_AT, _ROOM_AT = 0x22C, 0x258, 0x260
_FOUR_GIB = 1 << 32  # https://github.com/ipxe/ipxe/issues/526: an initrd of that size comes cut


def sizes_of(image: Image | Subject) -> dict[str, int]:
    """Return the bytes of an image's kernel, initrd and rootfs, by the files' common names."""
    return dict(subject_of(image).sizes)


def judge(
    budget: Budget, image: Image | Subject, boots: Sequence[BootReport], memory: MemoryNeed | None
) -> tuple[BudgetResult, ...]:
    """Compare an image with what it may cost.

    Args:
        budget: the recipe's; what it does not limit is not judged.
        image: the image.
        boots: the last boot over each path.
        memory: the memory that it needs, if that was found out.
    """
    sizes = sizes_of(image)
    wanted = (
        ("image", budget.image, sum(sizes.values())),
        ("initrd", budget.initrd, sizes.get(INITRD, 0)),
        ("rootfs", budget.rootfs, sizes.get(ROOTFS, 0)),
    )
    found = [_result(what, size_of(limit), size, "bytes") for what, limit, size in wanted if limit]
    if budget.memory_mib is not None:
        mib = memory.mib if memory else None
        found.append(_result("memory", budget.memory_mib, mib, "MiB"))
    if budget.boot_seconds is not None:
        found += (
            _result(
                f"boot {boot.name}",
                budget.boot_seconds * SLOWNESS[boot.accelerator.used],
                boot.seconds_to_multi_user,
                "s",
            )
            for boot in boots
        )
    return tuple(found)


def growth(
    budget: Budget, now: Mapping[str, int], before: Mapping[str, int], than: str
) -> tuple[BudgetResult, ...]:
    """Compare an image's sizes with those of a release.

    Args:
        budget: says how much larger they may be; if it does not, nothing is exceeded.
        now: the bytes of the image's files, by name.
        before: those of the release.
        than: the release, for people.
    """
    pairs = [
        (
            "image",
            sum(now.get(name, 0) for name in _BOOTED),
            sum(before.get(n, 0) for n in _BOOTED),
        ),
        ("initrd", now.get(INITRD, 0), before.get(INITRD, 0)),
        ("rootfs", now.get(ROOTFS, 0), before.get(ROOTFS, 0)),
    ]
    found: list[BudgetResult] = []
    for what, size, was in pairs:
        if not was:
            continue
        percent = round((size - was) / was * 100, 1)
        is_larger = size > was
        limit = budget.growth_percent
        text = (
            f"{what} is {abs(percent):g} % {'larger' if is_larger else 'smaller'} than {than}: "
            f"{human_size(size)}, {human_size(was)} before"
            if size != was
            else f"{what} is as large as {than}: {human_size(size)}"
        )
        # Compared as bytes: the per cent are rounded.
        exceeded = limit is not None and size > was * (1 + limit / 100)
        if exceeded:
            text += f"; {limit:g} % are allowed"
        found.append(
            BudgetResult(
                what=f"growth of {what}",
                limit=limit,
                measured=percent,
                unit="%",
                outcome="exceeded" if exceeded else "kept" if limit is not None else "noted",
                message=text,
            )
        )
    return tuple(found)


def warnings(image: Image | Subject) -> tuple[str, ...]:
    """Return what firmware and boot loaders may not carry of an image."""
    sizes = sizes_of(image)
    found = [
        f"{name} has {human_size(sizes[name])}: more than {human_size(_TFTP_LIMIT)} are more than "
        "65535 of TFTP's blocks, after which not every firmware and server goes on; serve it by "
        "HTTP"
        for name in (KERNEL, INITRD)
        if sizes.get(name, 0) > _TFTP_LIMIT
    ]
    initrd, room = sizes.get(INITRD, 0), _room_for_initrd(subject_of(image).local(KERNEL))
    if initrd >= _FOUR_GIB:
        found.append(f"{INITRD} has {human_size(initrd)}: boot loaders cut off what 4 GiB are not")
    elif room is not None and initrd > room:
        found.append(
            f"{INITRD} has {human_size(initrd)}, and machines with a BIOS have room for "
            f"{human_size(room)} below the address that the kernel allows for it"
        )
    return tuple(found)


def _room_for_initrd(kernel: Path | None) -> int | None:
    """Return the bytes between the kernel's own room and the highest address for an initrd."""
    if kernel is None:
        return None
    try:
        with kernel.open("rb") as file:
            header = file.read(0x270)
    except OSError:
        return None
    if header[_MAGIC_AT : _MAGIC_AT + 4] != _MAGIC or len(header) < _ROOM_AT + 4:
        return None
    (address_max,) = struct.unpack_from("<I", header, _ADDRESS_MAX_AT)
    (preferred,) = struct.unpack_from("<Q", header, _PREFERRED_AT)
    (room,) = struct.unpack_from("<I", header, _ROOM_AT)
    left: int = address_max + 1 - preferred - room
    return max(left, 0)


def _result(what: str, limit: float, measured: float | None, unit: str) -> BudgetResult:
    if measured is None:
        missing = "test --find-memory finds out" if unit == "MiB" else "it did not come so far"
        text = f"{what}: at most {_shown(limit, unit)}; not measured: {missing}"
        outcome = "not-measured"
    else:
        exceeded = measured > limit
        than = "more than" if exceeded else "of"
        text = f"{what}: {_shown(measured, unit)} {than} {_shown(limit, unit)}"
        outcome = "exceeded" if exceeded else "kept"
    return BudgetResult.model_validate(
        {
            "what": what,
            "limit": limit,
            "measured": measured,
            "unit": unit,
            "outcome": outcome,
            "message": text,
        }
    )


def _shown(value: float, unit: str) -> str:
    return human_size(value) if unit == "bytes" else f"{value:g} {unit}"
