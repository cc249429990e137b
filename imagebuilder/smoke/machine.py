"""The virtual machine that an image is tested in: QEMU's command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke.firmware import find_uefi
from imagebuilder.smoke.guest import PORT_NAME
from imagebuilder.smoke.network import Wiring, quoted
from imagebuilder.smoke.paths import QEMU, BootPath
from imagebuilder.smoke.report import Accelerator

ARCH = "x86_64"  # of the machine, and of the images that it boots

# Linux's user space for each level of the x86-64 psABI, on QEMU's own emulation.  Without
# svm and vmx, since a guest that loads KVM hangs there; without cx16, since QEMU 7.2 emulates
# cmpxchg16b in a way that kernels from 6.8 on panic over.
TCG_CPU_MODELS = {"v1": "qemu64,-svm,-cx16", "v2": "Nehalem,-cx16", "v3": "Haswell,-cx16"}

SLOWNESS = {"kvm": 1.0, "tcg": 5.0}  # by what time limits are multiplied (SmokeOptions)

_TRANSLATION_MIB = 1024  # QEMU's cache of translated code: a quarter off the boot time
_SMALL_TRANSLATION_MIB = 256
_SPARE_MIB = 1024  # of the host's memory, to be left to others


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What QEMU itself puts into the guest's memory, in the place of a boot loader.

    Attributes:
        kernel: the kernel.
        initrd: the initramfs archives, one after the other.
        args: the kernel's command line.
    """

    kernel: Path
    initrd: Path
    args: str


# What is added to the image's own kernel arguments: talk on the serial port, and end at once
# when there is nothing more to hope for (QEMU ends with the guest, for -no-reboot).  rd.retry
# is a third of dracut's own: DHCP and HTTP answer at once here, or never.
EXTRA_ARGS = (
    "console=ttyS0,115200",
    "loglevel=6",
    "systemd.show_status=1",
    "plymouth.enable=0",
    "rd.shell=0",
    "rd.emergency=poweroff",
    "rd.retry=60",
    "panic=-1",
)


def accelerator_args(accelerator: Accelerator, translation_mib: int) -> list[str]:
    """Return QEMU's arguments for the processor."""
    how = "kvm" if accelerator.used == "kvm" else f"tcg,tb-size={translation_mib}"
    return ["-accel", how, "-cpu", accelerator.cpu_model]


def translation_mib(options: SmokeOptions, available_mib: int) -> int:
    """Return how much memory QEMU may use for translated code on a host with so much free."""
    enough = options.memory_mib + _TRANSLATION_MIB + _SPARE_MIB
    return _TRANSLATION_MIB if available_mib >= enough else _SMALL_TRANSLATION_MIB


def available_mib() -> int:
    """Return how much memory the host can give, in MiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def first_script(wiring: Wiring, script: str, smoke_archive: str) -> str:
    """Return the script that TFTP gives out: settings, then on to the image's own script.

    Args:
        wiring: the machine's network.
        script: the path of the image's script.
        smoke_archive: the path of the test's own initramfs archive.
    """
    return f"""#!ipxe
set base {wiring.files_url}
set extra-args {" ".join(extra_args(wiring))}
set extra-initrd {wiring.files_url}{smoke_archive}
chain {wiring.files_url}{quote(script)}
"""


def extra_args(wiring: Wiring) -> tuple[str, ...]:
    """Return the kernel arguments that a test adds to the image's own."""
    return (*EXTRA_ARGS, *wiring.args)


def qemu_argv(
    path: BootPath,
    accelerator: Accelerator,
    options: SmokeOptions,
    *,
    wiring: Wiring,
    results: Path,
    scratch: Path,
    loaded: Loaded | None = None,
) -> list[str]:
    """Return the command line of the machine.

    Args:
        path: how it boots.
        accelerator: what runs its processors.
        options: its size.
        wiring: its network.
        results: the file that the virtio-serial port writes to.
        scratch: a folder for what the machine writes.
        loaded: what QEMU loads, if the machine does not boot from the network.

    Raises:
        HostError: there is no firmware for the path.
    """
    translation = translation_mib(options, available_mib())
    cards = [
        word
        for number, card in enumerate(wiring.cards)
        for word in card.argv(boots=path.from_network and number == 0, rom=bool(path.rom))
    ]
    return [
        QEMU,
        "-nodefaults",
        "-no-user-config",
        *path.machine,
        *(find_uefi(secure=path.secure).argv(scratch) if path.uefi else ()),
        *(_loading(loaded) if loaded else ()),
        *accelerator_args(accelerator, translation),
        "-smp",
        str(options.cpus),
        "-m",
        str(options.memory_mib),
        "-display",
        "none",
        "-no-reboot",
        "-serial",
        "stdio",
        *cards,
        "-device",
        "virtio-rng-pci",
        "-device",
        "virtio-serial-pci",
        "-chardev",
        f"file,id=results,path={quoted(results)}",
        "-device",
        f"virtserialport,chardev=results,name={PORT_NAME}",
    ]


def _loading(loaded: Loaded) -> tuple[str, ...]:
    return (
        *("-kernel", str(loaded.kernel)),
        *("-initrd", str(loaded.initrd)),
        *("-append", loaded.args),
    )
