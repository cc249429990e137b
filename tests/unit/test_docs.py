"""The pages that follow from the code do, and what pages say of files is true."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from jsonschema import Draft202012Validator

import imagebuilder
from imagebuilder.catalog.schemas import schemas as catalog_schemas
from imagebuilder.cli import command_line
from imagebuilder.recipe import json_schema
from imagebuilder.settings import ProjectFile

ROOT = Path(__file__).resolve().parents[2]
ALL_PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = (
    *("recipes.md", "kickstarts.md", "lint.md"),
    *(
        f"schemas/{name}.json"
        for name in ("recipe", "lock", "remote-cache", "smoke-report", "smoke-results", "lines")
    ),
    *(f"schemas/{name}" for name in catalog_schemas()),
)


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "ci"))  # as where the script is run
        yield _loaded()


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "ci/reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PAGES)
def test_reference_pages_are_those_that_the_code_makes(reference: ModuleType, name: str) -> None:
    assert set(reference.PAGES) == set(PAGES)
    assert (ROOT / "docs" / name).read_text() == reference.PAGES[name](), "run ci/reference.py"


def test_every_schema_is_made_from_a_model() -> None:
    assert {f"schemas/{each.name}" for each in (ROOT / "docs/schemas").iterdir()} <= set(PAGES)


def test_links_between_pages_lead_somewhere() -> None:
    assert len(ALL_PAGES) > 5
    for page in ALL_PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_commands_are_files() -> None:
    text = (ROOT / "README.md").read_text()
    for command in ("ci/main-job", "ci/test"):
        assert f"```sh\n{command}\n```" in text
        assert (ROOT / command).stat().st_mode & 0o111
    assert "ci/test" in (ROOT / ".ci/run").read_text()


def _blocks(page: Path) -> Iterator[str]:
    """Give the commands of a page's shell blocks that are ours, without redirections."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("imagebuilder "):
                yield re.split(r"\s[|>]", line)[0]


def _spoken(page: Path) -> Iterator[str]:
    """Give the commands of a page's text: ``imagebuilder build``, or ``build --small`` alone."""
    verbs = "|".join(_verbs(command_line.parser()))
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for found in re.findall(rf"`(?:imagebuilder )?((?:{verbs}) [^`]*)`", text):
        yield re.split(r"\s[|>]", found)[0]


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def test_commands_of_pages_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    typed = [(page, line) for page in ALL_PAGES for line in _blocks(page)]
    assert len(typed) > 60
    for page, line in typed:
        try:
            command_line.parser().parse_args(shlex.split(line, comments=True)[1:])
        except SystemExit:
            pytest.fail(f"{page.name}: {line}: {capsys.readouterr().err}")


def test_options_that_pages_speak_of_are_there() -> None:
    spoken = [(page, text) for page in ALL_PAGES for text in _spoken(page)]
    assert len(spoken) > 60
    for page, text in spoken:
        at = command_line.parser()
        for word in re.findall(r"[^\s\[\]|]+", text):
            if verbs := _verbs(at):
                assert word in verbs, f"{page.name}: {text}"
                at = verbs[word]
            elif word.startswith("-"):
                option = word.partition("=")[0] if word.startswith("--") else word[:2]
                assert option in at._option_string_actions, f"{page.name}: {text}"


def _examples(language: str) -> Iterator[tuple[str, str]]:
    """Give each example in a language, with the name of its page."""
    for page in ALL_PAGES:
        for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL):
            yield page.name, block


def test_examples_of_toml_are_recipes_or_project_files() -> None:
    recipe = Draft202012Validator(json_schema())
    project = Draft202012Validator(ProjectFile.model_json_schema())
    examples = [each for each in _examples("toml") if each[0] != "lint.md"]  # these are wrong
    assert len(examples) > 15
    for page, text in examples:
        # JSON has no dates.
        data = json.loads(json.dumps(tomllib.loads(text), default=str))
        said = [error.message for error in recipe.iter_errors(data)]
        assert not said or project.is_valid(data), f"{page}: {said[0]}:\n{text}"


def test_names_in_examples_of_python_are_there() -> None:
    examples = list(_examples("python"))
    assert len(examples) > 4
    for page, text in examples:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                for each in node.names:
                    assert hasattr(module, each.name), f"{page}: {each.name}"
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "imagebuilder":
                assert node.attr in imagebuilder.__all__, f"{page}: {node.attr}"


def test_every_room_is_in_the_table_of_rooms() -> None:
    table = (ROOT / "docs/architecture.md").read_text()
    rooms = [
        f"{each.name}/" if each.is_dir() else each.name
        for each in sorted((ROOT / "imagebuilder").iterdir())
        if (each / "__init__.py").exists() or each.suffix == ".py"
    ]
    assert "cli/" in rooms
    for room in rooms:
        assert room == "__init__.py" or f"`{room}`" in table, room
