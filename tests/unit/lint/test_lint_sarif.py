"""The SARIF log has the form that the standard prescribes, and says what was found."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from imagebuilder import lint
from imagebuilder.errors import Location
from imagebuilder.lint import Finding, Waived

# The part of SARIF 2.1.0 that is written here, by the clauses of the standard; what is not named
# is refused, since the standard's own schema refuses it as well.


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_MESSAGE = _object("text", text=_TEXT)  # 3.11
_LEVEL = {"enum": ["none", "note", "warning", "error"]}  # 3.27.10
_LOCATION = _object(  # 3.28
    "physicalLocation",
    id={"type": "integer", "minimum": 0},
    physicalLocation=_object(  # 3.29
        "artifactLocation",
        artifactLocation=_object(
            "uri",
            uri={"type": "string", "pattern": r"^(?!/)[A-Za-z0-9._~/%-]+$"},
            uriBaseId={"const": "SRCROOT"},
        ),
        region=_object("startLine", startLine={"type": "integer", "minimum": 1}),  # 3.30
    ),
    logicalLocations={
        "type": "array",
        "items": _object("fullyQualifiedName", fullyQualifiedName=_TEXT),
    },
)
_RESULT = _object(  # 3.27
    "message",
    ruleId={"type": "string", "pattern": "^IB[0-9]{3}$"},
    ruleIndex={"type": "integer", "minimum": 0},
    level=_LEVEL,
    message=_MESSAGE,
    locations={"type": "array", "items": _LOCATION},
    relatedLocations={"type": "array", "items": _LOCATION, "uniqueItems": True},
    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
    suppressions={
        "type": "array",
        "items": _object(  # 3.35
            "kind",
            kind={"enum": ["inSource", "external"]},
            status={"enum": ["accepted", "underReview", "rejected"]},
            justification=_TEXT,
            location=_LOCATION,
        ),
    },
    properties={"type": "object"},
)
_RULE = _object(  # 3.49
    "id",
    id=_TEXT,
    shortDescription=_MESSAGE,
    fullDescription=_MESSAGE,
    help=_MESSAGE,
    defaultConfiguration=_object("", level=_LEVEL),
)
_SCHEMA = _object(  # 3.13, 3.14, 3.18, 3.19
    "version runs",
    **{
        "$schema": {"type": "string", "pattern": "sarif-schema-2.1.0.json$"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": _object(
                "tool",
                tool=_object(
                    "driver",
                    driver=_object(
                        "name",
                        name=_TEXT,
                        semanticVersion=_TEXT,
                        rules={"type": "array", "items": _RULE, "uniqueItems": True},
                    ),
                ),
                originalUriBaseIds={
                    "type": "object",
                    "additionalProperties": _object("description", description=_MESSAGE),
                },
                columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                results={"type": "array", "items": _RESULT},
            ),
        },
    },
)

FINDINGS = (
    Finding(code="IB100", severity="note", text="not looked at", where=None),
    Finding(
        code="IB301",
        severity="error",
        text="a password stands in plain text",
        where=Location(file="kickstarts/a b.ks", line=7),
        fix="write its hash",
        recipes=("a", "b"),
        waived=Waived(
            reason="a test image",
            until=date(2027, 1, 1),
            where=Location(file="recipes/a.toml", line=3, key="waivers.0"),
        ),
    ),
    Finding(
        code="IB601",
        severity="warning",
        text="on and off",
        where=Location(file="kickstarts/é.ks", line=1),
        also=(Location(file="kickstarts/c.ks", line=2), Location(file="recipes/a.toml")),
    ),
)


def checked(log: Any) -> None:
    Draft202012Validator(_SCHEMA).validate(log)


def test_the_log_has_the_form_of_the_standard() -> None:
    checked(lint.sarif(FINDINGS))
    checked(lint.sarif(()))


def test_the_check_of_the_form_refuses_what_is_not() -> None:
    log = lint.sarif(FINDINGS)
    log["runs"][0]["results"][1]["locations"][0]["physicalLocation"]["region"] = {"line": 7}
    with pytest.raises(ValidationError):
        checked(log)


def test_each_result_refers_to_its_rule() -> None:
    (run,) = lint.sarif(FINDINGS)["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result, finding in zip(run["results"], FINDINGS, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert result["level"] == finding.severity


def test_places_are_relative_and_encoded() -> None:
    (run,) = lint.sarif(FINDINGS)["runs"]
    assert "locations" not in run["results"][0]
    place = run["results"][1]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "kickstarts/a%20b.ks", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 7}
    assert "SRCROOT" in run["originalUriBaseIds"]
    assert len(run["results"][2]["relatedLocations"]) == 2


def test_what_is_waived_is_suppressed_with_its_reason() -> None:
    (run,) = lint.sarif(FINDINGS)["runs"]
    (mark,) = run["results"][1]["suppressions"]
    assert mark["justification"] == "a test image (until 2027-01-01)"
    assert "suppressions" not in run["results"][2]


def test_a_fingerprint_does_not_change_with_the_line() -> None:
    moved = Finding(code="IB505", severity="warning", text="x", where=Location(file="f", line=9))
    other = Finding(code="IB505", severity="warning", text="x", where=Location(file="f", line=10))
    prints = [
        lint.sarif([each])["runs"][0]["results"][0]["partialFingerprints"]
        for each in (moved, other)
    ]
    assert prints[0] == prints[1]
