"""The pages that follow from the code do, and what pages say of files is true."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *("recipes.md", "kickstarts.md", "lint.md"),
    *(
        f"schemas/{name}.json"
        for name in ("recipe", "lock", "remote-cache", "smoke-report", "smoke-results", "lines")
    ),
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


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert len(pages) > 5
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_commands_are_files() -> None:
    text = (ROOT / "README.md").read_text()
    for command in ("ci/main-job", "ci/test"):
        assert f"```sh\n{command}\n```" in text
        assert (ROOT / command).stat().st_mode & 0o111
    assert "ci/test" in (ROOT / ".ci/run").read_text()
