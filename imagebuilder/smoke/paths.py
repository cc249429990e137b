"""The ways from power-on to an image's kernel, and what this host must have for each."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.command import run
from imagebuilder.errors import HostError, InputError
from imagebuilder.image import BOOT_SCRIPT, INITRD, KERNEL
from imagebuilder.recipe import BootPathName, SmokeOptions
from imagebuilder.smoke.firmware import find_ipxe, find_uefi
from imagebuilder.smoke.network import FIRST_SCRIPT, SHIM
from imagebuilder.smoke.secure import find_loaders

QEMU = "qemu-system-x86_64"
ALL = "all"  # in the place of a boot path's name: each of them


@dataclass(frozen=True, slots=True, kw_only=True)
class BootPath:
    """A way from power-on to the image's kernel.

    Attributes:
        name: what recipes and reports call it.
        title: for people.
        machine: QEMU's arguments for the board and its firmware.
        rom: the file of QEMU that boots from the network; "" if none does.
        uefi: whether the firmware is UEFI; else it is SeaBIOS.
        secure: whether it has Secure Boot: then shim and GRUB load the kernel, by TFTP.
        over_http: whether the firmware itself fetches iPXE, over HTTP.
        fetches: what the machine asks the server of the test for before its kernel runs.
    """

    name: BootPathName
    title: str
    machine: tuple[str, ...]
    rom: str = ""
    uefi: bool = False
    secure: bool = False
    over_http: bool = False
    fetches: tuple[str, ...] = ()

    @property
    def from_network(self) -> bool:
        """Whether the machine gets its kernel from the network, as the fleet's do."""
        return self.secure or KERNEL in self.fetches

    @property
    def bootfile(self) -> str:
        """What the machine fetches first, if that is by TFTP."""
        return SHIM if self.secure else FIRST_SCRIPT


_ALL_OF_IT = (BOOT_SCRIPT, KERNEL, INITRD)

BOOT_PATHS: dict[BootPathName, BootPath] = {
    each.name: each
    for each in (
        BootPath(
            name="kernel", title="kernel and initrd given to QEMU", machine=("-machine", "q35")
        ),
        BootPath(
            name="pxe-bios",
            title="PXE through iPXE, BIOS",
            # graphics=off has SeaBIOS and iPXE speak on the serial port as well.
            machine=("-machine", "q35,graphics=off"),
            rom="pxe-virtio.rom",
            fetches=_ALL_OF_IT,
        ),
        BootPath(
            name="pxe-uefi",
            title="PXE through iPXE, UEFI",
            machine=("-machine", "q35,smm=off"),
            rom="efi-virtio.rom",
            uefi=True,
            fetches=_ALL_OF_IT,
        ),
        BootPath(
            name="pxe-secure",
            title="PXE through shim and GRUB, UEFI with Secure Boot",
            # As OVMF's README has it for builds that need SMM.
            machine=(
                *("-machine", "q35,smm=on"),
                *("-global", "driver=cfi.pflash01,property=secure,value=on"),
                *("-global", "ICH9-LPC.disable_s3=1"),
            ),
            uefi=True,
            secure=True,
        ),
        BootPath(
            name="uefi-http",
            title="UEFI HTTP boot, then iPXE",
            # The firmware would try PXE for a minute before (OvmfPkg's names for fw_cfg).
            machine=(
                *("-machine", "q35,smm=off"),
                *("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"),
                *("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"),
            ),
            uefi=True,
            over_http=True,
            fetches=_ALL_OF_IT,
        ),
    )
}


def known_paths(names: Iterable[str]) -> tuple[BootPathName, ...]:
    """Return the boot paths of these names, each once; ``all`` stands for all that there are.

    Raises:
        InputError: there is none of such a name.
    """
    chosen: dict[BootPathName, None] = {}
    for name in names:
        found = [each for each in BOOT_PATHS if name in (each, ALL)]
        if not found:
            raise InputError(
                f"there is no boot path {name!r}", fix=f"known are: {', '.join(BOOT_PATHS)}, {ALL}"
            )
        chosen |= dict.fromkeys(found)
    return tuple(chosen)


def over_paths(options: SmokeOptions, names: Sequence[str]) -> SmokeOptions:
    """Return the options with other boot paths; without names, as they are.

    Raises:
        InputError: as :func:`known_paths`.
    """
    return options.model_copy(update={"paths": known_paths(names)}) if names else options


def find_tools(paths: Iterable[BootPath]) -> None:
    """See that QEMU is there with what boot paths need.

    Raises:
        HostError: it is not.
    """
    if not shutil.which(QEMU):
        raise HostError(
            f"{QEMU} is not installed", fix="install it: qemu-system-x86 on Debian and Ubuntu"
        )
    said = run([QEMU, "-L", "help"], timeout=20, what="ask QEMU for its folders").stdout
    folders = [Path(folder) for folder in said.split("\n") if folder]
    for path in paths:
        if path.rom and not any((folder / path.rom).exists() for folder in folders):
            raise HostError(
                f"QEMU has no {path.rom}, so its guests cannot boot from the network ({path.name})",
                fix="install iPXE for QEMU: ipxe-qemu on Debian and Ubuntu",
            )
        if path.uefi:
            find_uefi(secure=path.secure)
        if path.secure:
            find_loaders()
        if path.over_http:
            find_ipxe()
