"""What breaks once the root is switched: systemd, units, memory, the machine under them."""

from __future__ import annotations

from workshop import Case, Workshop

from imagebuilder.checks import CommandCheck, NoFailedUnitsCheck, UnitCheck
from imagebuilder.smoke.stages import (
    CHECKS_DONE,
    FETCHED,
    MULTI_USER,
    ROOT_SWITCHED,
    SYSTEMD_STARTED,
)

NO_FAILED = NoFailedUnitsCheck(no_failed_units=True)
FETCHED_ROOTFS = FETCHED["rootfs.squashfs"]


def _oneshot(command: str, *more: str, before: str = "multi-user.target") -> str:
    lines = "\n".join(more)
    return (
        f"[Unit]\nBefore={before}\n{lines}\n[Service]\nType=oneshot\n"
        f"ExecStart=/bin/sh -c '{command}'\n"
    )


def _required(name: str, text: str) -> str:
    return f"mkdir -p $NEWROOT/etc/systemd/system/multi-user.target.requires; ln -sf ../{name} " + (
        f"$NEWROOT/etc/systemd/system/multi-user.target.requires/{name}"
    )


def _failing(image: Workshop) -> None:
    image.unit("broken.service", _oneshot("echo all is lost; exit 3"))


def _required_failing(image: Workshop) -> None:
    image.unit("broken.service", _oneshot("exit 3"), wanted_by="")
    image.in_root(_required("broken.service", ""))


def _crash_loop(image: Workshop) -> None:
    image.unit(
        "loop.service",
        '[Service]\nExecStart=/bin/sh -c "exit 7"\nRestart=always\nRestartSec=100ms\n',
    )


def _slow_crash_loop(image: Workshop) -> None:
    """A unit that is to be active, and never is for long."""
    image.unit(
        "loop.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=notify\n"
        'ExecStart=/bin/sh -c "exit 7"\nRestart=always\nRestartSec=1\n',
    )


def _cycle(image: Workshop) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        image.unit(
            f"{one}.service",
            f"[Unit]\nAfter={other}.service\nRequires={other}.service\n"
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
        )


def _fstab(image: Workshop) -> None:
    image.in_root(
        "echo 'UUID=0000-0000 /srv ext4 defaults,x-systemd.device-timeout=5 0 0' "
        ">>$NEWROOT/etc/fstab"
    )


def _sysrq(key: str) -> str:
    return _oneshot(f"echo {key} >/proc/sysrq-trigger")


def _hog(image: Workshop) -> None:
    """Programs with realtime priority take every processor."""
    image.args("rcupdate.rcu_cpu_stall_timeout=8")
    image.unit(
        "hog.service",
        "[Unit]\nDefaultDependencies=no\nAfter=imagebuilder-smoke-sysinit.service\n"
        "Before=sysinit.target\n"
        "[Service]\nType=exec\nCPUSchedulingPolicy=fifo\nCPUSchedulingPriority=99\n"
        "ExecStartPre=/bin/sh -c 'echo -1 >/proc/sys/kernel/sched_rt_runtime_us; sleep 5'\n"
        "ExecStart=/bin/sh -c 'for n in 1 2 3; do while :; do :; done & done; wait'\n",
        wanted_by="sysinit.target",
    )


def _hung_task(image: Workshop) -> None:
    """A program writes to a file system that was frozen, and waits in the kernel for good."""
    image.unit(
        "hung.service",
        _oneshot(
            "truncate -s 32M /run/disk && mkfs.ext4 -q /run/disk && mount -o loop /run/disk /mnt"
            " && fsfreeze -f /mnt && echo 3 >/proc/sys/kernel/hung_task_timeout_secs"
            " && touch /mnt/file"
        ),
    )


def _no_port(image: Workshop) -> None:
    image.initrd_without(r"/virtio_console\.ko")
    image.in_root("rm -f $(find $NEWROOT/usr/lib/modules -name 'virtio_console.ko*')")


def _no_target(image: Workshop) -> None:
    image.in_root(
        "rm -f $NEWROOT/etc/systemd/system/default.target "
        "$NEWROOT/usr/lib/systemd/system/default.target"
    )


SYSTEM_CASES = (
    Case(
        name="good",
        breaks=lambda image: None,
        stage=CHECKS_DONE,
        words="",
        checks=(NO_FAILED,),
        passes=True,
    ),
    Case(
        name="no-serial-console",
        lean=True,
        breaks=lambda image: image.args("8250.nr_uarts=0"),
        stage=CHECKS_DONE,
        words="",
        passes=True,
    ),
    Case(
        name="kernel-panics",
        lean=True,
        breaks=lambda image: image.unit("crash.service", _sysrq("c")),
        stage=SYSTEMD_STARTED,
        words="panicked: sysrq triggered crash",
        at="Kernel panic",
    ),
    Case(
        name="guest-resets",
        lean=True,
        breaks=lambda image: image.unit("reset.service", _sysrq("b")),
        stage=SYSTEMD_STARTED,
        words="restarted itself",
        at="sysrq: Resetting",
    ),
    Case(
        name="guest-shuts-down",
        lean=True,
        breaks=lambda image: image.unit("off.service", _oneshot("systemctl --no-block poweroff")),
        stage=(SYSTEMD_STARTED, MULTI_USER),
        words="switched itself off",
        at="Power down",
    ),
    Case(
        name="guest-reboots",
        lean=True,
        breaks=lambda image: image.unit("again.service", _oneshot("reboot -f")),
        stage=SYSTEMD_STARTED,
        words="restarted itself",
        at="Restarting system",
    ),
    Case(
        name="watchdog",
        lean=True,
        breaks=lambda image: image.unit(
            "dog.service", _oneshot("modprobe softdog soft_margin=3; echo >/dev/watchdog; sleep 99")
        ),
        stage=SYSTEMD_STARTED,
        words="watchdog restarted it",
        at="softdog: Initiating",
    ),
    Case(
        name="failed-unit",
        lean=True,
        breaks=_failing,
        stage=CHECKS_DONE,
        words="broken.service",
        checks=(NO_FAILED,),
        within=20,
    ),
    Case(
        name="required-unit-fails",
        lean=True,
        breaks=_required_failing,
        stage=SYSTEMD_STARTED,
        words="did not reach multi-user.target.*broken.service",
        within=40,
        at="Dependency failed for multi-user",
    ),
    Case(
        name="unit-crash-looping",
        lean=True,
        breaks=_crash_loop,
        stage=CHECKS_DONE,
        words="loop.service",
        checks=(NO_FAILED, UnitCheck(unit="loop.service", timeout=5)),
        within=20,
    ),
    Case(
        name="unit-never-ready",
        lean=True,
        breaks=_slow_crash_loop,
        stage=CHECKS_DONE,
        words="loop.service",
        checks=(UnitCheck(unit="loop.service", timeout=5),),
        within=60,
        boot_timeout=60,
    ),
    Case(
        name="ordering-cycle",
        lean=True,
        breaks=_cycle,
        stage=CHECKS_DONE,
        words="a.service|b.service",
        checks=(UnitCheck(unit="a.service", timeout=5), UnitCheck(unit="b.service", timeout=5)),
        within=60,
    ),
    Case(
        name="emergency-shell",
        lean=True,
        breaks=_fstab,
        stage=(ROOT_SWITCHED, SYSTEMD_STARTED),  # a device is waited for, for five seconds
        words="(0000|srv).*emergency shell",
        at="mergency",
    ),
    Case(
        name="out-of-memory",
        lean=True,
        breaks=lambda image: image.unit("eat.service", _oneshot("tail /dev/zero")),
        stage=CHECKS_DONE,
        words="eat.service",
        checks=(NO_FAILED,),
        memory_mib=1024,
        within=30,
    ),
    Case(
        name="processors-taken",
        lean=True,
        breaks=_hog,
        stage=SYSTEMD_STARTED,
        words="programs take all processors",
        at="kthread starved",
        within=90,  # the kernel tells of it again after three times its own limit
    ),
    Case(
        name="read-only-root",
        lean=True,
        breaks=lambda image: image.in_root("mount -o remount,ro $NEWROOT"),
        stage=CHECKS_DONE,
        words="its exit status is 1, and the root file system is read-only",
        # Units that would write there are passed over by systemd: none fails.
        checks=(CommandCheck(command="touch /var/lib/probe"),),
    ),
    Case(
        name="no-room-in-root",
        lean=True,
        breaks=lambda image: image.in_root("dd if=/dev/zero of=/run/ballast bs=1M 2>/dev/null"),
        stage=CHECKS_DONE,
        words="journald.service.*no room left",
        checks=(NO_FAILED,),
        within=30,
    ),
    Case(
        name="root-fills-up",
        lean=True,
        breaks=lambda image: image.unit("fill.service", _oneshot("cat /dev/zero >/var/ballast")),
        stage=CHECKS_DONE,
        words="fill.service",
        checks=(NO_FAILED,),
        within=30,
    ),
    Case(
        name="process-hangs-in-kernel",
        lean=True,
        breaks=_hung_task,
        stage=SYSTEMD_STARTED,
        words="waits for hung.service; before that: a process hung in the kernel: touch",
        boot_timeout=40,
        at="blocked for more than",
        within=70,
    ),
    Case(
        name="getty-only",
        lean=True,
        breaks=lambda image: image.args("systemd.unit=getty.target"),
        stage=SYSTEMD_STARTED,
        words="did not reach multi-user.target",
        within=40,
    ),
    Case(
        name="multi-user-masked",
        lean=True,
        breaks=lambda image: image.in_root(
            "ln -sf /dev/null $NEWROOT/etc/systemd/system/multi-user.target"
        ),
        stage=ROOT_SWITCHED,
        words="cannot start the image's default target",
        within=40,
    ),
    Case(
        name="default-target-missing",
        lean=True,
        breaks=_no_target,
        stage=SYSTEMD_STARTED,
        words="has no default.target; then the boot ended in a rescue shell",
        within=40,
    ),
    Case(
        name="no-virtio-serial",
        lean=True,
        breaks=_no_port,
        stage=ROOT_SWITCHED,
        words="runner",
        within=30,
        boot_timeout=60,
    ),
    Case(
        name="init-argument-wrong",
        lean=True,
        breaks=lambda image: image.args("init=/nope"),
        stage=FETCHED_ROOTFS,
        words="has no /nope that can be run, which the kernel's argument init= names",
        at="nope",
    ),
    Case(
        name="systemd-broken",
        lean=True,
        breaks=lambda image: image.in_root("cp $NEWROOT/bin/true $NEWROOT/usr/lib/systemd/systemd"),
        stage=FETCHED_ROOTFS,
        words=r"first process of the root file system \(systemd\) ended by itself",
        at="Kernel panic",
    ),
)
