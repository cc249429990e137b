"""What an image may cost: sizes, memory, time, and how fast it may grow."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from imagebuilder.errors import InputError
from imagebuilder.sizes import size_of


def _size(value: str) -> str:
    if value:
        try:
            size_of(value)
        except InputError as error:
            raise ValueError(f"{error.what}: {error.fix}") from error
    return value


Size = Annotated[str, AfterValidator(_size)]


class Budget(BaseModel):
    """``[smoke.budget]``: what an image may cost; a test of one that costs more fails."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Size = Field(
        default="", description="kernel, initrd and rootfs together, such as `600 MB`"
    )
    initrd: Size = Field(default="", description="the initrd")
    rootfs: Size = Field(default="", description="the rootfs")
    memory_mib: int | None = Field(
        default=None,
        gt=0,
        le=1 << 20,
        description="MiB that a machine must have to come up; `test --find-memory` finds out",
    )
    boot_seconds: float | None = Field(
        default=None,
        gt=0,
        le=7200,
        description="from the start of the kernel to multi-user.target, by the guest's own clock, "
        "over each path; five times that under software emulation",
    )
    growth_percent: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="how much larger initrd, rootfs and all together may be than those of the "
        "last release, in per cent; looked at when one publishes, and by `test --compare`",
    )
