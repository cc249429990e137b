"""What a machine is given to boot from: files that are served to it, or that QEMU loads itself."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.image import BOOT_SCRIPT, INITRD, KERNEL, script_arguments
from imagebuilder.smoke.firmware import find_ipxe
from imagebuilder.smoke.machine import Loaded, extra_args, first_script
from imagebuilder.smoke.network import EFI_BINARY, FIRST_SCRIPT, START, Wiring
from imagebuilder.smoke.paths import BootPath
from imagebuilder.smoke.secure import put
from imagebuilder.smoke.sources import Served, copy
from imagebuilder.smoke.subject import Subject

_ARCHIVE = "smoke.cpio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a machine is given.

    Attributes:
        served: what is served over HTTP, by path.
        loaded: what QEMU loads, if the machine does not boot from the network.
    """

    served: Mapping[str, Served]
    loaded: Loaded | None = None


def prepare(
    subject: Subject, path: BootPath, wiring: Wiring, carried: bytes, scratch: Path
) -> Prepared:
    """Put together what a machine boots from; what TFTP gives out is put into its folder.

    Args:
        subject: what is booted.
        path: how it boots.
        wiring: the machine's network.
        carried: an initramfs archive, which the machine gets beside the subject's own.
        scratch: a folder for what has to be written.

    Raises:
        HostError: there is no iPXE, or no boot loader, for the path.
        InputError: the boot script cannot be taken apart, and the path needs that.
    """
    start = wiring.tftp / FIRST_SCRIPT
    start.write_text(first_script(wiring, subject.script, _ARCHIVE))
    archive = scratch / _ARCHIVE
    # Compressed, since a kernel looks for one that is not at multiples of four bytes only,
    # and on UEFI it puts the archives together without regard to that.
    archive.write_bytes(gzip.compress(carried, mtime=0))
    served = {**subject.files, _ARCHIVE: Served(name=_ARCHIVE, source=archive)}
    if subject.text:
        script = scratch / "script"
        script.write_text(subject.text)
        served[subject.script] = Served(name=BOOT_SCRIPT, source=script)
    if path.over_http:
        served[START] = Served(name=START, source=start)
        served[EFI_BINARY] = Served(name=EFI_BINARY, source=find_ipxe())
    if path.from_network and not path.secure:
        return Prepared(served=served)
    loaded = _load(served, subject, archive, wiring, scratch)
    if path.secure:
        put(wiring.tftp, loaded.kernel, loaded.initrd, loaded.args)
    return Prepared(served=served, loaded=None if path.from_network else loaded)


def _load(
    served: Mapping[str, Served], subject: Subject, archive: Path, wiring: Wiring, scratch: Path
) -> Loaded:
    """Put together what the boot script would load, for a machine that does not run it."""
    initrd, script = scratch / INITRD, scratch / "script"
    copy(subject.served(INITRD), initrd)
    with initrd.open("ab") as file, archive.open("rb") as source:
        shutil.copyfileobj(source, file)
    if not subject.text:
        copy(served[subject.script], script)
    kernel = subject.local(KERNEL)
    if kernel is None:
        kernel = scratch / KERNEL
        copy(subject.served(KERNEL), kernel)
    settings = {"base": wiring.files_url, "extra-args": " ".join(extra_args(wiring))}
    args = script_arguments(script.read_text(), settings)
    return Loaded(kernel=kernel, initrd=initrd, args=args)
