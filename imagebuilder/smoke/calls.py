"""Checks as calls of the shell functions in ``looks/``, which look at them in the guest."""

from __future__ import annotations

import math
import re
from ipaddress import ip_address, ip_interface

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
    NoFailedUnitsCheck,
    OvsBridgeCheck,
    PackageCheck,
    PortCheck,
    ScriptCheck,
    SysctlCheck,
    UnitCheck,
    UserCheck,
)

Words = tuple[str | int, ...]


def call(check: Check, *, number: int, slowness: float) -> Words:
    """Return the function that looks at a check, with its arguments.

    Args:
        check: the check.
        number: its number; a script that it carries has that name in the guest.
        slowness: by what time limits are multiplied.
    """
    match check:
        case UnitCheck():
            return "check_unit", check.unit, check.state, _yes(check.enabled)
        case NoFailedUnitsCheck():
            return "check_no_failed_units", *check.allow
        case BootFinishedCheck():
            return "check_boot_finished", math.ceil(check.boot_finished_within * slowness * 10)
        case MemoryUsedCheck():
            return "check_memory_used", check.memory_used_at_most
        case CommandCheck():
            return "check_command", check.command, *_end_of_run(check, slowness)
        case ScriptCheck():
            return "check_script", number, *_end_of_run(check, slowness), *check.arguments
        case PackageCheck():
            return "check_package", check.package, _yes(check.installed), *check.comparison
        case UserCheck():
            return (
                "check_user",
                check.user,
                _yes(check.exists),
                _text(check.uid),
                check.shell,
                check.home,
                check.password,
                *check.groups,
            )
        case FileCheck() | MountCheck():
            return _of_file(check)
        case PortCheck() | InterfaceCheck() | OvsBridgeCheck():
            return _of_network(check)
        case KernelArgCheck() | ModuleCheck() | SysctlCheck():
            return _of_kernel(check)


def _of_file(check: FileCheck | MountCheck) -> Words:
    if isinstance(check, MountCheck):
        return (
            "check_mount",
            _as_in_mounts(check.mount.rstrip("/") or "/"),
            _yes(check.mounted),
            check.type,
            _as_in_mounts(check.source),
            *check.options,
        )
    return (
        "check_file",
        check.file,
        _yes(check.exists),
        "link" if check.is_link else check.type or "",
        check.target,
        format(int(check.mode, 8), "o") if check.mode else "",
        check.owner,
        _text(check.size),
        check.contains,
        check.digest,
    )


def _of_network(check: PortCheck | InterfaceCheck | OvsBridgeCheck) -> Words:
    match check:
        case PortCheck():
            address = _as_in_proc_net(check.address) if check.address else ""
            listening, only = _yes(check.listening), _yes(check.only)
            return "check_port", check.port, check.protocol, listening, address, only
        case InterfaceCheck():
            return (
                "check_interface",
                check.interface,
                _yes(check.exists),
                check.state,
                _text(check.mtu),
                _yes(check.dhcp),
                check.master,
                _text(check.vlan),
                check.mac,
                *(_as_ip_shows_it(each) for each in check.addresses),
            )
        case OvsBridgeCheck():
            ports: list[str | int] = []
            for port in check.ports:
                ports += ["port", port, ""]
            for port, tag in check.tags.items():
                ports += ["tag", port, tag]
            for port, tags in check.trunks.items():
                ports += ["trunks", port, ", ".join(map(str, sorted(set(tags))))]
            return "check_ovs_bridge", check.ovs_bridge, _yes(check.exists), *ports


def _of_kernel(check: KernelArgCheck | ModuleCheck | SysctlCheck) -> Words:
    match check:
        case KernelArgCheck():
            value = _text(check.value)
            has_value = _yes(check.value is not None)
            return "check_kernel_arg", check.kernel_arg, _yes(check.present), has_value, value
        case ModuleCheck():
            # Modules have low lines in their names where files may have dashes.
            name = check.module.replace("-", "_")
            pairs = (word for pair in check.parameters.items() for word in pair)
            return "check_module", name, name.replace("_", "[_-]"), _yes(check.loaded), *pairs
        case SysctlCheck():
            value = " ".join(_text(check.value).split())
            has_value = _yes(check.value is not None)
            least, most = _text(check.at_least), _text(check.at_most)
            return "check_sysctl", check.sysctl, value, has_value, least, most


def _end_of_run(check: CommandCheck | ScriptCheck, slowness: float) -> Words:
    seconds = "" if check.run_timeout is None else math.ceil(check.run_timeout * slowness)
    whole = (check.output or "").rstrip()
    return check.status, check.matches, _yes(check.output is not None), whole, seconds


def _yes(value: bool | None) -> str:
    return {None: "any", True: "yes", False: "no"}[value]


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value)


def _as_in_mounts(path: str) -> str:
    """Write a path as /proc/mounts does (mangle in the kernel's fs/proc_namespace.c)."""
    return re.sub(r"[ \t\n\\#]", lambda found: f"\\{ord(found[0]):03o}", path)


def _as_in_proc_net(address: str) -> str:
    """Write an address as /proc/net/tcp does: words of 32 bits, in the processor's order."""
    packed = ip_address(address).packed
    words = (packed[n : n + 4] for n in range(0, len(packed), 4))
    return "".join(word[::-1].hex() for word in words).upper()


def _as_ip_shows_it(address: str) -> str:
    found = ip_interface(address)
    return found.with_prefixlen if "/" in address else str(found.ip)
