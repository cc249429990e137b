"""Each kind of check as the guest's shell looks at it: dash and busybox, against stand-ins."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError
from runnerkit import Guest, make_guest

from imagebuilder.checks import (
    BootFinishedCheck,
    Check,
    CommandCheck,
    FileCheck,
    InterfaceCheck,
    KernelArgCheck,
    MemoryUsedCheck,
    ModuleCheck,
    MountCheck,
    OvsBridgeCheck,
    PackageCheck,
    PortCheck,
    ScriptCheck,
    SysctlCheck,
    UserCheck,
)
from imagebuilder.checks.scripts import LoadedScriptCheck
from imagebuilder.errors import InputError
from imagebuilder.smoke.guest import runner_script

SOON = 0.1  # seconds: what does not hold at once does not hold


@pytest.fixture(params=["dash", "busybox"])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> Guest:
    if request.param == "dash":
        return make_guest(tmp_path)
    program = shutil.which("busybox")
    if program is None and os.environ.get("CI") != "true":
        pytest.skip("busybox is not installed; run ci/setup")
    assert program
    return make_guest(tmp_path, (program, "sh"))


def verdicts(guest: Guest, *checks: Check) -> list[str]:
    """Return what was found for each check, or "passed" for those that hold."""
    answers = guest.ask(*checks)
    assert len(answers) == len(checks)
    return [
        "passed" if answers[n][0] == "passed" else answers[n][1] for n in range(1, len(checks) + 1)
    ]


def test_files(guest: Guest) -> None:
    name = str(guest.file("etc/motd", "hello\n\n"))
    link = guest.path / "etc/link"
    link.symlink_to("motd")
    digest = hashlib.sha256(b"hello\n\n").hexdigest()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(guest.path / "etc/socket"))
    assert verdicts(
        guest,
        FileCheck(file=name, type="file", size=7, content="hello\n\n"),
        FileCheck(file=name, sha256=digest),
        FileCheck(file=str(link), type="link", target="motd"),
        FileCheck(file=str(link), content="hello\n\n"),
        FileCheck(file=str(guest.path / "etc/socket"), type="socket"),
        FileCheck(file=str(guest.path), type="directory"),
        FileCheck(file=name, content="hello\n", timeout=SOON),
        FileCheck(file=name, type="directory", timeout=SOON),
        FileCheck(file=name, target="else", timeout=SOON),
        FileCheck(file=str(link), target="else", timeout=SOON),
        FileCheck(file=name, size=8, timeout=SOON),
    ) == [
        *["passed"] * 6,
        f"its bytes are others: SHA-256 {digest}",
        "it is a file",
        "it is a file",
        "it leads to motd",
        "it has 7 bytes",
    ]


def test_mounts(guest: Guest) -> None:
    guest.file(
        "proc/mounts",
        "old /srv ext4 rw 0 0\n"
        "192.0.2.1:/a\\040b /srv nfs4 ro,relatime,vers=4.2 0 0\n"
        "none /with\\040space tmpfs rw,size=1024k 0 0\n",
    )
    assert verdicts(
        guest,
        MountCheck(mount="/srv/", type="nfs4", source="192.0.2.1:/a b", options=("ro", "vers=4.2")),
        MountCheck(mount="/with space"),
        MountCheck(mount="/else", mounted=False),
        MountCheck(mount="/else", timeout=SOON),
        MountCheck(mount="/srv", mounted=False, timeout=SOON),
        MountCheck(mount="/srv", type="nfs", timeout=SOON),
        MountCheck(mount="/srv", options=("vers=4",), timeout=SOON),
    ) == [
        *["passed"] * 3,
        "nothing is mounted there",
        *["192.0.2.1:/a\\040b is mounted there, type nfs4, options ro,relatime,vers=4.2"] * 3,
    ]


def test_packages_by_dpkg(guest: Guest) -> None:
    guest.program(
        "dpkg-query",
        'for name; do :; done; case $name in qemu) echo "installed 1:7.2+dfsg-7+deb12u1" ;;'
        ' old) echo "config-files 1.0" ;; *) echo "no packages found" >&2; exit 1 ;; esac',
    )
    wishes = (">= 7.2", "< 8", "= 1:7.2+dfsg-7+deb12u1", "!= 7.3", "= 7.2+dfsg")
    assert verdicts(
        guest,
        *(PackageCheck(package="qemu", version=wish) for wish in wishes),
        PackageCheck(package="old", installed=False),
        PackageCheck(package="qemu", version="> 8", timeout=SOON),
        PackageCheck(package="old", timeout=SOON),
        PackageCheck(package="qemu", installed=False, timeout=SOON),
    ) == [
        *["passed"] * 6,
        "it is installed, version 1:7.2+dfsg-7+deb12u1",
        "it is not installed",
        "it is installed, version 1:7.2+dfsg-7+deb12u1",
    ]


def test_packages_by_rpm(guest: Guest) -> None:
    # The host's dpkg is out of sight; rpm is a stand-in that compares by sort -V.
    for name in os.listdir("/usr/bin"):
        if not name.startswith("dpkg") and not (guest.path / "bin" / name).exists():
            (guest.path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    guest.path.joinpath("bin/rpm").unlink(missing_ok=True)
    guest.program(
        "rpm",
        'case $1 in\n-q) for name; do :; done\n[ "$name" = kernel ] || exit 1\n'
        "echo 0:5.14.0-1.el9; echo 0:5.14.0-9.el9 ;;\n"
        '--eval) set -- $(printf %s "$2" | cut -d"\'" -f2,4 | tr "\'" \' \')\n'
        '[ "$1" = "$2" ] && { echo 0; exit; }\n'
        'least=$(printf "%s\\n" "$1" "$2" | sort -V | head -n 1)\n'
        '[ "$least" = "$1" ] && echo -1 || echo 1 ;;\nesac',
    )
    script = runner_script(
        (
            PackageCheck(package="kernel", version=">= 5.14"),
            PackageCheck(package="kernel", version="= 5.14.0-9.el9"),
            PackageCheck(package="kernel", version="< 5.14.0-9.el9", timeout=SOON),
            PackageCheck(package="nope", installed=False),
        ),
        patience=1,
        slowness=1,
    )
    said = guest.start(script, PATH=str(guest.path / "bin"))
    found = {each.texts[0]: each.texts for each in said if each.word == "check"}
    assert [found[n][1] for n in "1234"] == ["passed", "passed", "failed", "passed"]
    assert found["3"][3] == "it is installed, version 0:5.14.0-9.el9"


def test_users(guest: Guest) -> None:
    guest.program(
        "getent",
        'case "$1 $2" in\n"passwd svc") echo "svc:x:1001:1001:A b:/srv:/usr/sbin/nologin" ;;\n'
        '"shadow svc") echo "svc:!:1::::::" ;;\n'
        '"passwd open") echo "open:x:1002:1002::/:" ;;\n"shadow open") echo "open::1::::::" ;;\n'
        '"passwd set") echo "set:x:1003:1003::/:/bin/sh" ;;\n'
        '"shadow set") echo "set:\\$y\\$x:1::::::" ;;\n*) exit 2 ;; esac',
    )
    guest.program("id", 'echo "svc libvirt kvm"')
    nologin = "/usr/sbin/nologin"
    assert verdicts(
        guest,
        UserCheck(
            user="svc", uid=1001, groups=("kvm",), shell=nologin, home="/srv", password="locked"
        ),
        UserCheck(user="set", password="set"),
        UserCheck(user="nobody-here", exists=False),
        UserCheck(user="open", shell="/bin/sh"),
        UserCheck(user="open", password="locked", timeout=SOON),
        UserCheck(user="svc", uid=1, timeout=SOON),
        UserCheck(user="svc", groups=("kvm", "wheel"), timeout=SOON),
        UserCheck(user="svc", exists=False, timeout=SOON),
        UserCheck(user="nobody-here", timeout=SOON),
    ) == [
        *["passed"] * 4,
        "it has no password, and is let in without one",
        "its uid is 1001",
        "its groups are: svc libvirt kvm",
        "there is such a user",
        "there is no such user",
    ]


def test_a_user_of_this_host(guest: Guest) -> None:
    entry = pwd.getpwuid(0)
    check = UserCheck(user=entry.pw_name, uid=0, home=entry.pw_dir, shell=entry.pw_shell)
    assert guest.found(check)[0] == "passed"


def test_ports_at_addresses(guest: Guest) -> None:
    assert verdicts(
        guest,
        PortCheck(port=22, address="0.0.0.0"),
        PortCheck(port=53, address="127.0.0.1"),
        PortCheck(port=53, address="::1"),
        PortCheck(port=22, address="0.0.0.0", only=True),
        PortCheck(port=25, listening=False),
        PortCheck(port=22, address="127.0.0.1", listening=False),
        PortCheck(port=53, address="127.0.0.1", only=True, timeout=SOON),
        PortCheck(port=22, address="::", timeout=SOON),
        PortCheck(port=22, listening=False, timeout=SOON),
    ) == [
        *["passed"] * 6,
        f"something listens at other addresses, too: 192.0.2.9 {'0000:' * 7}0001",
        "nothing listens at that address, but at: 0.0.0.0",
        "something listens",
    ]


def interface(guest: Guest, name: str, flags: str, state: str, **more: str) -> None:
    for key, value in {"flags": flags, "operstate": state, "mtu": "1500", **more}.items():
        guest.file(f"sys/class/net/{name}/{key}", f"{value}\n")


def test_interfaces(guest: Guest) -> None:
    interface(guest, "eth0", "0x1003", "up", address="52:54:00:00:00:01")
    interface(guest, "eth1", "0x1003", "down")
    interface(guest, "bond0.30", "0x1003", "unknown", mtu="9000")
    (guest.path / "sys/class/net/eth1/master").symlink_to("../bond0")
    guest.file("proc/net/vlan/bond0.30", "bond0.30  VID: 30\t REORDER_HDR: 1\n")
    guest.program(
        "ip",
        'for name; do :; done\n[ "$name" = eth0 ] || exit 0\n'
        'echo "2: eth0    inet 10.0.2.15/24 brd 10.0.2.255 scope global dynamic eth0\\\\ valid"\n'
        'echo "2: eth0    inet6 fe80::1/64 scope link \\\\ valid_lft forever"',
    )
    assert verdicts(
        guest,
        InterfaceCheck(interface="eth0", dhcp=True, addresses=("10.0.2.15/24", "FE80:0::1")),
        InterfaceCheck(interface="eth*", mac="52:54:00:00:00:01", mtu=1500),
        InterfaceCheck(interface="eth1", state="down", master="bond0"),
        InterfaceCheck(interface="bond0.30", vlan=30, mtu=9000),
        InterfaceCheck(interface="wlan*", exists=False),
        InterfaceCheck(interface="eth1", timeout=SOON),
        InterfaceCheck(interface="eth0", addresses=("10.0.2.15/16",), timeout=SOON),
        InterfaceCheck(interface="eth1", state="any", dhcp=True, timeout=SOON),
        InterfaceCheck(interface="eth0", vlan=30, timeout=SOON),
        InterfaceCheck(interface="eth*", state="any", mtu=9000, timeout=SOON),
        InterfaceCheck(interface="eth0", master="bond0", timeout=SOON),
        InterfaceCheck(interface="nope0", timeout=SOON),
        InterfaceCheck(interface="eth0", exists=False, timeout=SOON),
    ) == [
        *["passed"] * 5,
        "eth1 is turned on, but its carrier is down",
        "eth0 has the addresses: 10.0.2.15/24 fe80::1/64",
        "eth1 has the addresses: none; none is from DHCP",
        "eth0 is the interface of no VLAN",
        "eth0 has mtu 1500; eth1 has mtu 1500",
        "eth0 has no master",
        "there is no such interface; there are: bond0.30 eth0 eth1",
        "there is eth0",
    ]


def test_bridges_of_open_vswitch(guest: Guest) -> None:
    guest.program(
        "ovs-vsctl",
        'shift 2\ncase "$*" in\n"br-exists br0") ;;\nbr-exists*) exit 2 ;;\nlist-br) echo br0 ;;\n'
        '"list-ports br0") echo bond0; echo storage0 ;;\n"get port storage0 tag") echo 20 ;;\n'
        '"get port bond0 tag") echo "[]" ;;\n"get port bond0 trunks") echo "[10, 20]" ;;\nesac',
    )
    assert verdicts(
        guest,
        OvsBridgeCheck(ovs_bridge="br0", ports=("bond0",), tags={"storage0": 20}),
        OvsBridgeCheck(ovs_bridge="br0", trunks={"bond0": (20, 10)}),
        OvsBridgeCheck(ovs_bridge="br1", exists=False),
        OvsBridgeCheck(ovs_bridge="br1", timeout=SOON),
        OvsBridgeCheck(ovs_bridge="br0", ports=("eth9",), timeout=SOON),
        OvsBridgeCheck(ovs_bridge="br0", tags={"bond0": 20}, timeout=SOON),
    ) == [
        *["passed"] * 3,
        "there is no such bridge; there are: br0",
        "it has the ports: bond0 storage0",
        "port bond0 has tag: none",
    ]


def test_a_program_that_is_missing_is_named(guest: Guest) -> None:
    for name in ("cat", "rm", "mkdir", "uname", "sleep", "base64", "tr", "tail", "head", "grep"):
        (guest.path / "bin" / name).symlink_to(shutil.which(name) or name)
    interface(guest, "eth0", "0x1003", "up")
    checks = [
        OvsBridgeCheck(ovs_bridge="br0"),
        InterfaceCheck(interface="eth0", dhcp=True),
        PackageCheck(package="bash"),
    ]
    said = guest.start(runner_script(checks, patience=1, slowness=1), PATH=str(guest.path / "bin"))
    assert [(each.texts[1], each.texts[3]) for each in said if each.word == "check"] == [
        ("failed", "the image has no ovs-vsctl to look with (package openvswitch-switch)"),
        ("failed", "the image has no ip to look with (package iproute2)"),
        ("failed", "the image has neither dpkg nor rpm to look with"),
    ]


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


def test_output_that_must_be_the_whole(guest: Guest) -> None:
    assert verdicts(
        guest,
        CommandCheck(command="printf 'a  b\\n\\n'", output="a  b\n"),
        CommandCheck(command="true", output=""),
        CommandCheck(command="echo '*'", output="*"),
        CommandCheck(command="echo ab", output="a", timeout=SOON),
        CommandCheck(command="sleep 20", run_timeout=1, tries=1),
    ) == [
        *["passed"] * 3,
        "its exit status is 0, and its output is another",
        "it was not done after 1 s",
    ]


def loaded(content: bytes, **more: object) -> ScriptCheck:
    return LoadedScriptCheck.model_validate({"script": "a.sh", "content": content, **more})


def test_scripts(guest: Guest) -> None:
    answers = guest.ask(
        loaded(b'#!/bin/sh\necho "$# $1"\n', arguments=("it's *", "b"), output="2 it's *"),
        loaded(b"echo without a first line; exit 3\n", status=3, matches="^without"),
        loaded(b"#!/bin/sh\nexit 1\n", tries=1),
        ScriptCheck(script="never/carried.sh"),
    )
    assert [answers[n][:2] for n in range(1, 5)] == [
        ("passed", "its exit status is 0"),
        ("passed", "its exit status is 3"),
        ("failed", "its exit status is 1"),
        ("failed", "it did not come into the guest"),
    ]


def test_tries_are_counted_and_bounded(guest: Guest) -> None:
    said = guest.said(
        CommandCheck(command="echo x >>n; [ $(wc -l <n) = 3 ]", tries=5),
        CommandCheck(command="false", tries=2),
        CommandCheck(command="date +%s%N >>times; [ $(wc -l <times) = 2 ]", interval=2),
    )
    assert [said[n].texts[1] for n in (1, 2, 3)] == ["passed", "failed", "passed"]
    assert [said[n].texts[5] for n in (1, 2, 3)] == ["3", "2", "2"]
    first, second = map(int, (guest.path / "times").read_text().split())
    assert second - first > 1e9


def test_a_check_waits_for_what_it_needs(guest: Guest) -> None:
    said = guest.said(
        CommandCheck(name="last", command="test -e first", needs=("first", "disks")),
        CommandCheck(name="first", command="[ -e again ] && : >first || { : >again; false; }"),
        CommandCheck(name="disk", command="true", group="disks"),
        CommandCheck(name="broken", command="false", tries=1, needs=("last",)),
        CommandCheck(name="after", command=": >ran", needs=("broken",)),
        CommandCheck(name="after that", command=": >ran", needs=("after",)),
    )
    outcomes = [said[n].texts[1] for n in range(1, 7)]
    assert outcomes == ["passed", "passed", "passed", "failed", "skipped", "skipped"]
    assert said[5].texts[3] == "4"  # the number of what it needs
    assert not (guest.path / "ran").exists()


def test_needs_that_can_never_be_met_are_refused() -> None:
    with pytest.raises(InputError, match="neither a check nor a group"):
        runner_script([CommandCheck(command="true", needs=("nope",))], patience=1, slowness=1)
    circle = [
        CommandCheck(name="a", command="true", needs=("b",)),
        CommandCheck(name="b", command="true", needs=("a",)),
    ]
    with pytest.raises(InputError, match="wait for each other: a needs b needs a"):
        runner_script(circle, patience=1, slowness=1)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (FileCheck, {"file": "/a", "exists": False, "mode": "0644"}),
        (FileCheck, {"file": "/a", "content": "x", "sha256": "0" * 64}),
        (FileCheck, {"file": "relative"}),
        (MountCheck, {"mount": "/a", "mounted": False, "type": "ext4"}),
        (PackageCheck, {"package": "a", "version": "7.2"}),
        (PackageCheck, {"package": "a*"}),
        (PackageCheck, {"package": "a", "installed": False, "version": "> 1"}),
        (PackageCheck, {"package": "a", "version": "> 1');os.exit('"}),
        (UserCheck, {"user": "a", "shell": "sh"}),
        (UserCheck, {"user": "-a"}),
        (PortCheck, {"port": 1, "address": "here"}),
        (PortCheck, {"port": 1, "only": True}),
        (InterfaceCheck, {"interface": "a" * 16}),
        (InterfaceCheck, {"interface": "a", "addresses": ["192.0.2.1/33"]}),
        (InterfaceCheck, {"interface": "a", "exists": False, "mtu": 1500}),
        (InterfaceCheck, {"interface": "a", "vlan": 4095}),
        (OvsBridgeCheck, {"ovs_bridge": "a", "exists": False, "ports": ["b"]}),
        (KernelArgCheck, {"kernel_arg": "a=b"}),
        (ModuleCheck, {"module": "a.ko"}),
        (ModuleCheck, {"module": "a", "loaded": False, "parameters": {"b": "c"}}),
        (SysctlCheck, {"sysctl": "a.b"}),
        (SysctlCheck, {"sysctl": "../../etc/shadow", "value": "x"}),
        (ScriptCheck, {"script": "../a.sh"}),
        (ScriptCheck, {"script": "/etc/passwd"}),
    ],
)
def test_what_can_never_be_is_refused(model: type[Check], values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        model(**values)
