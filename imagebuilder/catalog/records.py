"""What stands in a catalog beside releases and channels: who is at work, what hosts run."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from imagebuilder.catalog.model import Line, Model, Time, Version
from imagebuilder.errors import InputError
from imagebuilder.image import ImageId, Sha256
from imagebuilder.names import RecipeName

WHO_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$"
HOST_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"

LeaseId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
HostName = Annotated[str, StringConstraints(pattern=HOST_PATTERN)]
Who = Annotated[str, StringConstraints(pattern=WHO_PATTERN)]


class Lease(Model):
    """``leases/ID.json``: what somebody who is publishing or promoting is going to name."""

    format: Literal[1] = 1
    id: LeaseId
    name: RecipeName = Field(description="the recipe whose releases are kept")
    image: ImageId | Literal[""] = Field(description="only those of this image; empty: all")
    digests: tuple[Sha256, ...] = Field(max_length=1000, description="blobs that are kept")
    by: Line
    created: Time


class ReleaseName(Model):
    """The name of a release."""

    name: RecipeName
    version: Version


class Collection(Model):
    """``gc.json``: what a garbage collection is deleting; empty when none is at work."""

    compact: ClassVar[bool] = True

    format: Literal[1] = 1
    id: LeaseId
    by: Line
    started: Time
    ended: bool = Field(default=False, description="whether it is over, so that another may begin")
    releases: tuple[ReleaseName, ...] = ()
    blobs: tuple[Sha256, ...] = ()


class Approval(Model):
    """``approvals/NAME/VERSION/WHO.json``: somebody's approval of a release."""

    format: Literal[1] = 1
    name: RecipeName
    version: Version
    who: Who
    by: Line = Field(description="user and host of the process that wrote it")
    reason: Line = ""
    time: Time


class Running(Model):
    """``hosts/NAME/HOST.json``: which release of a recipe a host runs."""

    format: Literal[1] = 1
    host: HostName
    name: RecipeName
    version: Version
    time: Time


def check_host(name: str) -> str:
    """Return the name if a host may be called so.

    Raises:
        InputError: it may not.
    """
    if not re.fullmatch(HOST_PATTERN.strip("^$"), name):
        raise InputError(
            f"{name[:80]!r} is no host's name",
            fix="a name has letters, digits and . _ -, and at most 200 of them",
        )
    return name


def check_who(name: str) -> str:
    """Return the name if somebody who approves may be called so.

    Raises:
        InputError: nobody may.
    """
    if not re.fullmatch(WHO_PATTERN.strip("^$"), name):
        raise InputError(
            f"{name[:80]!r} is no name for somebody who approves",
            fix="a name has letters, digits and . _ + -, and at most 100 of them",
        )
    return name
