"""What a machine with Secure Boot loads: shim, GRUB, and what GRUB reads; all by TFTP.

The firmware takes a program that a key of its own has signed: the distribution's shim.  That one
takes what the distribution has signed: GRUB, and by way of it the kernel.  No distribution has an
iPXE that is signed, so the image's boot script is not run, and GRUB is told what it says.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import HostError
from imagebuilder.image import INITRD, KERNEL
from imagebuilder.smoke.network import GRUB, GRUB_CONFIG, SHIM

# As Debian and Ubuntu have them.  GRUB for the network: the one for disks looks for a disk.
_SHIM = Path("/usr/lib/shim/shimx64.efi.signed")
_GRUB = Path("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed")
_PACKAGES = {_SHIM: "shim-signed", _GRUB: "grub-efi-amd64-signed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaders:
    """Signed boot loaders of this host.

    Attributes:
        shim: signed for firmware as machines are sold with it.
        grub: signed for that shim.
    """

    shim: Path
    grub: Path


def find_loaders() -> Loaders:
    """Return the signed boot loaders of this host.

    Raises:
        HostError: it has none.
    """
    for path, package in _PACKAGES.items():
        if not path.exists():
            raise HostError(
                f"there is no {path}, so that nothing can boot with Secure Boot",
                fix=f"install it: {package} on Debian and Ubuntu",
            )
    return Loaders(shim=_SHIM, grub=_GRUB)


def put(folder: Path, kernel: Path, initrd: Path, args: str) -> None:
    """Put into a folder what TFTP is to give out.

    Args:
        folder: the one that TFTP gives out.
        kernel: the kernel.
        initrd: the initramfs archives, one after the other.
        args: the kernel's command line.

    Raises:
        HostError: there are no signed boot loaders.
    """
    loaders = find_loaders()
    shutil.copyfile(loaders.shim, folder / SHIM)
    shutil.copyfile(loaders.grub, folder / GRUB)
    shutil.copyfile(kernel, folder / KERNEL)
    shutil.copyfile(initrd, folder / INITRD)
    config = folder / GRUB_CONFIG
    config.parent.mkdir()
    config.write_text(configuration(args))


def configuration(args: str) -> str:
    """Return GRUB's configuration; a machine whose kernel GRUB refuses switches itself off.

    Files are looked for where GRUB itself came from.
    """
    words = " ".join(_quoted(word) for word in args.split())
    return f"""\
if linux /{KERNEL} {words}; then
    if initrd /{INITRD}; then
        boot
    fi
fi
echo 'imagebuilder: GRUB could not load the kernel'
sleep 1
halt
"""


def _quoted(word: str) -> str:
    """Write a word so that GRUB's shell takes each sign of it as it is."""
    return "'" + word.replace("'", "'\\''") + "'"
