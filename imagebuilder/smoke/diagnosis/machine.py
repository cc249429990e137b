"""What the machine itself shows: QEMU's end, and what its monitor told."""

from __future__ import annotations

from imagebuilder.smoke.diagnosis.words import address_story, before_that, quoted, told_before
from imagebuilder.smoke.report import Failure
from imagebuilder.smoke.stages import DHCP, KERNEL_STARTED
from imagebuilder.smoke.watch import Boot

_LAST_LINES = 10

# Reasons of SHUTDOWN (QEMU QMP Reference Manual, ShutdownCause).
_CAUSES = {
    "guest-reset": "the guest restarted itself",
    "guest-shutdown": "the guest switched itself off",
    "guest-panic": "the guest's kernel panicked",
    "subsystem-reset": "the guest reset a part of the machine",
}


def killed(boot: Boot) -> Failure | None:
    """QEMU was ended by a signal."""
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


def refused(boot: Boot) -> Failure | None:
    """QEMU did not run the machine."""
    if not boot.exit_status:
        return None
    what = f"QEMU could not run the machine (exit status {boot.exit_status})"
    return Failure(what=_with_words(what, boot), excerpt=boot.qemu_said)


def _with_words(what: str, boot: Boot) -> str:
    words = boot.qemu_said.strip().splitlines()
    return f"{what}: {words[-1].strip()}" if words else what


def fatal_line(boot: Boot) -> Failure | None:
    """The console said why."""
    if not boot.fatal:
        return None
    earlier = _earlier(boot) if boot.fatal_follows else ""
    then = f"{earlier}; then " if earlier else ""
    # What our own hooks write is its own meaning.
    line = "" if boot.fatal.meaning in boot.fatal.line else quoted(boot.fatal.line)
    meaning = boot.fatal.meaning
    if boot.handed_over:
        # The initrd runs systemd where the root has it, and the kernel's arguments name no other.
        named = any(" init=" in each.meaning for each in boot.findings)
        who = "the first process of the root file system" + ("" if named else " (systemd)")
        meaning = meaning.replace("the first process of the guest", who)
    return Failure(
        what=f"{then}{meaning}" + (f" (on the console: {line})" if line else ""),
        fix=boot.fatal.fix,
        excerpt=boot.excerpt or "\n".join(boot.screen[-_LAST_LINES:]),
    )


def _earlier(boot: Boot) -> str:
    told = told_before(boot)
    if DHCP in boot.stages or KERNEL_STARTED in boot.stages:
        return told
    # What it asked for is seen in its packets.
    seen = address_story(boot, "firmware", "it") if boot.packets else ""
    return ", since ".join(each for each in (told, seen) if each)


def told_by_monitor(boot: Boot) -> Failure | None:
    """The machine told that it cannot go on, or that the guest ended it."""
    details = next((each.data for each in boot.events if each.name == "SHUTDOWN"), {})
    match boot.ending:
        case "panicked":
            what, fix = "the guest's kernel panicked", "see the console"
        case "watchdog":
            what = "the guest hung: nobody fed its watchdog"
            fix = "see the console for what it did last"
        case "stopped":
            what = "QEMU stopped the machine, which cannot go on"
            fix = "see qemu.log; under KVM, try --accel tcg"
        case "halted":
            where = "" if KERNEL_STARTED in boot.stages else " before the kernel said a word"
            what = f"the machine halted{where}"
            if boot.screen:
                what += f"; on its screen: {boot.screen[-1].strip()}"
            fix = "see its screen; a kernel or initrd that is damaged ends so"
        case "exited" if details:
            reason = str(details.get("reason", ""))
            what = _CAUSES.get(reason, f"the machine was ended ({reason})")
            if KERNEL_STARTED in boot.stages:
                what += " before the test was done"
                fix = "see the console for why"
            else:
                what += " before its kernel said a word"
                fix = "look whether vmlinuz is whole, and a kernel for x86-64"
        case _:
            return None
    excerpt = boot.excerpt or "\n".join(boot.screen[-_LAST_LINES:])
    return Failure(what=what + before_that(boot), fix=fix, excerpt=excerpt)


def flood(boot: Boot) -> Failure | None:
    """The guest wrote more than anybody keeps."""
    if boot.ending != "flood":
        return None
    return Failure(
        what="the guest wrote without end, so it was ended",
        fix="look at the console for what repeats",
        excerpt=boot.excerpt,
    )
