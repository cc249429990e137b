"""Checks of the kernel and of the boot as a whole, as the guest's shell looks at them."""

from __future__ import annotations

from runnerkit import SOON, Guest, verdicts

from imagebuilder.checks import (
    BootFinishedCheck,
    KernelArgCheck,
    MemoryUsedCheck,
    ModuleCheck,
    SysctlCheck,
)


def test_kernel_arguments(guest: Guest) -> None:
    guest.file("proc/cmdline", 'quiet iommu=pt console=tty0 console=ttyS0,115200 dyndbg="a +p" x\n')
    assert verdicts(
        guest,
        KernelArgCheck(kernel_arg="quiet"),
        KernelArgCheck(kernel_arg="iommu", value="pt"),
        KernelArgCheck(kernel_arg="console", value="tty0"),
        KernelArgCheck(kernel_arg="dyndbg", value="a +p"),
        KernelArgCheck(kernel_arg="x"),
        KernelArgCheck(kernel_arg="nosmt", present=False),
        KernelArgCheck(kernel_arg="iommu", value="off", present=False),
        KernelArgCheck(kernel_arg="iommu", value="off"),
        KernelArgCheck(kernel_arg="mmu"),
        KernelArgCheck(kernel_arg="quiet", present=False),
        KernelArgCheck(kernel_arg="console", value=""),
    ) == [
        *["passed"] * 7,
        "it is there, saying: pt",
        "it is not there",
        "it is there, saying: (nothing)",
        "it is there, saying: tty0 ttyS0,115200",
    ]


def test_modules(guest: Guest) -> None:
    guest.file("proc/modules", "vfio_pci 16384 0 - Live 0x0\nkvm 1 1 kvm_intel, Live 0x0\n")
    guest.file("modules/modules.builtin", "kernel/drivers/block/virtio-blk.ko\n")
    guest.file("sys/module/kvm/parameters/nested", "Y\n")
    assert verdicts(
        guest,
        ModuleCheck(module="vfio-pci"),
        ModuleCheck(module="virtio_blk"),
        ModuleCheck(module="kvm", parameters={"nested": "Y"}),
        ModuleCheck(module="nouveau", loaded=False),
        ModuleCheck(module="nouveau", timeout=SOON),
        ModuleCheck(module="vfio_pci", loaded=False, timeout=SOON),
        ModuleCheck(module="virtio_blk", loaded=False, timeout=SOON),
        ModuleCheck(module="kvm", parameters={"nested": 0}, timeout=SOON),
        ModuleCheck(module="kvm", parameters={"nope": "1"}, timeout=SOON),
    ) == [
        *["passed"] * 4,
        "it is not loaded",
        "it is loaded",
        "it is built into the kernel",
        "it is loaded, with nested=Y",
        "it is loaded, and has no parameter nope that can be read",
    ]


def test_sysctls(guest: Guest) -> None:
    guest.file("proc/sys/net/ipv4/ip_forward", "1\n")
    guest.file("proc/sys/net/ipv4/conf/eth0.5/rp_filter", "2\n")
    guest.file("proc/sys/kernel/printk", "4\t4\t1\t7\n")
    guest.file("proc/sys/kernel/core_pattern", "core\n")
    assert verdicts(
        guest,
        SysctlCheck(sysctl="net.ipv4.ip_forward", value=1),
        SysctlCheck(sysctl="kernel.printk", value="4 4 1 7"),
        SysctlCheck(sysctl="net/ipv4/conf/eth0.5/rp_filter", at_least=1, at_most=2),
        SysctlCheck(sysctl="net.ipv4.ip_forward", value=0, timeout=SOON),
        SysctlCheck(sysctl="net.ipv4.ip_forward", at_least=2, timeout=SOON),
        SysctlCheck(sysctl="kernel.core_pattern", at_most=2, timeout=SOON),
        SysctlCheck(sysctl="net.nope", value=0, timeout=SOON),
    ) == [
        *["passed"] * 3,
        "it is '1'",
        "it is '1'",
        "it is 'core', which is no number",
        "there is no such sysctl",
    ]


def test_the_boot_as_a_whole(guest: Guest) -> None:
    guest.file("state/finished", "42340000\n")
    guest.file("proc/meminfo", "MemTotal: 2048000 kB\nMemFree: 1 kB\nMemAvailable: 1433600 kB\n")
    assert verdicts(
        guest,
        BootFinishedCheck(boot_finished_within=42.3),
        MemoryUsedCheck(memory_used_at_most=600),
        BootFinishedCheck(boot_finished_within=42.2),
        MemoryUsedCheck(memory_used_at_most=599, timeout=SOON),
    ) == [
        *["passed"] * 2,
        "it was finished after 42.3 s",
        "600 MiB of 2000 MiB are used",
    ]
    guest.file("state/finished", "0\n")
    outcome, found, output = guest.ask(BootFinishedCheck(boot_finished_within=0.1))[1]
    assert outcome == "failed"
    assert found.startswith("it is not finished after ")
    assert "wait.service" in output
