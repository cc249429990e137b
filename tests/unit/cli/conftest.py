"""A project, and the command in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from clikit import FILES, Cli
from fakes import FakeEngine, MakeProject

from imagebuilder import smoke


@pytest.fixture(autouse=True)
def no_traces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("IMAGEBUILDER_CATALOG", raising=False)
    monkeypatch.setattr(smoke, "smoke_test", lambda *_, **__: pytest.fail("would boot a machine"))


@pytest.fixture
def cli(
    make_project: MakeProject, fake_engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> Cli:
    return Cli(make_project(FILES), capsys)
