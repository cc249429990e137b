"""What a recipe wants to be true in the booted guest.

A check is one table under ``[[checks]]``; which kind it is follows from the key that it has:
``unit``, ``command``, ``file``, ``port`` or ``no_failed_units``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from imagebuilder.template import is_template


class _Check(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", description="what reports call it; by default what it checks")
    timeout: float = Field(
        default=30.0, gt=0, le=3600, description="seconds to wait for it to come true"
    )

    @property
    def title(self) -> str:
        """What reports call the check."""
        return self.name or self._title()

    @property
    def kind(self) -> str:
        """The key that makes it the check that it is: ``unit``, ``command``…"""
        return next(kind for kind, model in _KINDS.items() if isinstance(self, model))

    def _title(self) -> str:
        raise AssertionError("each kind of check has a title")


class UnitCheck(_Check):
    """A systemd unit is in a state."""

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

    def _title(self) -> str:
        return f"unit {self.unit} {self.state}"


class CommandCheck(_Check):
    """A shell command ends as expected; it is tried again until it does or the time is over."""

    command: str = Field(min_length=1, description="run by /bin/sh in the guest")
    status: int = Field(default=0, ge=0, le=255, description="the exit status it must have")
    matches: str = Field(
        default="", description="an extended regular expression that its output must match"
    )

    def _title(self) -> str:
        return f"command {self.command}"


class FileCheck(_Check):
    """A path exists, and is as expected."""

    file: str = Field(pattern=r"^/", description="an absolute path")
    exists: bool = Field(default=True, description="false: it must not be there")
    mode: str = Field(
        default="", pattern=r"^([0-7]{3,4})?$", description="permissions in octal, such as 0644"
    )
    owner: str = Field(default="", description="user, or user:group, that it must belong to")
    contains: str = Field(
        default="", description="an extended regular expression that a line of it must match"
    )

    def _title(self) -> str:
        return f"file {self.file}" if self.exists else f"no file {self.file}"


class PortCheck(_Check):
    """Something listens on a port, on any of the guest's addresses."""

    port: int = Field(ge=1, le=65535, description="the port's number")
    protocol: Literal["tcp", "udp"] = Field(default="tcp", description="tcp or udp")

    def _title(self) -> str:
        return f"port {self.port}/{self.protocol}"


class NoFailedUnitsCheck(_Check):
    """No unit is in state failed once the boot has settled."""

    no_failed_units: Literal[True] = Field(description="true")
    allow: tuple[str, ...] = Field(default=(), description="units that may have failed")

    def _title(self) -> str:
        return "no failed units"


_KINDS: dict[str, type[_Check]] = {
    "unit": UnitCheck,
    "command": CommandCheck,
    "file": FileCheck,
    "port": PortCheck,
    "no_failed_units": NoFailedUnitsCheck,
}


def model_of(value: Any) -> type[BaseModel] | None:
    """Return the model of the kind that the keys of a check's table make it."""
    kind = _kind(value)
    return _KINDS[kind] if kind else None


def _kind(value: Any) -> str | None:
    if isinstance(value, _Check):
        return value.kind
    if not isinstance(value, dict):
        return None
    return next((kind for kind in _KINDS if kind in value), None)


def _tag(value: Any) -> str | None:
    kind = _kind(value)
    return f"({kind})" if kind else None  # no key is written so: pydantic puts tags into paths


Check = Annotated[
    Annotated[UnitCheck, Tag("(unit)")]
    | Annotated[CommandCheck, Tag("(command)")]
    | Annotated[FileCheck, Tag("(file)")]
    | Annotated[PortCheck, Tag("(port)")]
    | Annotated[NoFailedUnitsCheck, Tag("(no_failed_units)")],
    Discriminator(
        _tag,
        custom_error_type="check_kind",
        custom_error_message="a check needs one of the keys " + ", ".join(_KINDS),
    ),
]
"""Any kind of check."""
