"""What a project file says about its catalog: what is kept, and what may be promoted."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

ExportFormat = Literal["fcos", "simplestreams", "ims", "matchbox", "oci", "page"]


class Retention(BaseModel):
    """``[retention]``: which releases garbage collection keeps.

    A release is kept when any of these holds, and deleted otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_last: int = Field(default=10, ge=1, description="the newest releases of each recipe")
    keep_days: float = Field(default=30, ge=0, description="releases that are younger, in days")
    rollback_steps: int = Field(
        default=10,
        ge=1,
        description="what a channel names, and as many steps back as it can be rolled back",
    )
    running_days: float = Field(
        default=30,
        ge=0,
        description="what a host reported within so many days that it runs",
    )
    grace_hours: float = Field(
        default=24,
        ge=0,
        description="whatever was written within so many hours, if it belongs to a release or not",
    )


class ChannelPolicy(BaseModel):
    """``[channels.NAME]``: what a release must have to come into a channel."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str = Field(
        default="", alias="from", description="the channel that must name it now; empty: any"
    )
    minimum_hours: float = Field(
        default=0, ge=0, description="how long that channel must have named it"
    )
    tested: bool = Field(default=False, description="a test of exactly this image must have passed")
    approvals: int = Field(default=0, ge=0, description="how many people must have approved it")
    signatures: int = Field(
        default=0, ge=0, description="how many keys of the trust root must have signed it"
    )
    builders: list[str] = Field(
        default_factory=list,
        description="its provenance must say that one of these (URIs) built it",
    )
    passed: list[str] = Field(
        default_factory=list,
        description="the checks, by title, that its test result must say have passed",
    )
    clean: bool = Field(
        default=False,
        description="its test result must be there, and have no warnings: no check that was "
        "waived, no boot that passed only when it was repeated",
    )
    predicates: list[str] = Field(
        default_factory=list,
        description="in-toto statements of these types (URIs) about it must be there",
    )
    trust: str = Field(
        default="",
        description="the trust root, a file of the project; statements then count only if its "
        "keys have signed them: as many as signatures says, one at least",
    )

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.minimum_hours and not self.source:
            raise ValueError("minimum_hours needs from: the channel that it has to be in")
        if self.signatures and not self.trust:
            raise ValueError("signatures needs trust: the file that names the keys")
        return self

    @property
    def only_promotes(self) -> bool:
        """Whether only a release that is published already can meet it."""
        return bool(self.source or self.approvals or self.signatures or self.asks_for_statements)

    @property
    def asks_for_statements(self) -> bool:
        """Whether it asks for what in-toto statements say of a release."""
        return bool(self.builders or self.passed or self.clean or self.predicates)


def _public_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.username
    except ValueError:
        wrong = True
    if value and (wrong or not value.isprintable() or any(sign in value for sign in " ?#\"'\\")):
        raise ValueError("a URL that readers reach the catalog by, such as http://HOST/FOLDER/")
    return f"{value.rstrip('/')}/" if value else ""


class Exports(BaseModel):
    """``[exports]``: what is written beside the catalog's own objects, for other tools.

    It holds for the catalog that the project file names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    formats: tuple[ExportFormat, ...] = Field(
        default=(), description="which: fcos, simplestreams, ims, matchbox, oci, page"
    )
    url: Annotated[str, AfterValidator(_public_url)] = Field(
        default="",
        description="under which URL readers reach the catalog by plain HTTP; a bucket's own is "
        "known",
    )
