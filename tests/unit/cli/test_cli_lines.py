"""What ``--json`` prints: each line has a model, a schema, and a row in the documentation."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes import FakeEngine, MakeProject
from pydantic import ValidationError

import imagebuilder.cli
from imagebuilder.cli import lines
from imagebuilder.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "docs/schemas/lines.json").read_text())
FILES = {
    "recipes/r.toml": 'summary = "x"\ndistro = "debian-12"\nkickstarts = ["a.ks"]\n',
    "recipes/s.toml": 'extends = "r"\nkickstarts = ["b.ks"]\n',
    "kickstarts/a.ks": "timezone UTC\n",
    "kickstarts/b.ks": "nonsense\n",
}


def printed() -> set[str]:
    """Return the kinds of lines that stand in the code of the verbs."""
    found: set[str] = set()
    for path in Path(imagebuilder.cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "data"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(node.args[0].value)
    return found


def test_each_kind_has_a_model_and_is_described() -> None:
    assert printed() == set(lines.LINES)
    text = (ROOT / "docs/command.md").read_text()
    assert [kind for kind in lines.LINES if f"`{kind}`" not in text] == []


def test_the_schema_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert main(["schema", "lines"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


def test_lines_of_real_runs_are_valid(
    make_project: MakeProject, fake_engine: FakeEngine, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    at = ["-C", str(make_project(FILES).root), "--json"]
    catalog = ["--catalog", (tmp_path / "catalog").as_uri()]
    key = str(tmp_path / "key")
    seen: dict[str, list[Any]] = {}
    for argv in (
        ["list"],
        ["show", "r"],
        ["show", "r", "--why", "timezone"],
        ["plan", "r"],
        ["test", "-n", "r"],
        ["build", "-k", "r", "s"],
        ["publish", *catalog, "--untested", "a test of ours", "r"],
        ["catalog", "ls", *catalog],
        ["catalog", "show", "r", *catalog],
        ["catalog", "history", "r", "testing", *catalog],
        ["catalog", "verify", *catalog],
        ["promote", "r", "--from", "testing", "--to", "stable", *catalog],
        ["catalog", "key", key],
        ["catalog", "page", "--output", str(tmp_path / "page.html"), *catalog],
        ["catalog", "gc", "--dry-run", *catalog],
        ["catalog", "pull", "r", "--output", str(tmp_path / "out"), *catalog],
        ["catalog", "export", "page", "--output", str(tmp_path / "export"), *catalog],
        ["report", "r"],
        ["lint", "--offline", "s"],
        ["diff", "r", "r"],
        ["cache", "ls"],
        ["doctor"],
        ["init", str(tmp_path / "new")],
    ):
        main([*at, *argv] if argv[0] != "init" else [*argv, "--json"])
        out = capsys.readouterr().out
        for line in out.splitlines():
            ((kind, value),) = json.loads(line).items()
            seen.setdefault(kind, []).append(value)
    kinds = {
        *("recipe", "origin", "plan", "test", "event", "image", "error", "summary", "release"),
        *("move", "verified", "channel", "key", "page", "freed", "pulled", "exported", "lint"),
        *("diff", "finding", "project"),
    }  # fmt: skip
    assert kinds <= set(seen)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for kind, values in seen.items():
        for value in values[:20]:
            found = list(validator.iter_errors({kind: value}))
            assert not found, (kind, value, found[0].context or found[0].message)


def test_what_is_no_such_line_is_refused() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    summary = {"done": ["a"], "failed": [], "not_done": []}
    lines.check("summary", summary)
    assert validator.is_valid({"summary": summary})
    for wrong in ({**summary, "more": 1}, {"done": []}, {**summary, "done": [1]}):
        assert not validator.is_valid({"summary": wrong})
        with pytest.raises(ValidationError):
            lines.check("summary", wrong)
    assert not validator.is_valid({"summary": summary, "lint": {}})
    assert not validator.is_valid({"nothing": 1})
