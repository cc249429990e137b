"""The stages of a boot, in their order: keys of ``BootReport.stages``."""

from __future__ import annotations

from collections.abc import Mapping

from imagebuilder.image import BOOT_SCRIPT, EROFS, INITRD, KERNEL, ROOTFS

FIRMWARE = "firmware started"
DHCP = "DHCP answered"
FETCHED = {
    BOOT_SCRIPT: "boot script fetched",
    KERNEL: "kernel fetched",
    INITRD: "initrd fetched",
    ROOTFS: "rootfs fetched",
    EROFS: "rootfs fetched",
}
KERNEL_STARTED = "kernel started"
ROOT_SWITCHED = "root switched"
SYSTEMD_STARTED = "systemd of the image started"
MULTI_USER = "multi-user.target"
CHECKS_DONE = "checks done"

POWER_ON = "power-on"  # before any stage

STAGES = (
    FIRMWARE,
    DHCP,
    FETCHED[BOOT_SCRIPT],
    FETCHED[KERNEL],
    FETCHED[INITRD],
    KERNEL_STARTED,
    FETCHED[ROOTFS],
    ROOT_SWITCHED,
    SYSTEMD_STARTED,
    MULTI_USER,
    CHECKS_DONE,
)


def furthest(reached: Mapping[str, float]) -> str:
    """Return the last stage, in the order of a boot, that was reached."""
    return next((stage for stage in reversed(STAGES) if stage in reached), POWER_ON)
