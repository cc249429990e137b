"""Checks of files and software as the guest's shell looks at them; groups, needs and tries."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import socket

import pytest
from pydantic import ValidationError
from runnerkit import SOON, Guest, interface, verdicts

from imagebuilder.checks import (
    Check,
    CommandCheck,
    FileCheck,
    InterfaceCheck,
    KernelArgCheck,
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


def test_the_runner_says_that_it_lives(guest: Guest) -> None:
    check = CommandCheck(command="sleep 1.2", timeout=20)
    said = guest.start(runner_script([check], patience=100, slowness=1), SMOKE_BEAT="0.3")
    words = [each.word for each in said]
    assert words.count("alive") in (2, 3, 4)
    assert words.index("alive") < words.index("check")


def test_a_process_that_ends_while_a_command_waits_for_its_pipe_is_no_failure(guest: Guest) -> None:
    check = CommandCheck(command="echo once >>times; cat times", output="once", tries=1)
    script = runner_script([check], patience=100, slowness=1)
    reader = script.index("{ dd bs=4096")
    opening = '} <"$WORK/pipe" 3>&- 9>&- &'
    opens = script.index(opening, reader)
    late = (
        f"{script[:reader]}{{ sleep 0.6; {script[reader:opens]}"
        f'}} <"$WORK/pipe"; }} 3>&- &\nsleep 0.2 &{script[opens + len(opening) :]}'
    )
    said = next(each for each in guest.start(late) if each.word == "check")
    assert said.texts[1:2] + said.texts[3:5] == ("passed", "its exit status is 0", "once")


def test_tries_are_counted_and_bounded(guest: Guest) -> None:
    said = guest.said(
        CommandCheck(command="echo x >>n; [ $(wc -l <n) = 3 ]", tries=5, timeout=100),
        CommandCheck(command="false", tries=2, timeout=100),
        CommandCheck(
            command="date +%s%N >>times; [ $(wc -l <times) = 2 ]", interval=2, timeout=100
        ),
    )
    assert [said[n].texts[1] for n in (1, 2, 3)] == ["passed", "failed", "passed"]
    assert [said[n].texts[5] for n in (1, 2, 3)] == ["3", "2", "2"]
    first, second = map(int, (guest.path / "times").read_text().split())
    assert second - first > 1e9


def test_a_daemon_of_one_check_does_not_write_into_the_output_of_another(guest: Guest) -> None:
    daemon = "until [ -e go ]; do sleep 0.1; done; echo noise; : >gone"
    assert verdicts(
        guest,
        CommandCheck(command=f"({daemon}) & echo a", output="a", tries=1, timeout=100),
        CommandCheck(
            command=": >go; until [ -e gone ]; do sleep 0.1; done; sleep 0.2; echo b",
            output="b",
            tries=1,
            timeout=100,
        ),
    ) == ["passed", "passed"]


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
