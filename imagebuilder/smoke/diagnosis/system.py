"""From the kernel's first line to the end of the checks."""

from __future__ import annotations

from imagebuilder.image import ROOTFS, ROOTFS_NAMES
from imagebuilder.smoke.diagnosis.words import address_story, before_that, how_much
from imagebuilder.smoke.report import Failure
from imagebuilder.smoke.stages import (
    CHECKS_DONE,
    FETCHED,
    MULTI_USER,
    ROOT_SWITCHED,
    SYSTEMD_STARTED,
)
from imagebuilder.smoke.watch import Boot

_SLOW_FIX = "raise boot_timeout in the recipe's [smoke] table if it was only slow"


def no_root(boot: Boot) -> Failure | None:
    """The root file system was not fetched."""
    if FETCHED[ROOTFS] in boot.stages or SYSTEMD_STARTED in boot.stages:
        return None
    if boot.fatal and not boot.fatal_follows:
        return None
    said = f" (on the console: {boot.fatal.meaning})" if boot.fatal else _waits(boot)
    asked = next((each.name for each in boot.transfers if each.name in ROOTFS_NAMES), "")
    if asked:
        return Failure(
            what=f"the initrd did not get the whole root file system{how_much(boot, asked)}{said}"
            + before_that(boot),
            fix="raise memory_mib in the recipe's [smoke] table if the guest has no room for it, "
            "boot_timeout if it was only slow",
            excerpt=boot.excerpt,
        )
    if boot.fatal and "dracut waited" not in boot.fatal.meaning:
        return None
    story = address_story(boot, "initrd", "the initrd") or "it got an address by DHCP"
    return Failure(
        what="the kernel started, but its initrd had not asked for the root file system "
        f"{boot.seconds:.0f} s after power-on: {story}{said}{before_that(boot)}",
        fix="look whether the initrd has dracut's livenet and dmsquash-live, curl, a DHCP client "
        f"and a driver for the network card (virtio_net), and the kernel ip=dhcp; {_SLOW_FIX}",
        excerpt=boot.excerpt,
    )


def not_switched(boot: Boot) -> Failure | None:
    """The runner was not started by the image's systemd."""
    if SYSTEMD_STARTED in boot.stages or boot.fatal:
        return None
    fix = (
        "look whether the image has virtio_console (the report comes over virtio-serial), dracut "
        "with its hooks, systemd, base64 and grep"
    )
    if boot.reached_login:
        return Failure(
            what="the image came up, but the test's runner in it reported nothing"
            + before_that(boot),
            fix=fix,
            excerpt=boot.excerpt,
        )
    what = (
        "the root was switched, but the image's systemd had not started the test's runner"
        if ROOT_SWITCHED in boot.stages
        else "the root file system was fetched, but the initrd had not handed over to it"
    )
    return Failure(
        what=f"{what} {boot.seconds:.0f} s after power-on{_waits(boot)}{before_that(boot)}",
        fix=f"see the console for what dracut or systemd says; {_SLOW_FIX}; {fix}",
        excerpt=boot.excerpt,
    )


def target_not_reached(boot: Boot) -> Failure | None:
    """Systemd is done, or waits."""
    if MULTI_USER in boot.stages or boot.fatal:
        return None
    for said in reversed(boot.said):
        if said.word == "settled":
            state, units = said.texts
            return Failure(
                what=f"systemd is done (it is {state}) but did not reach multi-user.target"
                + before_that(boot),
                fix="look at the failed units, and whether the default target brings in "
                "multi-user.target",
                excerpt=units or boot.excerpt,
            )
        if said.word == "jobs" and said.texts[0]:
            names = [line.split()[1] for line in said.texts[0].splitlines() if _is_running(line)]
            what = f"multi-user.target was not reached {boot.seconds:.0f} s after power-on"
            waits = f"; systemd waits for {', '.join(names[:5])}" if names else _waits(boot)
            return Failure(
                what=what + waits + before_that(boot),
                fix="look at these units; raise boot_timeout in the recipe's [smoke] table if "
                "they are only slow",
                excerpt=said.texts[0],
            )
    return None


def _is_running(job: str) -> bool:
    fields = job.split()
    return len(fields) >= 4 and fields[-1] == "running"


def _waits(boot: Boot) -> str:
    return f"; systemd waited for {boot.waits_for}" if boot.waits_for else ""


def after_reaching(boot: Boot) -> Failure:
    """Say what is left to say."""
    if boot.ending == "exited":
        what = "the guest switched itself off before the test was done"
    elif boot.ending == "still":
        what = f"the guest hung: nothing moved, {boot.seconds:.0f} s after power-on"
    elif MULTI_USER in boot.stages and CHECKS_DONE not in boot.stages:
        what = "the checks did not come to their end: the guest hung, or the runner was ended"
    else:
        what = (
            f"multi-user.target was not reached {boot.seconds:.0f} s after power-on{_waits(boot)}"
        )
    return Failure(what=what + before_that(boot), fix="see the console", excerpt=boot.excerpt)
