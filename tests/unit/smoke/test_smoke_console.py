from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.smoke.badness import BADNESS, match
from imagebuilder.smoke.console import Console, plain

FATAL = {
    "dracut: FATAL: Don't know how to handle 'root=live:http://10.0.2.100/rootfs.squashfs'": (
        "cannot boot a live image"
    ),
    "dracut: FATAL: Don't know how to handle 'root=/dev/sda1'": "root=/dev/sda1",
    "[   17.020562] dracut: Refusing to continue": "gave up",
    "[    1.425956] Initramfs unpacking failed: invalid magic at start of compressed archive": (
        "unpack the initrd: invalid magic"
    ),
    "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)": "no initrd",
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00007f00": (
        "since a program or library was missing (exit status 127)"
    ),
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000": "without an error",
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100": "exit status 0x01",
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000004": "an instruction",
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b": "signal 0x0b",
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000008b": "signal 0x8b",
    "crc error": "unpack itself: crc error",
    "Kernel panic - not syncing: System is deadlocked on memory": "too little memory",
    "Kernel panic - not syncing: Fatal exception in interrupt": "Fatal exception in interrupt",
    "dracut-initqueue[570]: mount: /run/initramfs/squashfs: wrong fs type, bad option": "damaged",
    "SQUASHFS error: Unable to read inode 0x1234": "Unable to read inode",
    'squashfs: SQUASHFS error: Filesystem uses "lz4" compression. This is not supported': "",
    "erofs: (device loop0): z_erofs_parse_cfgs: unidentified algorithms 8, please upgrade kernel": (
        "cannot read an EROFS"
    ),
    "dracut: FATAL: Failed to find a root filesystem in /tmp/curl_fetch_url0/rootfs.squashfs.": (
        "cannot mount it"
    ),
    "dracut-initqueue[359]: Warning: dracut-initqueue: timeout, still waiting for following": (
        "waited in vain"
    ),
    "dracut-initqueue[359]: Warning: dracut-initqueue: starting timeout scripts": "waited in vain",
    "dracut-initqueue[300]: Warning: failed to download live image: error 22": "download",
    'Warning: "/dev/mapper/live-rw" does not exist': "/dev/mapper/live-rw",
    "You are in emergency mode. After logging in, type": "emergency",
    "reboot: System halted": "switched itself off",
    "[!!!!!!] Failed to allocate manager object, freezing.": "systemd gave up",
    "Kernel command line: root=live:http://10.0.2.100/r ip=dhcp root=/dev/sda1 quiet": (
        "root=/dev/sda1"
    ),
    "imagebuilder: the initrd has no modules for the kernel 6.1; has: 5.10": "has: 5.10",
    "[   12.7] imagebuilder: the guest has no room in memory for the test's runner": "no room in",
    "imagebuilder: the initrd has no driver for the machine's network card": "no driver for",
    "/sbin/dhclient-script: line 1: dhclient: not found": "lacks the program dhclient",
    "mount: /run/initramfs/squashfs: wrong fs type, bad option, bad superblock on , missing": (
        "no loop device"
    ),
    "imagebuilder: the root file system has no os-release, so it is taken for no system": "no os-",
    "imagebuilder: the root file system has no /sbin/init that can be run": "has no /sbin/init",
    "imagebuilder: the root file system has no /nope that can be run, which the kernel's": "/nope",
    "[FAILED] Failed to start initrd-switch-root.service - Switch Root.": "cannot hand over",
    "[!!!!!!] Failed to isolate default target.": "cannot start the image's default target",
    "[  !!  ] Failed to execute /sbin/init": "cannot run /sbin/init of",
    "[    9.1] imagebuilder: the test's runner finds no virtio-serial port": "virtio-serial",
    "mount: /run/rootfsbase: unknown filesystem type 'squashfs'.": "module for squashfs",
    "curl: (23) Failure writing output to destination": "no room in memory",
    "Failed to switch root: Switch root path '/sysroot' does not seem to be an OS tree.": (
        "os-release"
    ),
    "[    0.5] initrd extends beyond end of memory, disabling initrd": "does not fit",
    "sysrq: Resetting": "restarted itself",
    "reboot: Restarting system": "restarted itself",
    "softdog: Initiating system reboot": "watchdog restarted it",
    "ZSTD-compressed data is corrupt": "unpack itself: ZSTD",
    "No bootable device.": "nothing to boot from",
    "BdsDxe: No bootable option or device was found.": "nothing to boot from",
    "error: file `/vmlinuz' not found.": "GRUB: file",
    "Failed to load default target, trying fallback": "default target",
}
WARN = {
    "[FAILED] Failed to start nginx.service - A high performance web server.": "web server",
    "[DEPEND] Dependency failed for srv.mount - /srv.": "/srv",
    "systemd[1]: a.service: Found ordering cycle on b.service/start": "circle",
    "Out of memory: Killed process 812 (python3) total-vm:1234kB": "ran out of memory",
    "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [swapper/1:0]": "was stuck",
    "[   96.638858] rcu: INFO: rcu_preempt self-detected stall on CPU": "was stuck",
    "BUG: unable to handle page fault for address: ffffb0": "bug in the kernel",
    "traps: bash[77] general protection fault ip:55d5": "memory",
    "INFO: task touch:123 blocked for more than 120 seconds.": "hung in the kernel: touch",
    "[   30.1] I/O error, dev loop0, sector 8 op 0x0:(READ)": "loop0",
    "systemd[1]: a.service: Start request repeated too quickly.": "again and again",
    "overlayfs: upper fs does not support tmpfile.": "upper fs does not",
    "nvme: disagrees about version of symbol module_layout": "another kernel",
    "modprobe: FATAL: Module virtio_net not found in directory /lib/modules/6.1": "virtio_net",
    "cp: error writing '/etc/x': No space left on device": "no room",
    "touch: cannot touch '/x': Read-only file system": "read-only",
    "bash: arping: command not found": "missing: arping",
    "Kernel command line: root=live:x rdinit=/nope quiet": "rdinit=/nope",
    "imagebuilder: the root file system has no default.target, so systemd": "no default.target",
    "Could not boot: Error 0x00000001 (http://ipxe.org/00000001)": "ended with status 0x01",
    "Configuring (net0 52:54:00:77:01:00)....... No configuration methodssucceeded "
    "(http://ipxe.org/040ee119)": "no address by DHCP",
    "No configuration methods succeeded (http://ipxe.org/040ee119)": "no address by DHCP",
    "Could not boot: Exec format error (http://ipxe.org/2e008081)": "cannot run what it fetched",
    "vmlinuz... Not enough space (http://ipxe.org/34012006)": "too little memory",
    "Connection timed out (http://ipxe.org/4c0a6092)": "lost its connection",
    "Permission denied (http://ipxe.org/0216eb8f)": "iPXE: Permission denied",
    "http://10.0.2.100/initrd.img... No space left on device (http://ipxe.org/34182006)": (
        "iPXE has too little memory"
    ),
    "Fatal glibc error: CPU does not support x86-64-v2": "of the level x86-64-v2",
    "Oops: 0002 [#1] PREEMPT SMP NOPTI": "fault in the kernel",
    "[ TIME ] Timed out waiting for device dev-sdb1.device - /dev/sdb1.": "dev-sdb1",
    "[ TIME ] Timed out waiting for device  - /dev/disk/by-uuid/0000-0000.": "came: /dev/disk/by-",
}
HARMLESS = [
    "[Link status: Unknown (http://ipxe.org/1a086194)]",
    "Waiting for link-up on net0... ok",
    "Command line: initrd=initrd.img rd.systemd.unit=x BOOT_IMAGE=/vmlinuz console=ttyS0",
    "Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)",
    "Kernel command line: initrd=initrd.img root=live:http://10.0.2.100/rootfs.squashfs quiet",
    "[FAILED] Failed to mount sysroot.mount - /sysroot.",
    "[  OK  ] Started systemd-oomd.service - Userspace Out-Of-Memory (OOM) Killer.",
    "rcu: Hierarchical RCU implementation.",
    "[    0.0] DEBUG: nothing",
    "dracut-initqueue[464]: RTNETLINK answers: File exists",
    "[  OK  ] Finished dracut-initqueue.service - dracut initqueue hook.",
    "[  OK  ] Stopped target emergency.target - Emergency Mode.",
]


@pytest.mark.parametrize("line", FATAL)
def test_what_ends_a_boot(line: str) -> None:
    found = match(line)
    assert found
    assert found[0].severity == "fatal"
    assert FATAL[line] in found[1]


@pytest.mark.parametrize("line", WARN)
def test_what_is_listed(line: str) -> None:
    found = match(line)
    assert found
    assert found[0].severity == "warn"
    assert WARN[line] in found[1]


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_harmless(line: str) -> None:
    assert match(line) is None


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        (
            "[FAILED] Failed to start initrd-switch-root.service - Switch Root.",
            "the initrd cannot hand over to the root file system",
        ),
        ("grub rescue> ", "GRUB"),
        ("Kernel panic - not syncing:", "the kernel panicked"),
        (
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=tail,pid=401,uid=0",
            "the guest ran out of memory and the kernel killed a process: tail",
        ),
        (
            "[   41.2] Out of memory: Killed process 401 (tail) total-vm:1858kB, anon-rss:1512kB",
            "the guest ran out of memory and the kernel killed a process: tail",
        ),
        (
            "Memory cgroup out of memory",
            "the guest ran out of memory and the kernel killed a process",
        ),
    ],
)
def test_what_is_not_said_is_left_out(line: str, meaning: str) -> None:
    found = match(line)
    assert found
    assert found[1] == meaning


def test_every_meaning_can_be_filled_in() -> None:
    for badness in BADNESS:
        assert "{1}" not in badness.meaning or badness.pattern.groups
        assert badness.severity == "warn" or badness.meaning


def test_plain() -> None:
    assert list(plain("\x1b[0;1;31mFAILED\x1b[0m] a\x07b")) == ["FAILED] a b"]
    assert list(plain("\x1b]3008;start=x\x1b\\text\r")) == ["text"]
    assert list(plain("one\r\rtwo\r")) == ["one", "two"]
    assert list(plain("trig…[0m - Coldplug")) == ["trig… - Coldplug"]
    assert list(plain("device \x1b[0;1;…dev-ttyS0")) == ["device dev-ttyS0"]
    assert list(plain("\x1b[2J \r\r")) == []


def test_the_log_has_times_and_the_findings_what_matters(tmp_path: Path) -> None:
    now = 0.0
    with Console(tmp_path / "console.log", lambda: now) as console:
        for number, line in enumerate(
            [
                "iPXE",
                "[    0.000000] Linux version 6.1",
                *["[FAILED] Failed to start a.service - A."] * 3,
                "Kernel panic - not syncing: Fatal exception",
                "Call Trace:",
                "---[ end Kernel panic - not syncing: Fatal exception ]---",
                *(f"after {n}" for n in range(50)),
            ]
        ):
            now = number * 1.5
            console.take(f"\x1b[1m{line}\x1b[0m\r")
    assert console.stages == {"firmware started": 0.0, "kernel started": 1.5}
    assert [finding.severity for finding in console.findings] == ["warn", "fatal"]
    assert console.fatal
    assert console.fatal.line == "Kernel panic - not syncing: Fatal exception"
    assert "Call Trace" in console.excerpt()
    assert "Failed to start" in console.excerpt()
    lines = (tmp_path / "console.log").read_text().splitlines()
    assert lines[1] == "    1.50  [    0.000000] Linux version 6.1"


MOUNT_FAILED = "dracut-initqueue[574]: mount: /run/initramfs/squashfs: wrong fs type, bad option"
WHAT_FOLLOWS = (
    "[   30.197379] dracut: FATAL: Failed to find a root filesystem in /tmp/x/rootfs.squashfs.",
    "[   30.197892] dracut: Refusing to continue",
    "[   31.077227] reboot: System halted",
)


@pytest.mark.parametrize("place", range(len(WHAT_FOLLOWS) + 1))
def test_the_cause_is_the_diagnosis_wherever_it_reaches_the_console(
    tmp_path: Path, place: int
) -> None:
    lines = [*WHAT_FOLLOWS[:place], MOUNT_FAILED, *WHAT_FOLLOWS[place:]]
    with Console(tmp_path / "console.log", lambda: 30.0) as console:
        for line in lines:
            console.take(line)
    assert console.fatal
    assert "cannot be mounted" in console.fatal.meaning
    assert len([finding for finding in console.findings if finding.severity == "fatal"]) == 4


def test_without_a_cause_the_first_of_what_follows_is_the_diagnosis(tmp_path: Path) -> None:
    with Console(tmp_path / "console.log", lambda: 30.0) as console:
        for line in WHAT_FOLLOWS:
            console.take(line)
    assert console.fatal
    assert "dracut got the root file system" in console.fatal.meaning


def test_a_flood_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagebuilder.smoke.console._LOG_LIMIT", 1000)
    with Console(tmp_path / "console.log", lambda: 0.0) as console:
        for _ in range(1000):
            console.take("x" * 100)
            console.take("Failed to start " + "y" * 100)
        assert console.flooded
    assert (tmp_path / "console.log").stat().st_size < 3000


def test_lines_that_firmware_broke_are_joined(tmp_path: Path) -> None:
    lines = [
        "http://10.0.2.100/vmlinuz-6.1... No such file or directory (http://ipxe.org/2d0c",
        "613b)",
        "base 0123456789abcdef: could not be loaded from http://10.0.2.100/",
    ]
    with Console(tmp_path / "console.log", lambda: 5.0) as console:
        for line in lines:
            console.take(line)
    assert [each.meaning for each in console.findings] == [
        "iPXE: the server has no http://10.0.2.100/vmlinuz-6.1",
        "the image's boot script could not load it from http://10.0.2.100/",
    ]
    assert console.fatal_follows, "what iPXE said is the cause"


def test_an_initrd_that_does_not_fit_is_no_root_that_is_full(tmp_path: Path) -> None:
    lines = [
        "http://10.0.2.100/initrd.img... No space left on device (http://ipxe.org/3418200",
        "6)",
        "base 8bac5ab50dae3c22: could not be loaded from http://10.0.2.100/",
    ]
    with Console(tmp_path / "console.log", lambda: 5.0) as console:
        for line in lines:
            console.take(line)
    assert [each.meaning for each in console.findings] == [
        "iPXE has too little memory for kernel and initrd",
        "the image's boot script could not load it from http://10.0.2.100/",
    ]


def test_what_stands_on_the_screen_is_searched_as_well(tmp_path: Path) -> None:
    with Console(tmp_path / "console.log", lambda: 5.0) as console:
        console.take_screen(["Decompressing Linux...", "XZ-compressed data is corrupt"])
    assert console.fatal
    assert console.fatal.meaning == (
        "the kernel could not unpack itself: XZ-compressed data is corrupt"
    )
    assert not (tmp_path / "console.log").read_text()


@pytest.mark.parametrize(
    ("line", "waits_for"),
    [
        ("[*     ] (1 of 2) Job a.service/start running (6s / 7min 32s)", "a.service"),
        (
            "[ ***  ] A start job is running for dracut pre-mount hook (5s / no limit)",
            "dracut pre-",
        ),
        ("[  OK  ] Started a.service - A (second / first).", ""),
    ],
)
def test_what_systemd_waits_for_is_kept(tmp_path: Path, line: str, waits_for: str) -> None:
    with Console(tmp_path / "console.log", lambda: 5.0) as console:
        console.take(line)
        assert console.waits_for.startswith(waits_for)
        assert bool(console.waits_for) == bool(waits_for)
        console.take("[  OK  ] Finished b.service - B.")
    assert console.waits_for == "", "it goes on"


@pytest.mark.parametrize(
    "line",
    [
        "         Starting initrd-switch-root.service - Switch Root...",
        "[   28.1] systemd[1]: Switching root.",
        "dracut: Switching root",
    ],
)
def test_the_last_step_of_the_initrd_is_seen(tmp_path: Path, line: str) -> None:
    with Console(tmp_path / "console.log", lambda: 5.0) as console:
        console.take("[    0.000000] Linux version 6.1")
        console.take("[  OK  ] Reached target initrd-switch-root.target - Switch Root.")
        assert not console.handed_over
        console.take(line)
        assert console.handed_over


def test_a_stall_that_goes_on_ends_a_boot_and_one_that_does_not_is_listed(tmp_path: Path) -> None:
    now = 0.0
    with Console(tmp_path / "console.log", lambda: now) as console:
        for now, period in ((30.0, 5), (60.0, 7), (95.0, 9), (119.0, 7)):
            console.take(
                f"[{now:5.1f}] rcu: rcu_preempt kthread starved for 56028 jiffies! g{period} f0x0 "
                "RCU_GP_WAIT_FQS(5) ->state=0x0 ->cpu=1"
            )
        assert console.fatal is None
        assert [each.meaning for each in console.findings] == ["a processor was stuck"]
        now = 121.0
        console.take("[121.0] rcu: rcu_preempt kthread starved for 9 jiffies! g7 f0x0 ->state=0x0")
    assert console.fatal
    assert console.fatal.meaning.startswith("programs take all processors")


def test_a_job_that_began_and_is_not_over_is_waited_for(tmp_path: Path) -> None:
    lines = [
        "         Starting systemd-udevd.ser…ger for Device Events and Files...",
        "[  OK  ] Started systemd-udevd.serv…nager for Device Events and Files.",
        "         Starting dracut-initqueue.…ice - dracut initqueue hook...",
        "         Starting systemd-tmpfiles-…te System Files and Directories...",
        "[  OK  ] Finished dracut-initqueue.…rvice - dracut initqueue hook.",
        "[FAILED] Failed to start systemd-tm…te System Files and Directories.",
        "         Starting hung.service...",
        "[  OK  ] Finished hung.service.",
    ]
    with Console(tmp_path / "console.log", lambda: 5.0) as console:
        for line in lines:
            console.take(line)
        assert console.waits_for == ""
        console.take("         Starting dracut-pre-mount.…ice - dracut pre-mount hook...")
        assert console.waits_for == "dracut-pre-mount.…ice - dracut pre-mount hook"
        console.take("[ *** ] Job a.service/start running (6s / 7min 32s)")
        assert console.waits_for == "a.service"
        console.take("[    0.000000] Linux version 6.1")
        console.take("[  OK  ] Reached target a.target - A.")
        console.take("Welcome to Debian GNU/Linux 12 (bookworm)!")
        assert console.waits_for == ""


def test_a_job_that_is_waited_for_is_kept_once(tmp_path: Path) -> None:
    now = 0.0
    job = "A start job is running for"
    with Console(tmp_path / "console.log", lambda: now) as console:
        for now in range(1, 9):
            console.take(f"\r\x1b[K[*  ] {job} dracut pre-mount hook ({now}s / no limit)")
        assert (console.last_line, console.last_news) == (8, 0)
        console.take(f"[** ] {job} another (9s / no limit)")
        console.take("[  OK  ] Finished it.")
    lines = (tmp_path / "console.log").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["1.00", "8.00", "8.00"]


def test_firmware_is_not_heard_once_a_kernel_runs(tmp_path: Path) -> None:
    with Console(tmp_path / "console.log", lambda: 5.0) as console:
        console.take("[    0.000000] Linux version 6.1")
        console.take("error: this is not GRUB")
        console.take("Welcome to Debian GNU/Linux 12 (bookworm) dracut-059-4 (Initramfs)!")
        assert list(console.stages) == ["firmware started", "kernel started"]
        console.take("Welcome to Debian GNU/Linux 12 (bookworm)!")
    assert console.findings == []
    assert list(console.stages)[-1] == "root switched"
