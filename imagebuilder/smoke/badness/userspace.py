"""Lines of the image's systemd and what it starts."""

from __future__ import annotations

from imagebuilder.smoke.badness.kinds import EARLIER_LINES, Badness, bad

USERSPACE: tuple[Badness, ...] = (
    bad(
        "fatal",
        r"Freezing execution|Failed to allocate manager object|Caught <(\w+)>, dumped core",
        "systemd gave up",
        EARLIER_LINES,
        follows=True,
    ),
    bad(
        "fatal",
        r"\] Failed to execute (\S+)|No (/sbin/init), trying fallback",
        "systemd cannot run {1} of the root file system",
        "look whether it is there with its libraries, and at init= in [kernel] args",
    ),
    bad(
        "fatal",
        r"Failed to isolate default target|Failed to load configuration for default target|"
        r"Failed to (?:load|start) default target(?!.*trying)",
        "systemd cannot start the image's default target",
        "look whether default.target is there and not masked: systemctl set-default multi-user."
        "target",
    ),
    bad(
        "fatal",
        r"[Ff]ailed to load default target,? trying fallback|Trying to load rescue target",
        "the image's default target is missing or masked",
        "set it in the image: systemctl set-default multi-user.target",
    ),
    bad(
        "fatal",
        r"Cannot open access to console, the root account is locked|Give root password for",
        "the boot ended in a rescue shell",
        EARLIER_LINES,
        follows=True,
    ),
    bad(
        "warn",
        r"[Oo]rdering cycle|Job \S+ deleted to break ordering cycle",
        "units wait for each other in a circle, so systemd left one out",
        "look at After= and Before= of the units that the line names",
    ),
    bad(
        "warn",
        r"(\S+): Start request repeated too quickly|start-limit-hit",
        "a unit crashed again and again, and is not started any more: {1}",
        "look at its log: systemctl status and journalctl -u in the guest",
    ),
    bad(
        "warn",
        r"(\S+): Scheduled restart job, restart counter is at (?:[3-9]|\d\d)",
        "a unit crashes again and again: {1}",
        "look at its log: systemctl status and journalctl -u in the guest",
    ),
    bad(
        "warn",
        r"Failed to start (.*?)\.?$",
        "a unit failed: {1}",
    ),
    # Not sysroot: dracut 059 says so in every live boot with overlayfs, and mounts it after.
    bad("warn", r"Failed to mount (?!sysroot)(?:\S+ - )?(.*?)\.?$", "a mount failed: {1}"),
    bad("warn", r"Dependency failed for (?:\S+ - )?(.*?)\.?$", "not started: {1}"),
    bad("warn", r"Timed out waiting for device +(?:- )?(.*?)\.?$", "a device never came: {1}"),
    bad(
        "warn",
        r"No space left on device(?! \(http)",  # iPXE has its link after it, if on the next line
        "the guest's root has no room left",
        "the overlay over the root lies in memory: raise memory_mib in [smoke], or write less",
    ),
    bad(
        "warn",
        r"Read-only file system",
        "the guest's root is read-only",
        "look at the kernel arguments: rd.live.overlay.overlayfs=1 and rd.overlay=1 make it "
        "writable",
    ),
)
