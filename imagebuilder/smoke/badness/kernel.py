"""Lines of the kernel: panics, faults, what it cannot mount or unpack."""

from __future__ import annotations

from imagebuilder.smoke.badness.kinds import EARLIER_LINES, MORE_MEMORY, Badness, bad

# Of RCU, on which everything in the kernel waits sooner or later: it is told again and again, with
# the number of what has not come to its end since (Linux, Documentation/RCU/stallwarn.rst).  A busy
# host makes it be told once; see Console.
STALLED = bad(
    "fatal",
    r"rcu_\w+ kthread starved for \d+ jiffies! (g\d+)",
    "programs take all processors: for more than a minute the kernel has got none for itself",
    "look for what runs with realtime priority (CPUSchedulingPolicy=, chrt)",
)

_FIRST_PROCESS_FIX = "look at the lines before it: a library or /sbin/init is missing or broken"
_DAMAGED = "rootfs.squashfs is damaged or cut short: build again"

KERNEL: tuple[Badness, ...] = (
    bad(
        "fatal",
        r"ommand line: .*\broot=live:\S+ .*\broot=((?!live:)\S+)",
        "the image's kernel arguments override its root with root={1}",
        "remove that argument from [kernel] args of the recipe, or from the kickstart's bootloader",
    ),
    bad(
        "warn",
        r"ommand line: .*\b(?<!\.)((?:rd)?init=\S+)",
        "the kernel's arguments name a first program of their own: {1}",
        "look at [kernel] args of the recipe",
    ),
    bad(
        "fatal",
        r"Kernel panic - not syncing: VFS: Unable to mount root",
        "the kernel found no initrd that it could unpack, and has no root file system of its own",
        "look whether initrd.img is whole, compressed in a way that the kernel knows, and has an "
        "/init; rdinit= in [kernel] args can hide it",
        follows=True,
    ),
    bad(
        "fatal",
        r"check access for rdinit=(\S+) failed",
        "the initrd has no {1} to run",
        "look whether initrd.img is whole, and at rdinit= in [kernel] args",
    ),
    bad(
        "fatal",
        r"Requested init (\S+) failed",
        "the kernel's argument init= names {1}, which cannot be run",
        "look at init= in [kernel] args",
    ),
    bad(
        "fatal",
        r"Kernel panic - not syncing: No working init found",
        "the kernel found no first process that it could run",
        "look whether the initrd has /init and its libraries are for this architecture",
    ),
    # The status is that of wait(2); 127 is what the dynamic loader, and a shell, end with.
    bad(
        "fatal",
        r"Attempted to kill init! exitcode=0x00007f00",
        "the first process of the guest ended, since a program or library was missing (exit status "
        "127), so the kernel gave up",
        _FIRST_PROCESS_FIX,
        follows=True,
    ),
    bad(
        "fatal",
        r"Attempted to kill init! exitcode=0x00000000",
        "the first process of the guest ended by itself, without an error, so the kernel gave up",
        _FIRST_PROCESS_FIX,
        follows=True,
    ),
    bad(
        "fatal",
        r"Attempted to kill init! exitcode=0x0000([0-9a-f]{2})00",
        "the first process of the guest ended with exit status 0x{1}, so the kernel gave up",
        _FIRST_PROCESS_FIX,
        follows=True,
    ),
    bad(
        "fatal",
        r"Attempted to kill init! exitcode=0x000000[08]4",
        "the first process of the guest met an instruction that the processor does not have, so "
        "the kernel gave up",
        "the image's programs are for a newer processor than the test's machine has",
        follows=True,
    ),
    bad(
        "fatal",
        r"Attempted to kill init! exitcode=0x000000([0-9a-f]{2})",
        "the first process of the guest was ended by signal 0x{1}, so the kernel gave up",
        _FIRST_PROCESS_FIX,
        follows=True,
    ),
    bad(
        "fatal",
        r"Kernel panic - not syncing: Attempted to kill init",
        "the first process of the guest ended, so the kernel gave up",
        _FIRST_PROCESS_FIX,
        follows=True,
    ),
    bad(
        "warn",
        r"Fatal glibc error: CPU does not support (x86-64-v\d)",
        "the image's programs need a processor of the level {1}",
        "the test's machine, and each machine of the fleet, must have one",
    ),
    bad(
        "warn",
        r"error while loading shared libraries: (\S+): ",
        "a program cannot run, since the library {1} is missing or broken",
        "look at what the image's scripts removed; install the library's package again",
    ),
    bad(
        "fatal",
        r"Kernel panic - not syncing: (?:System is deadlocked on memory|Out of memory)",
        "the guest has too little memory for this image",
        MORE_MEMORY,
    ),
    bad(
        "fatal",
        r"Kernel panic - not syncing:? ?(.*?)(?: \]---)?$",
        "the kernel panicked: {1}",
        EARLIER_LINES,
    ),
    bad(
        "fatal",
        r"(?:Initramfs unpacking failed|RAMDISK: .*(?:error|incomplete write)): ?(.*)",
        "the kernel could not unpack the initrd: {1}",
        "look whether initrd.img is whole, and raise memory_mib in [smoke] if it is",
    ),
    bad(
        "fatal",
        r"initrd extends beyond end of memory|Not enough memory for initrd|disabling initrd",
        "the initrd does not fit into the guest's memory",
        MORE_MEMORY,
    ),
    bad(
        "fatal",
        r"SQUASHFS error: ((?!.*compression).*)",
        "the root file system cannot be read: {1}",
        _DAMAGED,
    ),
    bad(
        "fatal",
        r"[Ff]ilesystem uses \"?(\w+)\"? compression. This is not supported",
        "this kernel cannot read a rootfs that is compressed with {1}",
        "choose another compression in the recipe's [image] table",
    ),
    bad(
        "fatal",
        r"erofs: .*unidentified algorithms",
        "this kernel cannot read an EROFS that is compressed in this way",
        "choose another compression in the recipe's [image] table: lz4",
    ),
    bad(
        "fatal",
        r"softdog: Initiating system reboot",
        "the guest's watchdog restarted it, since nobody fed it",
        "look at what opened /dev/watchdog and then hung",
        follows=True,
    ),
    bad(
        "fatal",
        r"reboot: Restarting system|sysrq: Resetting",
        "the guest restarted itself before the test was done",
        "look at the lines before it for why",
        follows=True,
    ),
    bad(
        "fatal",
        r"reboot: (?:System halted|Power down)",
        "the guest switched itself off before the test was done",
        "look at the lines before it for why",
        follows=True,
    ),
    bad("fatal", r"KVM internal error", "KVM on this host cannot run this guest"),
    bad(
        "warn",
        r"(?:I/O|Buffer I/O) error(?:,| on) dev(?:ice)? (\S+?),? ",
        "a device cannot be read or written: {1}",
        "look whether the root file system is whole",
    ),
    bad(
        "warn",
        r"soft lockup|hard LOCKUP|rcu\w*: .*(?:detected (?:expedited )?stalls?|kthread starved)|"
        r"rcu\w* .*detected stall",
        "a processor was stuck",
        "too little memory (memory_mib in [smoke]), a program with realtime priority, or a host "
        "that is too busy can do this",
    ),
    bad(
        "warn",
        r"INFO: task (\S+?):\d+ blocked for more than",
        "a process hung in the kernel: {1}",
        "as a rule it waits for a device or a server that does not answer",
    ),
    bad("warn", r"\bOops: (.*)|\bOops:? ", "a fault in the kernel"),
    bad("warn", r"\bBUG: (.*)", "a bug in the kernel: {1}"),
    bad("warn", r"general protection fault", "a program or the kernel broke the rules of memory"),
    bad("warn", r"(\S+)\[\d+\]: segfault at ", "a program crashed: {1}"),
    bad(
        "warn",
        r"[Oo]ut of [Mm]emory: Kill\w* process \d+ \((.*?)\)|Memory cgroup out of memory|"
        r"oom-kill:(?:.*\btask=(.*?),pid=)?",
        "the guest ran out of memory and the kernel killed a process: {1}",
        MORE_MEMORY,
    ),
    bad(
        "warn",
        r"invoked oom-killer",
        "the guest ran out of memory",
        MORE_MEMORY,
    ),
    bad(
        "warn",
        r"overlayfs: (upper fs .*|failed to .*upper.*|.*not supported as upperdir.*)",
        "the overlay over the root is not as it should be: {1}",
    ),
    bad(
        "warn",
        r"(\w+): (?:disagrees about version of symbol|version magic .* should be|Unknown symbol)",
        "the module {1} was made for another kernel",
        "kernel, initrd and root file system must come from the same build",
    ),
    bad(
        "warn",
        r"Module (\w+) is blacklisted|(\w+): module verification failed",
        "the kernel does not take the module {1}",
    ),
)
