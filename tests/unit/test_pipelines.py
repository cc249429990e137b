"""The pipelines for CI systems: valid by the systems' own schemas, made of commands that exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipelines import expressions
from ruamel.yaml import YAML

from imagebuilder.cli import command_line

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ci/pipelines"
SCHEMAS = {
    "github.yml": ["--builtin-schema", "vendor.github-workflows"],
    "gitlab.yml": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    "gitlab-image.yml": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
}
HOOKS = ROOT / ".pre-commit-hooks.yaml"


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def scripts(value: Any, key: str = "") -> Iterator[str]:
    """Give everything in a pipeline that a shell runs."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from scripts(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from scripts(each, key)
    elif key in ("run", "script", "before_script", "entry"):
        yield str(value)


def commands(text: str) -> Iterator[list[str]]:
    """Give the command lines of imagebuilder in a script, with a word for each variable."""
    plain = re.sub(r"\$\{?\w+\}?", "base", text.replace("\\\n", " "))
    for found in re.finditer(r"(?<![\w./-])imagebuilder ([^\n;|)>]*)", plain):
        yield shlex.split(found[1])


def test_these_are_all() -> None:
    assert {path.name for path in FOLDER.glob("*.yml")} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_they_are_valid(name: str) -> None:
    program = [sys.executable, "-m", "check_jsonschema", *SCHEMAS[name], str(FOLDER / name)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_invalid_one_is_noticed(tmp_path: Path) -> None:
    text = (FOLDER / "github.yml").read_text().replace("runs-on:", "run-on:")
    (tmp_path / "github.yml").write_text(text)
    program = [sys.executable, "-m", "check_jsonschema", *SCHEMAS["github.yml"]]
    done = subprocess.run(
        [*program, str(tmp_path / "github.yml")], capture_output=True, check=False
    )
    assert done.returncode == 1


@pytest.mark.parametrize(
    "path", [*(FOLDER / name for name in SCHEMAS), HOOKS], ids=lambda p: p.name
)
def test_their_commands_are_ours(path: Path) -> None:
    found = [each for text in scripts(load(path)) for each in commands(text)]
    assert found
    for each in found:
        command_line.parser().parse_args(each)  # ends the test with argparse's words otherwise


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_value_of_others_is_part_of_a_script(name: str) -> None:
    # A branch may be called "; rm -rf /": what comes from outside comes in variables.
    for text in scripts(load(FOLDER / name)):
        assert "${{" not in text


def test_its_setup_brings_what_ours_does() -> None:
    def packages(path: Path) -> set[str]:
        found = re.search(r'packages="([^"]*)"', path.read_text())
        assert found
        return set(found[1].split())

    assert packages(ROOT / "ci/setup") <= packages(FOLDER / "setup-debian")
    assert os.access(FOLDER / "setup-debian", os.X_OK)


def test_child_pipelines_extend_the_template_that_is_there() -> None:
    assert ".imagebuilder" in load(FOLDER / "gitlab-image.yml")


def test_expressions_of_workflows_are_read_as_there() -> None:
    contexts = {
        "github": {"event_name": "push", "base_ref": "", "event": {"before": "abc"}},
        "matrix": {"images": "a b"},
    }
    for text, value in {
        "github.event_name == 'PUSH'": True,
        "github.event_name != 'push' || !github.base_ref": True,
        "github.event_name == 'x' && format('origin/{0}', 'y') || github.event.before": "abc",
        "fromJSON('[{\"a\": [1]}]')[0].a[0]": 1,
        "github.nothing.at.all": None,
        "'it''s' == 'it''s' && (true && false)": False,
    }.items():
        assert expressions.value(text, contexts) == value, text
    assert expressions.filled("${{ matrix.images }}!", contexts) == "a b!"
    for wrong in ("nothing.a", "hashFiles('x')", "1 +", "github.event =="):
        with pytest.raises((AssertionError, IndexError)):
            expressions.value(wrong, contexts)
