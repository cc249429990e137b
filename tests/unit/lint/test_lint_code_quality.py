"""The report for GitLab: each finding at its line, the same one with the same fingerprint."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from fakes import MakeProject
from jsonschema import Draft202012Validator

from imagebuilder.cli.main import main
from imagebuilder.errors import Location
from imagebuilder.lint import Finding, Waived, code_quality

# What GitLab asks for in "Import code quality results from a CI/CD job".
SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": r"^(?!\.?/)"},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}


def finding(
    line: int | None = 3, *, text: str = "no such command", waived: bool = False
) -> Finding:
    where = Location(file="kickstarts/a.ks", line=line) if line else None
    waiver = Waived(reason="x", until=date(2099, 1, 1), where=Location(file="r.toml"))
    return Finding(
        code="IB102", severity="error", text=text, where=where, fix="mend it",
        waived=waiver if waived else None,
    )  # fmt: skip


def test_what_is_in_it() -> None:
    found = code_quality(
        [finding(), finding(None), finding(waived=True)], lambda file: f"top/{file}"
    )
    Draft202012Validator(SCHEMA).validate(found)
    first, second = found
    assert first["location"] == {"path": "top/kickstarts/a.ks", "lines": {"begin": 3}}
    assert first["description"] == "no such command. mend it"
    assert first["severity"] == "critical"
    assert second["location"] == {"path": "top/imagebuilder.toml", "lines": {"begin": 1}}


def test_fingerprints_stay_and_are_unique() -> None:
    def prints(*findings: Finding) -> list[str]:
        return [each["fingerprint"] for each in code_quality(findings, str)]

    before = prints(finding(3), finding(5), finding(text="other"))
    assert len(set(before)) == 3
    assert prints(finding(30), finding(50), finding(text="other")) == before


def test_the_verb_writes_it(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    recipe = 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
    project = make_project({"recipes/r.toml": recipe, "kickstarts/a.ks": "\nnonsense\n"})
    (tmp_path / ".git").mkdir()
    at = ["-C", str(project.root), "lint", "r", "--offline", "--code-quality"]
    assert main([*at, str(tmp_path / "out.json")]) == 2
    found = json.loads((tmp_path / "out.json").read_text())
    Draft202012Validator(SCHEMA).validate(found)
    assert {"path": "project/kickstarts/a.ks", "lines": {"begin": 2}} in [
        each["location"] for each in found
    ]
    assert main([*at, str(tmp_path / "no/out.json")]) == 5
