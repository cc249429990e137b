"""What all kinds of checks have in common."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import core_schema

from imagebuilder.template import is_template


class BaseCheck(BaseModel):
    """One thing that must be true in the booted guest."""

    # Their schemas are built when they are used: most recipes use few of them.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    # The key that makes it the check that it is: ``unit``, ``command``…
    kind: ClassVar[str]

    name: str = Field(default="", description="what reports call it; by default what it checks")
    timeout: float = Field(
        default=30.0, gt=0, le=3600, description="seconds to wait for it to come true"
    )
    interval: float = Field(
        default=1.0, ge=1, le=3600, description="seconds between one look at it and the next"
    )
    tries: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="how often it is looked at, at most; 0: until its time is over",
    )
    group: str = Field(default="", description="what reports put it under, with others")
    needs: tuple[str, ...] = Field(
        default=(),
        description="checks, by what reports call them, and groups that must have passed; if one "
        "fails this check is skipped",
    )

    @property
    def title(self) -> str:
        """What reports call the check."""
        return self.name or self._title()

    @property
    def wanted(self) -> str:
        """What it wants, in words that go on after "wanted"."""
        raise AssertionError("each kind of check has words")

    @property
    def patience(self) -> float:
        """Seconds until it has failed."""
        return self.timeout

    def _title(self) -> str:
        raise AssertionError("each kind of check has a title")

    def _asked_beside(self, *fields: str) -> list[str]:
        """Return what else the check asks for, beside these and what all checks can have."""
        known = {*fields, *BaseCheck.model_fields}
        return [
            name
            for name, field in type(self).model_fields.items()
            if name not in known and getattr(self, name) != field.get_default()
        ]


def in_words(what: str, *parts: str) -> str:
    """Return "WHAT with PART, PART", without the parts that are empty."""
    more = ", ".join(part for part in parts if part)
    return f"{what} with {more}" if more else what


def _word(value: str) -> str:
    if is_template(value):  # looked at again when it is rendered
        return value
    if not value or not value.isprintable() or any(sign.isspace() for sign in value):
        raise ValueError("one word is wanted")
    return value


def _absolute(value: str) -> str:
    if is_template(value):
        return value
    if not value.startswith("/"):
        raise ValueError("an absolute path is wanted")
    return value


class _OrTemplate:
    """Lets a template stand for a number: it is looked at again when it is rendered."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        def look(value: Any, inner: core_schema.ValidatorFunctionWrapHandler) -> Any:
            return value if isinstance(value, str) and is_template(value) else inner(value)

        return core_schema.no_info_wrap_validator_function(look, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": r"\{[{%]"}]}


OR_TEMPLATE = _OrTemplate()
"""For a number in a check: a template may stand there."""

Word = Annotated[str, AfterValidator(_word)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
