"""What lines of a console tell of trouble: of firmware, kernel, dracut and systemd."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Badness:
    """A kind of line that tells of trouble.

    Attributes:
        pattern: what the line has in it.
        severity: ``fatal``: the guest will not come further, the test ends; ``warn``: listed.
        meaning: what it means, in plain words; ``{1}`` stands for the pattern's first group.
        fix: what the reader can do.
        follows: it says that something failed before, not what: a line that names a cause is
            the better diagnosis, even if it reaches the console later.  Several processes
            write there (dracut's queue through the journal), so the order is not to be relied on.
    """

    pattern: re.Pattern[str]
    severity: Literal["fatal", "warn"]
    meaning: str
    fix: str = ""
    follows: bool = False


def _bad(
    severity: Literal["fatal", "warn"],
    pattern: str,
    meaning: str,
    fix: str = "",
    *,
    follows: bool = False,
) -> Badness:
    return Badness(
        pattern=re.compile(pattern), severity=severity, meaning=meaning, fix=fix, follows=follows
    )


_LIVE_FIX = (
    "the initrd needs dracut's live modules: on Debian install dracut-live and dracut-network "
    "in the image and have dracut add livenet and dmsquash-live"
)
_INITRD_FIX = "see the console for what came before; build again if the initrd was replaced by hand"

# A line takes the first entry that matches.  The first fatal line that names a cause is the
# diagnosis; one that only follows from it (``follows``) is, where no other comes.
BADNESS: tuple[Badness, ...] = (
    _bad(
        "fatal",
        r"ommand line: .*\broot=live:\S+ .*\broot=((?!live:)\S+)",
        "the image's kernel arguments override its root with root={1}",
        "remove that argument from [kernel] args of the recipe, or from the kickstart's bootloader",
    ),
    _bad(
        "fatal",
        r"Don't know how to handle 'root=(live:\S*?)'",
        "the initrd cannot boot a live image: no dracut module takes root={1}",
        _LIVE_FIX,
    ),
    _bad(
        "fatal",
        r"Don't know how to handle 'root=(.*?)'",
        "the initrd knows no way to mount root={1}",
        "look at the image's kernel arguments: one of them overrides the root",
    ),
    _bad(
        "fatal",
        r"imagebuilder: (the root file system (?:is (?:not there|refused|cut short|longer|another)|"
        r"has no |cannot be fetched).*)",
        "{1}",
        "look whether the server has the rootfs that the boot script names, and all of it",
    ),
    _bad(
        "fatal",
        r"Kernel panic - not syncing: VFS: Unable to mount root",
        "the kernel found no initrd that it could unpack, and has no root file system of its own",
        "look whether initrd.img is whole and compressed in a way that the kernel knows",
    ),
    _bad(
        "fatal",
        r"Kernel panic - not syncing: Attempted to kill init",
        "the first process of the guest ended, so the kernel gave up",
        "look at the lines before it: a library or /sbin/init is missing or broken",
    ),
    _bad(
        "fatal",
        r"Kernel panic - not syncing: (?:System is deadlocked on memory|Out of memory)",
        "the guest has too little memory for this image",
        "raise memory_mib in the recipe's [smoke] table; the image lies in memory as a whole",
    ),
    _bad("fatal", r"Kernel panic - not syncing:? ?(.*?)(?: \]---)?$", "the kernel panicked: {1}"),
    _bad(
        "fatal",
        r"(?:Initramfs unpacking failed|RAMDISK: .*(?:error|incomplete write)): ?(.*)",
        "the kernel could not unpack the initrd: {1}",
        "look whether initrd.img is whole, and raise memory_mib in [smoke] if it is",
    ),
    _bad(
        "fatal",
        r"SQUASHFS error: (.*)",
        "the root file system cannot be read: {1}",
        "rootfs.squashfs is damaged or cut short: build again",
    ),
    _bad(
        "fatal",
        r"Can't find a valid SQUASHFS superblock|mount: .*(?:squashfs|rootfsbase): wrong fs type",
        "the root file system cannot be mounted: rootfs.squashfs is damaged, cut short or no "
        "squashfs",
        "build again; if it happens again, look at the log of mksquashfs",
    ),
    _bad(
        "fatal",
        r"[Ff]ilesystem uses \"?(\w+)\"? compression. This is not supported",
        "this kernel cannot read a rootfs that is compressed with {1}",
        "choose another compression in the recipe's [image] table",
    ),
    _bad(
        "fatal",
        r"cannot mount live image|Failed to mount block device of live image|"
        r"Failed to find a root filesystem in",
        "dracut got the root file system but cannot mount it",
        "rootfs.squashfs is damaged, or the initrd lacks the squashfs module",
        follows=True,
    ),
    _bad(
        "fatal",
        r"OverlayFS is required but not available",
        "the initrd lacks the overlay module, so the root cannot be made writable",
        _LIVE_FIX,
    ),
    _bad(
        "fatal",
        r"failed to download live image",
        "the initrd could not download the root file system",
        "look whether the initrd has curl and a driver for the network card",
    ),
    _bad(
        "fatal",
        r"dracut: FATAL: (.*)|dracut-\w+\[\d+\]: FATAL: (.*)",
        "dracut gave up: {1}",
        _INITRD_FIX,
    ),
    _bad("fatal", r"dracut: Refusing to continue", "dracut gave up", _INITRD_FIX, follows=True),
    _bad(
        "fatal",
        r"dracut-initqueue\S*:? (?:timeout|starting timeout scripts)|"
        r"dracut-initqueue(?:\[\d+\])?: Warning: dracut-initqueue:? (?:timeout|starting)",
        "dracut waited in vain for the network or for the root file system",
        "look whether the initrd has a driver for the network card, a DHCP client and livenet",
    ),
    _bad(
        "fatal",
        r"Warning: \"?(\S*?)\"? does not exist",
        "dracut waited in vain for {1}",
        _INITRD_FIX,
    ),
    _bad(
        "fatal",
        r"(?:Entering|Starting|You are in) emergency (?:mode|shell)|Generating \"/run/initramfs/",
        "the boot ended in an emergency shell",
        "look at the lines before it: what failed there had to work",
        follows=True,
    ),
    _bad(
        "fatal",
        r"Freezing execution|Failed to allocate manager object",
        "systemd gave up",
        "look at the lines before it",
    ),
    _bad(
        "fatal",
        r"reboot: (?:System halted|Power down|Restarting system)",
        "the guest switched itself off before the test was done",
        "look at the lines before it for why",
        follows=True,
    ),
    _bad("fatal", r"KVM internal error", "KVM on this host cannot run this guest"),
    _bad(
        "warn",
        r"soft lockup|rcu\w* .*detected stall",
        "a processor was stuck",
        "too little memory (memory_mib in [smoke]) or a host that is too busy can do this",
    ),
    _bad("warn", r"\bOops: (.*)|\bOops:? ", "a fault in the kernel"),
    _bad("warn", r"\bBUG: (.*)", "a bug in the kernel: {1}"),
    _bad("warn", r"general protection fault", "a program or the kernel broke the rules of memory"),
    _bad(
        "warn",
        r"[Oo]ut of [Mm]emory: Kill|oom-kill|invoked oom-killer",
        "the guest ran out of memory and the kernel killed a process",
        "raise memory_mib in the recipe's [smoke] table",
    ),
    _bad(
        "warn",
        r"[Oo]rdering cycle|Job \S+ deleted to break ordering cycle",
        "units wait for each other in a circle, so systemd left one out",
        "look at After= and Before= of the units that the line names",
    ),
    _bad("warn", r"Failed to start (?:\S+ - )?(.*?)\.?$", "a unit failed: {1}"),
    # Not sysroot: dracut 059 says so in every live boot with overlayfs, and mounts it after.
    _bad("warn", r"Failed to mount (?!sysroot)(?:\S+ - )?(.*?)\.?$", "a mount failed: {1}"),
    _bad("warn", r"Dependency failed for (?:\S+ - )?(.*?)\.?$", "not started: {1}"),
    _bad("warn", r"Timed out waiting for device (.*?)\.?$", "a device never came: {1}"),
)


def match(line: str) -> tuple[Badness, str] | None:
    """Return the kind of trouble that a line tells of, with its meaning; None if of none."""
    for badness in BADNESS:
        found = badness.pattern.search(line)
        if found:
            group = next((each for each in found.groups() if each), "")
            meaning = badness.meaning.replace("{1}", group.strip() or "it did not say why")
            return badness, meaning
    return None
