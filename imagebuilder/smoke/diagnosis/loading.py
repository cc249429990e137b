"""From power-on to the kernel's first line: what the firmware asked for, and what it got."""

from __future__ import annotations

from imagebuilder.image import BOOT_SCRIPT, INITRD, KERNEL
from imagebuilder.smoke.diagnosis.words import address_story, asked_in_vain, how_much
from imagebuilder.smoke.report import Failure
from imagebuilder.smoke.stages import FETCHED, KERNEL_STARTED, furthest
from imagebuilder.smoke.stages import STAGES as ORDER
from imagebuilder.smoke.watch import Boot


def missing(boot: Boot) -> Failure | None:
    """A file of the image was asked for, and is not there."""
    if boot.ending != "missing":
        return None
    names = [each.name for each in boot.transfers if each.status == 404 and each.name in FETCHED]
    return Failure(
        what=f"{names[0]} was asked for, and the image has no such file",
        fix="build the image again",
        excerpt=boot.excerpt,
    )


def cut(boot: Boot) -> Failure | None:
    """The server of a file ends it too early, and always at the same byte."""
    if boot.ending != "cut":
        return None
    last = next(each for each in reversed(boot.transfers) if each.cut)
    end, size = last.first + last.sent, last.first + last.wanted
    return Failure(
        what=f"{last.name} is cut short: its server ended each transfer after {end} of {size} "
        "bytes",
        fix="look whether that server, and each proxy before it, has the whole file",
        excerpt=boot.excerpt,
    )


def not_from_network(boot: Boot) -> Failure | None:
    """The boot script never arrived."""
    if BOOT_SCRIPT not in boot.path.fetches or _came_beyond(boot, FETCHED[BOOT_SCRIPT]):
        return None
    story = address_story(boot, "firmware", "its firmware")
    if boot.packets and story:
        return Failure(
            what=f"the machine did not boot from the network: {story}",
            fix="look whether a DHCP server answers there and names a boot file that the TFTP "
            "server has",
            excerpt=boot.excerpt,
        )
    return Failure(
        what=f"the machine never asked for the boot script within {boot.seconds:.0f} s: its "
        "firmware, or iPXE in it, did not boot from the network",
        fix="see the console for what the firmware says; look at the versions of QEMU and its "
        "iPXE ROMs: imagebuilder doctor",
        excerpt=boot.excerpt,
    )


def no_script(boot: Boot) -> Failure | None:
    """What came for the boot script is something else."""
    if boot.ending != "no-script":
        return None
    begin = next(each.begin for each in boot.transfers if each.name == BOOT_SCRIPT and each.whole)
    return Failure(
        what=f"{BOOT_SCRIPT} is no script of iPXE, which hung when it ran it: its begin is "
        f"{begin.decode('ascii', errors='backslashreplace')!r}",
        fix="look at what the server has there: it must begin with #!ipxe",
        excerpt=boot.excerpt,
    )


def not_fetched(boot: Boot) -> Failure | None:
    """The boot script came, and not all that it names."""
    for name, what in ((KERNEL, "the kernel"), (INITRD, "the initrd")):
        if name in boot.path.fetches and not _came_beyond(boot, FETCHED[name]):
            return Failure(
                what=f"iPXE ran the boot script but {what} did not arrive{how_much(boot, name)}",
                fix="see the console for what iPXE says",
                excerpt=boot.excerpt,
            )
    return None


def kernel_silent(boot: Boot) -> Failure | None:
    """Everything was loaded, and no line of a kernel came."""
    if _came_beyond(boot, KERNEL_STARTED):
        return None
    return Failure(
        what="kernel and initrd were loaded, but the kernel said nothing" + asked_in_vain(boot),
        fix="look whether vmlinuz is a kernel for x86-64 with a serial console, and whether "
        "kernel and initrd fit into memory_mib of the recipe's [smoke] table",
        excerpt=boot.excerpt or "\n".join(boot.screen),
    )


def _came_beyond(boot: Boot, stage: str) -> bool:
    """Whether a stage was reached, or one after it: a kernel may speak on another console."""
    reached = furthest(boot.stages)
    return reached in ORDER and ORDER.index(reached) >= ORDER.index(stage)
