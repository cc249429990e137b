"""What came of the tests of several recipes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imagebuilder.errors import ImageBuilderError
from imagebuilder.names import RecipeName
from imagebuilder.smoke.report import SmokeReport


class NotTested(BaseModel):
    """A recipe whose image could not be tested: it was not built, or this host lacks something."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: RecipeName
    what: str = Field(description="what happened")
    where: str = Field(default="", description="file and line")
    fix: str = Field(default="", description="what to do about it")
    excerpt: str = Field(default="", description="the end of the log")

    @classmethod
    def of(cls, recipe: str, error: ImageBuilderError) -> NotTested:
        """Return what an error says."""
        where = str(error.where) if error.where else ""
        return cls(
            recipe=recipe, what=error.what, where=where, fix=error.fix, excerpt=error.excerpt
        )


class Results(BaseModel):
    """The tests of one run of the command, in the order of the recipes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    reports: tuple[SmokeReport, ...] = ()
    not_tested: tuple[NotTested, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all were tested and passed."""
        return not self.not_tested and all(each.passed for each in self.reports)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of results: what ``test --report json=FILE`` writes."""
    return Results.model_json_schema(mode="serialization")
