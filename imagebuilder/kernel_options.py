"""``[kernel]`` of a recipe: how the image's kernel is started."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from imagebuilder.names import why_no_argument
from imagebuilder.template import is_template


def _kernel_argument(value: str) -> str:
    if is_template(value):  # looked at again when it is rendered
        return value
    if why := why_no_argument(value):
        raise ValueError(why)
    return value


KernelArgument = Annotated[str, AfterValidator(_kernel_argument)]


class KernelOptions(BaseModel):
    """``[kernel]``: how the image's kernel is started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    args: tuple[KernelArgument, ...] = Field(
        default=(), description="kernel arguments, added to the parent's"
    )
