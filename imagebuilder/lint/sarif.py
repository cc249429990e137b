"""Findings in SARIF 2.1.0, which code hosting and editors show beside the lines.

Static Analysis Results Interchange Format, OASIS Standard:
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from imagebuilder.errors import Location
from imagebuilder.lint.codes import CODES
from imagebuilder.lint.finding import Finding

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT = "SRCROOT"


def sarif(
    findings: Sequence[Finding], path_of: Callable[[str], str] = lambda file: file
) -> dict[str, Any]:
    """Return findings as a SARIF log with one run, as plain JSON data.

    What is waived is a suppressed result, with the waiver's reason as its justification.

    Args:
        findings: the findings.
        path_of: gives a file's path from the top of the repository, to which code hosting
            takes paths to be relative whatever their base is called.
    """
    codes = sorted({each.code for each in findings})
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "imagebuilder",
                        "semanticVersion": version("imagebuilder"),
                        "rules": [_rule(code) for code in codes],
                    }
                },
                "originalUriBaseIds": {
                    _ROOT: {"description": {"text": "The top folder of the repository."}}
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(each, codes.index(each.code), path_of) for each in findings],
            }
        ],
    }


def _rule(code: str) -> dict[str, Any]:
    kind = CODES[code]
    return {
        "id": code,
        "shortDescription": {"text": _sentence(kind.title)},
        "fullDescription": {"text": kind.meaning},
        "help": {"text": _sentence(kind.fix)},
        "defaultConfiguration": {"level": kind.severity},
    }


def _result(finding: Finding, index: int, path_of: Callable[[str], str]) -> dict[str, Any]:
    fix = f"\n{_sentence(finding.fix)}" if finding.fix else ""
    made: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": _sentence(finding.text) + fix},
        "partialFingerprints": {"imagebuilder/v1": _fingerprint(finding)},
        "properties": {"recipes": list(finding.recipes)},
    }
    if finding.where:
        made["locations"] = [_location(finding.where, path_of)]
    if finding.also:
        made["relatedLocations"] = _related(finding.also, path_of)
    if finding.waived:
        made["suppressions"] = [
            {
                "kind": "external",
                "status": "accepted",
                "justification": f"{finding.waived.reason} (until {finding.waived.until})",
                "location": _location(finding.waived.where, path_of),
            }
        ]
    return made


def _related(places: Iterable[Location], path_of: Callable[[str], str]) -> list[dict[str, Any]]:
    return [{"id": n, **_location(each, path_of)} for n, each in enumerate(places, 1)]


def _location(where: Location, path_of: Callable[[str], str]) -> dict[str, Any]:
    physical: dict[str, Any] = {
        "artifactLocation": {"uri": quote(path_of(where.file)), "uriBaseId": _ROOT},
    }
    if where.line is not None:
        physical["region"] = {"startLine": where.line}
    made: dict[str, Any] = {"physicalLocation": physical}
    if where.key:
        made["logicalLocations"] = [{"fullyQualifiedName": where.key}]
    return made


def _fingerprint(finding: Finding) -> str:
    """Return what stays the same when lines above the place come or go (SARIF 3.27.18)."""
    file = finding.where.file if finding.where else ""
    said = "\0".join((finding.code, file, finding.text))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."
