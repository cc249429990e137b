"""The types of a recipe's params, as ``[declare.NAME]`` gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

TypeName = Literal["string", "integer", "number", "boolean", "list", "table"]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list, tuple),
    "table": (dict,),
}


class Declared(BaseModel):
    """``[declare.NAME]``: what values the param of that name can have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: TypeName | None = Field(default=None, description="the type of the value; unset: any")
    items: TypeName | None = Field(default=None, description="the type of each item of a list")
    default: JsonValue = Field(default=None, description="the value, if nothing sets one")
    required: bool = Field(
        default=False, description="whether a recipe that is built must have a value"
    )
    choices: tuple[JsonValue, ...] = Field(
        default=(), description="the values that are allowed; of a list: that its items can have"
    )
    pattern: str = Field(
        default="",
        description="a regular expression that the whole of a string, or of each string in a "
        "list, must match",
    )
    min: float | None = Field(
        default=None, description="the least number, or the least length of a string or list"
    )
    max: float | None = Field(
        default=None, description="the greatest number, or length of a string or list"
    )
    description: str = Field(default="", description="for people: what it is for")

    @field_validator("pattern")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.items and self.type not in (None, "list"):
            raise ValueError(f'items: a {self.type} has none; they are for type = "list"')
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is greater than max")
        if self.has_default:
            if self.required:
                raise ValueError("a param with a default is never missing: required is idle")
            problem = self.problem(self.default)
            if problem:
                raise ValueError(f"the default {problem}")
        return self

    @property
    def has_default(self) -> bool:
        """Whether a default is given (TOML has no null, so that one is none)."""
        return self.default is not None

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, as the end of a sentence; "" if nothing is."""
        if self.type and not _is(value, self.type):
            return f"is to be {_article(self.type)}, not {_article(_name(value))}"
        parts = value if isinstance(value, list | tuple) else [value]
        if self.items and not all(_is(each, self.items) for each in parts):
            wrong = next(each for each in parts if not _is(each, self.items))
            return (
                f"is to be a list of {_plural(self.items)}, and has {_article(_name(wrong))} in it"
            )
        if self.choices:
            wrong_ones = [each for each in parts if each not in self.choices]
            if wrong_ones:
                known = ", ".join(str(each) for each in self.choices)
                return f"cannot be {wrong_ones[0]!r}; it can be: {known}"
        if self.pattern:
            for each in parts:
                if isinstance(each, str) and not re.fullmatch(self.pattern, each):
                    return f"does not match {self.pattern!r}: {each!r}"
        return self._bounds_problem(value)

    def _bounds_problem(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float | str | list | tuple):
            return ""
        is_number = isinstance(value, int | float)
        size = value if isinstance(value, int | float) else len(value)
        measured = str(value) if is_number else f"of length {size}"
        if self.min is not None and size < self.min:
            return f"is {measured}; the least is {self.min:g}"
        if self.max is not None and size > self.max:
            return f"is {measured}; the most is {self.max:g}"
        return ""


def problems(declared: Mapping[str, Declared], params: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with each param that is: name → the end of a sentence."""
    found: dict[str, str] = {}
    for name, each in declared.items():
        if name in params:
            problem = each.problem(params[name])
        else:
            problem = "has no value, and needs one" if each.required else ""
        if problem:
            found[name] = problem
    return found


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):  # Python's are integers, TOML's are not
        return wanted == "boolean"
    return isinstance(value, _TYPES[wanted])


def _name(value: Any) -> str:
    return next((name for name in _TYPES if _is(value, name)), type(value).__name__)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _plural(name: str) -> str:
    return f"{name}s"
