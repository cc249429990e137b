"""Checks of systemd, the kernel, and the boot as a whole."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from imagebuilder.checks.base import OR_TEMPLATE, BaseCheck, Word, in_words
from imagebuilder.template import is_template

_SYSCTL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:/-]*")
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def _sysctl(value: str) -> str:
    if not is_template(value) and (not _SYSCTL.fullmatch(value) or ".." in value):
        raise ValueError("a sysctl's name is wanted, such as net.ipv4.ip_forward")
    return value


def _module(value: str) -> str:
    if not is_template(value) and not _MODULE.fullmatch(value):
        raise ValueError("a module's name is wanted, such as vfio_pci")
    return value


class UnitCheck(BaseCheck):
    """A systemd unit is in a state."""

    kind: ClassVar[str] = "unit"

    unit: str = Field(min_length=1, description="the unit's full name, such as ssh.service")
    state: Literal["active", "inactive", "failed"] = Field(
        default="active", description="what systemctl is-active must say"
    )
    enabled: bool | None = Field(
        default=None, description="whether it must be enabled or must not; unset: either will do"
    )

    @field_validator("unit")
    @classmethod
    def _full_name(cls, value: str) -> str:
        if is_template(value):  # looked at again when it is rendered
            return value
        if "." not in value or any(sign.isspace() or sign == "/" for sign in value):
            raise ValueError("a unit's full name is wanted, such as ssh.service")
        return value

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        enabled = {None: "", True: " and enabled", False: " and not enabled"}[self.enabled]
        return f"{self.unit} to be {self.state}{enabled}"

    def _title(self) -> str:
        return f"unit {self.unit} {self.state}"


class NoFailedUnitsCheck(BaseCheck):
    """No unit is in state failed once the boot has settled."""

    kind: ClassVar[str] = "no_failed_units"

    no_failed_units: Literal[True] = Field(description="true")
    allow: tuple[str, ...] = Field(default=(), description="units that may have failed")

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        return "no failed unit" + (f" but {', '.join(self.allow)}" if self.allow else "")

    def _title(self) -> str:
        return "no failed units"


class BootFinishedCheck(BaseCheck):
    """The boot, with all jobs that it queued, is finished in time, by the guest's own clock."""

    kind: ClassVar[str] = "boot_finished_within"

    boot_finished_within: Annotated[float, Field(gt=0, le=7200), OR_TEMPLATE] = Field(
        description="seconds from the start of the kernel; five times that under software "
        "emulation",
    )

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        return f"the boot to be finished within {self.boot_finished_within:g} s"

    @property
    def patience(self) -> float:
        """Seconds until it has failed: never before the time that the boot may take."""
        return max(self.timeout, self.boot_finished_within)

    def _title(self) -> str:
        return f"boot finished within {self.boot_finished_within:g} s"


class MemoryUsedCheck(BaseCheck):
    """The running system uses no more memory than that.

    Used is what the kernel could not give to programs: all but MemAvailable of /proc/meminfo.
    What lies in the root's overlay, and a root file system in memory, are part of it.
    """

    kind: ClassVar[str] = "memory_used_at_most"

    memory_used_at_most: Annotated[int, Field(gt=0, le=1 << 20), OR_TEMPLATE] = Field(
        description="MiB"
    )

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        return f"at most {self.memory_used_at_most} MiB of memory to be used"

    def _title(self) -> str:
        return f"at most {self.memory_used_at_most} MiB of memory used"


class KernelArgCheck(BaseCheck):
    """The kernel was started with an argument."""

    kind: ClassVar[str] = "kernel_arg"

    kernel_arg: Word = Field(description="the argument's name: what stands before its =")
    value: str | int | None = Field(
        default=None,
        description="what it must say, once at least if it is given several times; unset: "
        "anything, or nothing",
    )
    present: bool = Field(default=True, description="false: it must not be there, with that value")

    @field_validator("kernel_arg")
    @classmethod
    def _name_alone(cls, value: str) -> str:
        if not is_template(value) and "=" in value:
            raise ValueError("the argument's name alone is wanted: its value goes to value")
        return value

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        return f"the kernel argument {self._argument} {'not ' * (not self.present)}to be there"

    @property
    def _argument(self) -> str:
        return self.kernel_arg + ("" if self.value is None else f"={self.value}")

    def _title(self) -> str:
        return f"{'no ' * (not self.present)}kernel argument {self._argument}"


class ModuleCheck(BaseCheck):
    """A kernel module is loaded, or built in."""

    kind: ClassVar[str] = "module"

    module: Annotated[str, AfterValidator(_module)] = Field(description="its name")
    loaded: bool = Field(
        default=True, description="false: it must be neither loaded nor built into the kernel"
    )
    parameters: dict[Word, str | int] = Field(
        default_factory=dict, description="what parameters of it must say (/sys/module)"
    )

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        parts = (f"{name}={value}" for name, value in self.parameters.items())
        what = f"the module {self.module} {'not ' * (not self.loaded)}to be loaded"
        return in_words(what, *parts)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.parameters and not self.loaded:
            raise ValueError("a module that is not loaded has no parameters")
        return self

    def _title(self) -> str:
        return f"module {self.module}{' not' * (not self.loaded)} loaded"


class SysctlCheck(BaseCheck):
    """A sysctl has a value."""

    kind: ClassVar[str] = "sysctl"

    sysctl: Annotated[str, AfterValidator(_sysctl)] = Field(
        description="its name, such as net.ipv4.ip_forward; with / between its parts if one of "
        "them has a dot"
    )
    value: str | int | None = Field(
        default=None, description="what it must say; parts are separated by one space"
    )
    at_least: Annotated[int, OR_TEMPLATE] | None = Field(
        default=None, description="the least number that will do"
    )
    at_most: Annotated[int, OR_TEMPLATE] | None = Field(
        default=None, description="the largest number that will do"
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.value is None and self.at_least is None and self.at_most is None:
            raise ValueError("value, at_least or at_most is wanted")
        return self

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        parts = [
            "" if self.value is None else repr(str(self.value)),
            "" if self.at_least is None else f"{self.at_least} or more",
            "" if self.at_most is None else f"{self.at_most} or less",
        ]
        return f"{self.sysctl} to be {' and '.join(part for part in parts if part)}"

    def _title(self) -> str:
        return f"sysctl {self.wanted}".replace(" to be ", " ")
