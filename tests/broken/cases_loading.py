"""What breaks before the kernel speaks: firmware, network, boot script, kernel, initrd."""

from __future__ import annotations

import os
import re

from workshop import BOOT_SCRIPT, INITRD, KERNEL, Case, Workshop

from imagebuilder.cpio import Entry, archive
from imagebuilder.smoke.stages import DHCP, FETCHED, FIRMWARE, KERNEL_STARTED, POWER_ON

SCRIPT_THERE, KERNEL_THERE = FETCHED[BOOT_SCRIPT], FETCHED[KERNEL]
INITRD_THERE = FETCHED[INITRD]


def _no_boot_file(image: Workshop) -> None:
    image.argv = lambda argv: [each.replace("bootfile=boot.ipxe", "bootfile=x") for each in argv]


def _no_boot_rom(image: Workshop) -> None:
    image.argv = lambda argv: [
        each.replace(",bootindex=1", ",romfile=") if "netdev=net" in each else each for each in argv
    ]


def _half_kernel(image: Workshop) -> None:
    kernel = image.bytes_of(KERNEL)
    image.replace(KERNEL, kernel[: len(kernel) // 2])


def _rotten_kernel(image: Workshop) -> None:
    kernel = image.bytes_of(KERNEL)
    middle = len(kernel) // 2
    image.replace(KERNEL, kernel[:middle] + os.urandom(1 << 16) + kernel[middle + (1 << 16) :])


def _arm_kernel(image: Workshop) -> None:
    """The header of an arm64 Image (Linux, Documentation/arm64/booting.rst)."""
    header = bytearray(b"MZ" + bytes(62))
    header[56:60] = b"ARM\x64"
    image.replace(KERNEL, bytes(header) + os.urandom(4 << 20))


def _half_initrd(image: Workshop) -> None:
    initrd = image.bytes_of(INITRD)
    image.replace(INITRD, initrd[: len(initrd) // 2])


def _rotten_initrd(image: Workshop) -> None:
    initrd = image.bytes_of(INITRD)
    middle = len(initrd) // 2
    image.replace(INITRD, initrd[:middle] + os.urandom(1 << 16) + initrd[middle + (1 << 16) :])


def _huge_initrd(image: Workshop) -> None:
    big = archive([Entry(path="ballast", content=os.urandom(400 << 20))])
    initrd = image.bytes_of(INITRD)
    image.replace(INITRD, initrd + bytes(-len(initrd) % 512) + big)


def _no_initrd(image: Workshop) -> None:
    image.replace(INITRD, b"")


def _script_without_kernel_file(image: Workshop) -> None:
    image.script("kernel ${base}vmlinuz", "kernel ${base}vmlinuz-6.1")


def _script_without_initrd_file(image: Workshop) -> None:
    image.script("${base}initrd.img", "${base}initrd-6.1.img")


def _garbage_script(image: Workshop) -> None:
    image.replace(BOOT_SCRIPT, b"<html><body>404 not found</body></html>\n")


def _script_that_ends(image: Workshop) -> None:
    text = image.bytes_of(BOOT_SCRIPT).decode()
    image.replace(BOOT_SCRIPT, re.sub(r"\nkernel ", r"\nexit 1\nkernel ", text).encode())


LOADING = (
    Case(
        name="no-boot-rom",
        breaks=_no_boot_rom,
        path="pxe-bios",
        stage=FIRMWARE,
        words="found nothing to boot from",
        at="No bootable device",
        quick=True,
    ),
    Case(
        name="no-dhcp",
        breaks=Workshop.without_network,
        path="pxe-bios",
        stage=FIRMWARE,
        words="no address by DHCP, since it asked for an address by DHCP .* got no answer",
        at="No bootable device|No more network devices",
    ),
    Case(
        name="no-boot-file",
        breaks=_no_boot_file,
        path="pxe-bios",
        stage=DHCP,
        words="x by TFTP|the server has no tftp",
        at="ipxe.org/2",
        quick=True,
    ),
    Case(
        name="garbage-boot-script",
        breaks=_garbage_script,
        path="pxe-bios",
        stage=SCRIPT_THERE,
        words="boot.ipxe is no script of iPXE",
        within=15,
    ),
    Case(
        name="boot-script-ends",
        breaks=_script_that_ends,
        path="pxe-bios",
        stage=SCRIPT_THERE,
        words="boot script ended with status 0x01 before it booted anything",
        at="No bootable device|No more network",
    ),
    Case(
        name="kernel-404",
        breaks=_script_without_kernel_file,
        path="pxe-bios",
        stage=SCRIPT_THERE,
        words="no http://10.0.2.100/vmlinuz-6.1",
        at="ipxe.org/2",
        quick=True,
    ),
    Case(
        name="initrd-404",
        breaks=_script_without_initrd_file,
        path="pxe-bios",
        stage=KERNEL_THERE,
        words="no http://10.0.2.100/initrd-6.1.img",
        at="ipxe.org/2",
    ),
    Case(
        name="kernel-of-another-architecture",
        breaks=_arm_kernel,
        path="pxe-bios",
        stage=KERNEL_THERE,
        words="no kernel for this machine",
        at="ipxe.org/2",
    ),
    Case(
        name="kernel-cut-short",
        breaks=_half_kernel,
        stage=POWER_ON,
        words="restarted itself before its kernel said a word|could not unpack itself",
        within=10,
    ),
    Case(
        name="kernel-rotten",
        breaks=_rotten_kernel,
        path="pxe-bios",
        stage=INITRD_THERE,
        words="could not unpack itself|machine halted before the kernel",
        within=10,
    ),
    Case(
        name="initrd-cut-short",
        breaks=_half_initrd,
        stage=KERNEL_STARTED,
        words="could not unpack the initrd",
        at="unpacking failed",
    ),
    Case(
        name="initrd-rotten",
        breaks=_rotten_initrd,
        stage=KERNEL_STARTED,
        words="could not unpack the initrd",
        at="unpacking failed",
    ),
    Case(
        name="initrd-too-big-for-memory",
        breaks=_huge_initrd,
        path="pxe-bios",
        memory_mib=384,
        stage=KERNEL_THERE,
        words="^iPXE has too little memory",
        at="ipxe.org/",
    ),
    Case(
        name="no-initrd",
        breaks=_no_initrd,
        stage=KERNEL_STARTED,
        words="no initrd that it could unpack|has no /init to run",
        at="Kernel panic|Unable to mount root",
    ),
)
