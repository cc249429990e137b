"""What a recipe wants to be true in the booted guest.

A check is one table under ``[[checks]]``; which kind it is follows from the key that it has:
``unit``, ``command``, ``file``, ``port``…
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from imagebuilder.checks.base import BaseCheck
from imagebuilder.checks.files import FileCheck, MountCheck
from imagebuilder.checks.network import InterfaceCheck, OvsBridgeCheck, PortCheck
from imagebuilder.checks.software import CommandCheck, PackageCheck, ScriptCheck, UserCheck
from imagebuilder.checks.system import (
    BootFinishedCheck,
    KernelArgCheck,
    MemoryUsedCheck,
    ModuleCheck,
    NoFailedUnitsCheck,
    SysctlCheck,
    UnitCheck,
)

__all__ = [
    "KINDS",
    "BaseCheck",
    "BootFinishedCheck",
    "Check",
    "CommandCheck",
    "FileCheck",
    "InterfaceCheck",
    "KernelArgCheck",
    "MemoryUsedCheck",
    "ModuleCheck",
    "MountCheck",
    "NoFailedUnitsCheck",
    "OvsBridgeCheck",
    "PackageCheck",
    "PortCheck",
    "ScriptCheck",
    "SysctlCheck",
    "UnitCheck",
    "UserCheck",
    "model_of",
]

_MODELS: tuple[type[BaseCheck], ...] = (
    UnitCheck,
    NoFailedUnitsCheck,
    CommandCheck,
    ScriptCheck,
    FileCheck,
    MountCheck,
    PackageCheck,
    UserCheck,
    PortCheck,
    InterfaceCheck,
    OvsBridgeCheck,
    KernelArgCheck,
    ModuleCheck,
    SysctlCheck,
    BootFinishedCheck,
    MemoryUsedCheck,
)
KINDS: dict[str, type[BaseCheck]] = {model.kind: model for model in _MODELS}
"""Each kind of check, by the key that makes a check one of it."""


def model_of(value: Any) -> type[BaseCheck] | None:
    """Return the model of the kind that the keys of a check's table make it."""
    kind = _kind(value)
    return KINDS[kind] if kind else None


def _kind(value: Any) -> str | None:
    if isinstance(value, BaseCheck):
        return value.kind
    if not isinstance(value, dict):
        return None
    return next((kind for kind in KINDS if kind in value), None)


def _tag(value: Any) -> str | None:
    kind = _kind(value)
    return f"({kind})" if kind else None  # no key is written so: pydantic puts tags into paths


Check = Annotated[
    Annotated[UnitCheck, Tag("(unit)")]
    | Annotated[NoFailedUnitsCheck, Tag("(no_failed_units)")]
    | Annotated[CommandCheck, Tag("(command)")]
    | Annotated[ScriptCheck, Tag("(script)")]
    | Annotated[FileCheck, Tag("(file)")]
    | Annotated[MountCheck, Tag("(mount)")]
    | Annotated[PackageCheck, Tag("(package)")]
    | Annotated[UserCheck, Tag("(user)")]
    | Annotated[PortCheck, Tag("(port)")]
    | Annotated[InterfaceCheck, Tag("(interface)")]
    | Annotated[OvsBridgeCheck, Tag("(ovs_bridge)")]
    | Annotated[KernelArgCheck, Tag("(kernel_arg)")]
    | Annotated[ModuleCheck, Tag("(module)")]
    | Annotated[SysctlCheck, Tag("(sysctl)")]
    | Annotated[BootFinishedCheck, Tag("(boot_finished_within)")]
    | Annotated[MemoryUsedCheck, Tag("(memory_used_at_most)")],
    Discriminator(
        _tag,
        custom_error_type="check_kind",
        custom_error_message="a check needs one of the keys " + ", ".join(KINDS),
    ),
]
"""Any kind of check."""
