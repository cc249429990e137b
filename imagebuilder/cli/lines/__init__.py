"""What ``--json`` prints: a model for each kind of line, from which the JSON Schema is made.

A line is a table with one key, which says what it is.  No verb needs these models, and none loads
them: the tests hold every line that any verb prints against them.  A reader has to put up with
further kinds of lines, and with further keys in a later version.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from imagebuilder.catalog.model import Move, Release
from imagebuilder.catalog.records import Approval, Running
from imagebuilder.catalog.rules import Rules
from imagebuilder.cli.lines import catalog, common, work
from imagebuilder.remembered import Row
from imagebuilder.smoke.report import SmokeReport

LINES: dict[str, Any] = {
    "event": common.EventLine,
    "recipe": Row | work.ShownRecipe,
    "origin": work.OriginLine,
    "plan": work.PlanLine,
    "lock": work.LockLine,
    "outdated": work.OutdatedLine,
    "test": work.TestLine,
    "image": work.ImageLine,
    "reproducible": work.ReproducibleLine,
    "report": SmokeReport,
    "release": catalog.PublishedLine | catalog.ListedRelease | Release,
    "channel": catalog.ChannelLine,
    "move": Move,
    "approval": Approval,
    "rules": Rules,
    "running": Running,
    "choice": catalog.Choice,
    "attestation": catalog.Attestation,
    "signed": catalog.Signed,
    "key": catalog.Key,
    "match": catalog.Match,
    "deleted": catalog.Deleted,
    "kept": catalog.Kept,
    "freed": catalog.Freed,
    "synced": catalog.Synced,
    "verified": catalog.Verified,
    "pulled": work.PathLine,
    "exported": catalog.Exported,
    "page": work.PathLine,
    "presigned": catalog.Presigned,
    "project": work.Project,
    "imported": work.Imported,
    "lint": work.LintLine,
    "changed": work.ChangesLine,
    "diff": work.ChangesLine | work.ImagesDiff | work.RecipesDiff,
    "finding": work.HostFinding | catalog.CatalogFinding,
    "leftover": work.Leftover,
    "entry": work.CacheEntry | work.RemoteEntry,
    "removed": work.Leftover | work.CacheEntry | work.RemoteEntry,
    "in_use": work.CacheEntry,
    "summary": common.SummaryLine,
    "error": common.ErrorLine,
}


def check(kind: str, value: Any) -> None:
    """Hold the value of a line against its model.

    Raises:
        KeyError: there is no such kind.
        ValidationError: the value is no such thing.
    """
    _adapter(kind).validate_json(json.dumps(value))


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(LINES[kind])


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a line."""
    mode: JsonSchemaMode = "serialization"
    found, shared = TypeAdapter.json_schemas(
        [(kind, mode, TypeAdapter(value)) for kind, value in LINES.items()]
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a line that imagebuilder --json prints",
        "oneOf": [
            {
                "type": "object",
                "properties": {kind: found[kind, mode]},
                "required": [kind],
                "additionalProperties": False,
            }
            for kind in LINES
        ],
        **shared,
    }
