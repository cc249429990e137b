"""Checks of files and mounts."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from imagebuilder.checks.base import AbsolutePath, BaseCheck, Word, in_words

FileType = Literal["file", "directory", "link", "socket", "fifo", "block", "character"]


class FileCheck(BaseCheck):
    """A path exists, and is as expected.  Links are followed, unless it is to be one."""

    kind: ClassVar[str] = "file"

    file: AbsolutePath = Field(description="an absolute path")
    exists: bool = Field(default=True, description="false: it must not be there")
    type: FileType | None = Field(
        default=None,
        description="what it must be: file, directory, link, socket, fifo, block or character",
    )
    target: str = Field(
        default="", description="it must be a symbolic link that holds exactly this"
    )
    mode: str = Field(
        default="", pattern=r"^([0-7]{3,4})?$", description="permissions in octal, such as 0644"
    )
    owner: str = Field(default="", description="user, or user:group, that it must belong to")
    size: int | None = Field(default=None, ge=0, description="its size in bytes")
    contains: str = Field(
        default="", description="an extended regular expression that a line of it must match"
    )
    content: str | None = Field(default=None, description="what must stand in it, all of it")
    sha256: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="the SHA-256 digest of its bytes"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.content is not None and self.sha256:
            raise ValueError("content and sha256 say the same: one of them is wanted")
        if self.target and self.type not in (None, "link"):
            raise ValueError(f"a {self.type} has no target")
        asked = self._asked_beside("file", "exists")
        if not self.exists and asked:
            raise ValueError(f"a file that is not there has no {asked[0]}")
        return self

    @property
    def is_link(self) -> bool:
        """Whether the link itself is looked at, not what it leads to."""
        return bool(self.target) or self.type == "link"

    @property
    def digest(self) -> str:
        """The SHA-256 digest that its bytes must have; "" if any will do."""
        if self.content is None:
            return self.sha256
        return hashlib.sha256(self.content.encode()).hexdigest()

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        if not self.exists:
            return f"{self.file} not to be there"
        what = f"to be a {self.type}" if self.type and not self.target else "to be there"
        what = f"to be a link to {self.target}" if self.target else what
        return in_words(
            f"{self.file} {what}",
            self.mode and f"mode {self.mode}",
            self.owner and f"owner {self.owner}",
            "" if self.size is None else f"{self.size} bytes",
            f"a line matching {self.contains!r}" if self.contains else "",
            "" if self.content is None else f"the content {_shortened(self.content)!r}",
            self.sha256 and f"SHA-256 {self.sha256}",
        )

    def _title(self) -> str:
        return f"file {self.file}" if self.exists else f"no file {self.file}"


class MountCheck(BaseCheck):
    """Something is mounted, as expected (/proc/mounts; the last of several mounts counts)."""

    kind: ClassVar[str] = "mount"

    mount: AbsolutePath = Field(description="where")
    mounted: bool = Field(default=True, description="false: nothing must be mounted there")
    type: str = Field(default="", description="the type of file system, such as nfs4")
    source: str = Field(default="", description="what is mounted, as /proc/mounts has it")
    options: tuple[Word, ...] = Field(
        default=(), description="options that it must have, such as ro or size=102400k"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.mounted and (self.type or self.source or self.options):
            raise ValueError("what is not mounted has no type, source or options")
        return self

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        if not self.mounted:
            return f"nothing to be mounted at {self.mount}"
        return in_words(
            f"{self.source or 'something'} to be mounted at {self.mount}",
            self.type and f"type {self.type}",
            f"options {','.join(self.options)}" if self.options else "",
        )

    def _title(self) -> str:
        return f"mount {self.mount}" if self.mounted else f"no mount {self.mount}"


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
