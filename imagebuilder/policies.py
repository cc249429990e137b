"""What a project file says about its catalog: what is kept, and what may be promoted."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


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
    trust: str = Field(default="", description="the trust root, a file of the project")

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
        return bool(self.source or self.approvals or self.signatures)
