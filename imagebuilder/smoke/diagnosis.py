"""Why a boot failed, as one sentence that a person understands, from what was seen of it."""

from __future__ import annotations

import re
from collections.abc import Callable

from imagebuilder.image import BOOT_SCRIPT, INITRD, KERNEL, ROOTFS
from imagebuilder.smoke.report import Failure
from imagebuilder.smoke.stages import (
    CHECKS_DONE,
    FETCHED,
    KERNEL_STARTED,
    MULTI_USER,
    SYSTEMD_STARTED,
)
from imagebuilder.smoke.watch import Boot

_MIB = 1 << 20
_QUOTE_LIMIT = 160  # characters of the console in a sentence
_TIME = re.compile(r"^\[ *\d+\.\d+\] ")


def diagnose(boot: Boot) -> Failure | None:
    """Return why a boot did not come to its end; None if it did."""
    if boot.ending == "done":
        return None
    for opinion in _OPINIONS:
        failure = opinion(boot)
        if failure:
            return failure
    return _after_reaching(boot)


def _killed(boot: Boot) -> Failure | None:
    if boot.exit_status is None or boot.exit_status >= 0:
        return None
    fix = ""
    if boot.exit_status == -9:
        fix = (
            "something killed it: if the host ran out of memory (dmesg says so), lower memory_mib "
            "in the recipe's [smoke] table or run fewer tests at once"
        )
    what = f"QEMU was ended by signal {-boot.exit_status}"
    return Failure(what=_with_words(what, boot), fix=fix, excerpt=boot.excerpt)


def _refused(boot: Boot) -> Failure | None:
    if not boot.exit_status:
        return None
    what = f"QEMU could not run the machine (exit status {boot.exit_status})"
    return Failure(what=_with_words(what, boot), excerpt=boot.qemu_said)


def _with_words(what: str, boot: Boot) -> str:
    words = boot.qemu_said.strip().splitlines()
    return f"{what}: {words[-1].strip()}" if words else what


def _missing(boot: Boot) -> Failure | None:
    if boot.ending != "missing":
        return None
    names = [each.name for each in boot.transfers if each.status == 404 and each.name in FETCHED]
    return Failure(
        what=f"{names[0]} was asked for, and the image has no such file",
        fix="build the image again",
        excerpt=boot.excerpt,
    )


def _fatal_line(boot: Boot) -> Failure | None:
    if not boot.fatal:
        return None
    line = _TIME.sub("", boot.fatal.line)
    return Failure(
        what=f"{boot.fatal.meaning} (on the console: {line[:_QUOTE_LIMIT]})",
        fix=boot.fatal.fix,
        excerpt=boot.excerpt,
    )


def _flood(boot: Boot) -> Failure | None:
    if boot.ending != "flood":
        return None
    return Failure(
        what="the guest wrote without end, so it was ended",
        fix="look at the console for what repeats",
        excerpt=boot.excerpt,
    )


def _not_from_network(boot: Boot) -> Failure | None:
    if BOOT_SCRIPT not in boot.path.fetches or FETCHED[BOOT_SCRIPT] in boot.stages:
        return None
    return Failure(
        what=f"the machine never asked for the boot script within {boot.seconds:.0f} s: its "
        "firmware, or iPXE in it, did not boot from the network",
        fix="see the console for what the firmware says; look at the versions of QEMU and its "
        "iPXE ROMs: imagebuilder doctor",
        excerpt=boot.excerpt,
    )


def _not_fetched(boot: Boot) -> Failure | None:
    for name, what in ((KERNEL, "the kernel"), (INITRD, "the initrd")):
        if name in boot.path.fetches and FETCHED[name] not in boot.stages:
            return Failure(
                what=f"iPXE ran the boot script but {what} did not arrive{_how_much(boot, name)}",
                fix="see the console for what iPXE says",
                excerpt=boot.excerpt,
            )
    return None


def _kernel_silent(boot: Boot) -> Failure | None:
    if KERNEL_STARTED in boot.stages:
        return None
    return Failure(
        what="kernel and initrd were loaded, but the kernel said nothing",
        fix="look whether vmlinuz is a kernel for x86-64 with a serial console, and whether "
        "kernel and initrd fit into memory_mib of the recipe's [smoke] table",
        excerpt=boot.excerpt,
    )


def _no_root(boot: Boot) -> Failure | None:
    if FETCHED[ROOTFS] in boot.stages:
        return None
    if any(each.name == ROOTFS for each in boot.transfers):
        return Failure(
            what=f"the initrd did not get the whole root file system{_how_much(boot, ROOTFS)}",
            fix="raise memory_mib in the recipe's [smoke] table if the guest has no room for it, "
            "boot_timeout if it was only slow",
            excerpt=boot.excerpt,
        )
    return Failure(
        what="the kernel started, but its initrd had not asked for the root file system "
        f"{boot.seconds:.0f} s after power-on",
        fix="look whether the initrd has dracut's livenet and dmsquash-live, curl, a DHCP client "
        "and a driver for the network card (virtio_net); raise boot_timeout in the recipe's "
        "[smoke] table if it was only slow",
        excerpt=boot.excerpt,
    )


def _how_much(boot: Boot, name: str) -> str:
    best = max(
        (each for each in boot.transfers if each.name == name),
        key=lambda each: each.sent,
        default=None,
    )
    if best is None:
        return ": it was never asked for"
    return f": {best.sent / _MIB:.1f} of {best.wanted / _MIB:.1f} MiB of {name} were sent"


def _not_switched(boot: Boot) -> Failure | None:
    if SYSTEMD_STARTED in boot.stages:
        return None
    fix = (
        "look whether the image has virtio_console (the report comes over virtio-serial), dracut "
        "with its hooks, systemd, base64 and grep"
    )
    if boot.reached_login:
        return Failure(
            what="the image came up, but the test's runner in it reported nothing",
            fix=fix,
            excerpt=boot.excerpt,
        )
    return Failure(
        what="the root file system was fetched, but its systemd had not started the test's runner "
        f"{boot.seconds:.0f} s after power-on",
        fix="see the console for what dracut or systemd says; raise boot_timeout in the recipe's "
        f"[smoke] table if it was only slow; {fix}",
        excerpt=boot.excerpt,
    )


def _target_not_reached(boot: Boot) -> Failure | None:
    if MULTI_USER in boot.stages:
        return None
    for said in reversed(boot.said):
        if said.word == "settled":
            state, units = said.texts
            return Failure(
                what=f"systemd is done (it is {state}) but did not reach multi-user.target",
                fix="look at the failed units, and whether the default target brings in "
                "multi-user.target",
                excerpt=units or boot.excerpt,
            )
        if said.word == "jobs" and said.texts[0]:
            names = [line.split()[1] for line in said.texts[0].splitlines() if _is_running(line)]
            what = f"multi-user.target was not reached within {boot.limit:.0f} s"
            waits = f"; systemd waits for {', '.join(names[:5])}" if names else ""
            return Failure(
                what=what + waits,
                fix="look at these units; raise boot_timeout in the recipe's [smoke] table if "
                "they are only slow",
                excerpt=said.texts[0],
            )
    return None


def _is_running(job: str) -> bool:
    fields = job.split()
    return len(fields) >= 4 and fields[-1] == "running"


def _after_reaching(boot: Boot) -> Failure:
    if boot.ending == "exited":
        what = "the guest switched itself off before the test was done"
    elif boot.ending == "still":
        what = f"the guest hung: nothing moved, {boot.seconds:.0f} s after power-on"
    elif MULTI_USER in boot.stages and CHECKS_DONE not in boot.stages:
        what = "the checks did not come to their end: the guest hung, or the runner was ended"
    else:
        what = f"multi-user.target was not reached within {boot.limit:.0f} s"
    return Failure(what=what, fix="see the console", excerpt=boot.excerpt)


# In this order: what the host, then the guest's own words, then its silence tell.
_OPINIONS: tuple[Callable[[Boot], Failure | None], ...] = (
    _killed,
    _refused,
    _missing,
    _fatal_line,
    _flood,
    _not_from_network,
    _not_fetched,
    _kernel_silent,
    _no_root,
    _not_switched,
    _target_not_reached,
)
