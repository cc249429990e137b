"""Checks of what runs in the guest and what is installed in it."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from imagebuilder.checks.base import OR_TEMPLATE, BaseCheck, Word, in_words
from imagebuilder.template import is_template

# Debian's Policy Manual, "Version", and what RPM allows beside it.
_VERSION = re.compile(r"(<|<=|=|!=|>=|>) ?([0-9A-Za-z][0-9A-Za-z.+:~^_-]*)")


def _version(value: str) -> str:
    if value and not is_template(value) and not _VERSION.fullmatch(value):
        raise ValueError('a comparison and a version are wanted, such as ">= 7.2"')
    return value


def _in_project(value: str) -> str:
    if is_template(value):
        return value
    parts = value.split("/")
    if any(part in ("", ".", "..") for part in parts) or not value.isprintable():
        raise ValueError("a path below the project's folder is wanted")
    return value


class CommandCheck(BaseCheck):
    """A shell command ends as expected; it is tried again until it does or the time is over."""

    kind: ClassVar[str] = "command"

    command: str = Field(min_length=1, description="run by /bin/sh in the guest")
    status: int = Field(default=0, ge=0, le=255, description="the exit status it must have")
    matches: str = Field(
        default="", description="an extended regular expression that its output must match"
    )
    output: str | None = Field(
        default=None,
        description="what its output must be, all of it; spaces and newlines at its end do not "
        "count",
    )
    run_timeout: float | None = Field(
        default=None,
        gt=0,
        le=3600,
        description="seconds after which one run of it is ended; unset: what is left of timeout",
    )

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        return _end_of_run(self.status, self.matches, self.output)

    def _title(self) -> str:
        return f"command {self.command}"


class ScriptCheck(BaseCheck):
    """A file of the project is carried into the guest and run there, as root.

    Its first line names what runs it; without one that is ``/bin/sh``.  No other file of the
    project is there: it is to be whole in itself.
    """

    kind: ClassVar[str] = "script"

    script: Annotated[str, AfterValidator(_in_project)] = Field(
        description="the file, below the project's folder"
    )
    arguments: tuple[str, ...] = Field(default=(), description="what it is given")
    status: int = Field(default=0, ge=0, le=255, description="the exit status it must have")
    matches: str = Field(
        default="", description="an extended regular expression that its output must match"
    )
    output: str | None = Field(default=None, description="as of a command")
    run_timeout: float | None = Field(default=None, gt=0, le=3600, description="as of a command")

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        return _end_of_run(self.status, self.matches, self.output)

    def _title(self) -> str:
        return " ".join(("script", self.script, *self.arguments))


def _end_of_run(status: int, matches: str, output: str | None) -> str:
    parts = [f"exit status {status}"]
    parts += [f"output matching {matches!r}"] if matches else []
    parts += [f"the output {output.strip()!r}"] if output is not None else []
    return " and ".join(parts)


class PackageCheck(BaseCheck):
    """A package is installed, in a version (dpkg or RPM)."""

    kind: ClassVar[str] = "package"

    package: Word = Field(description="its name; Debian's can have :ARCH")
    version: Annotated[str, AfterValidator(_version)] = Field(
        default="",
        description='a comparison (<, <=, =, !=, >=, >) and a version, such as ">= 7.2"; what '
        "it does not say, an epoch or a revision, does not count",
    )
    installed: bool = Field(default=True, description="false: it must not be installed")

    @field_validator("package")
    @classmethod
    def _name(cls, value: str) -> str:
        if not is_template(value) and (value.startswith("-") or set(value) & set("*?[]")):
            raise ValueError("the name of one package is wanted")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.version and not self.installed:
            raise ValueError("a package that is not installed has no version")
        return self

    @property
    def comparison(self) -> tuple[str, str]:
        """The comparison and the version; ("", "") if any will do."""
        found = _VERSION.fullmatch(self.version)
        return (found[1], found[2]) if found else ("", "")

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        what = f"the package {self.package} {'not ' * (not self.installed)}to be installed"
        return in_words(what, self.version and f"version {self.version}")

    def _title(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{'no ' * (not self.installed)}package {self.package}{version}"


class UserCheck(BaseCheck):
    """A user is there, and is as expected."""

    kind: ClassVar[str] = "user"

    user: Word = Field(description="its name")
    exists: bool = Field(default=True, description="false: there must be no such user")
    uid: Annotated[int, Field(ge=0, le=0xFFFFFFFE), OR_TEMPLATE] | None = Field(
        default=None, description="its number"
    )
    groups: tuple[Word, ...] = Field(
        default=(), description="groups that it must be in; it may be in others as well"
    )
    shell: str = Field(default="", description="its login shell")
    home: str = Field(default="", description="its home folder")
    password: Literal["locked", "set", "any"] = Field(
        default="any",
        description="locked: nobody comes in by a password; set: it has one; any: either will "
        "do, or none at all",
    )

    @field_validator("user")
    @classmethod
    def _name(cls, value: str) -> str:
        if not is_template(value) and (value.startswith("-") or set(value) & set(":/")):
            raise ValueError("the name of a user is wanted")
        return value

    @field_validator("shell", "home")
    @classmethod
    def _path(cls, value: str) -> str:
        if value and not is_template(value) and not value.startswith("/"):
            raise ValueError("an absolute path is wanted")
        return value

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        if not self.exists:
            return f"no user {self.user}"
        return in_words(
            f"the user {self.user}",
            "" if self.uid is None else f"uid {self.uid}",
            f"groups {' '.join(self.groups)}" if self.groups else "",
            self.shell and f"shell {self.shell}",
            self.home and f"home {self.home}",
            "" if self.password == "any" else f"its password {self.password}",  # noqa: S105
        )

    def _title(self) -> str:
        return f"{'no ' * (not self.exists)}user {self.user}"
