from __future__ import annotations

import os
import re
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
from fakes import FakeEngine, FakePrograms, MakeProject, written

from imagebuilder import command, engines, plan
from imagebuilder.cli.output import Output
from imagebuilder.errors import Location
from imagebuilder.kickstart import Kickstart, compose
from imagebuilder.kickstart.flatten import Line
from imagebuilder.kickstart.parse import parse
from imagebuilder.project import Project


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no secret of one test be masked in another: a process never forgets one."""
    monkeypatch.setattr(command, "_hidden_values", set())
    monkeypatch.setattr(command, "_hidden", re.compile(""))


@pytest.fixture(autouse=True)
def _signals_given_back() -> Iterator[None]:
    """Take from the command, when the test is over, the signals that it has taken."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _lines_are_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold every line that any test has the command print with ``--json`` against its model."""
    data = Output.data

    def checked(self: Output, kind: str, value: Any) -> None:
        if self.as_json:
            from imagebuilder.cli import lines

            lines.check(kind, value)
        data(self, kind, value)

    monkeypatch.setattr(Output, "data", checked)


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """Writes recipes and fragments, and opens the project that they make.

    Adds to the project if that folder holds one already.
    """

    def make(files: dict[str, str] | None = None, *, folder: str = "project") -> Project:
        root = tmp_path / folder
        (root / "recipes").mkdir(parents=True, exist_ok=True)
        written(root, files or {})
        return Project.open(root)

    return make


@pytest.fixture
def kickstart_of() -> Callable[..., Kickstart]:
    """Parses a text as if it stood in the fragment ``kickstarts/f.ks``."""

    def make(text: str, version: str = "RHEL9") -> Kickstart:
        lines = textwrap.dedent(text).removeprefix("\n").splitlines()
        where = (Location(file="kickstarts/f.ks", line=n) for n in range(1, len(lines) + 1))
        return parse(tuple(map(Line, lines, where)), version)

    return make


@pytest.fixture
def composed(make_project: MakeProject) -> Callable[..., Kickstart]:
    """Composes fragments; those named ``a.ks``, ``b.ks``… in the recipe are ``names``."""

    def make(
        files: dict[str, str], names: tuple[str, ...] = ("a.ks",), more: str = ""
    ) -> Kickstart:
        recipe = f'distro = "debian-12"\nkickstarts = {list(names)}\n{textwrap.dedent(more)}'
        fragments = {f"kickstarts/{name}": text for name, text in files.items()}
        project = make_project({"recipes/r.toml": recipe, **fragments})
        return compose(project.resolve("r"))

    return make


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Is used in place of every engine."""
    engine = FakeEngine()
    monkeypatch.setattr(engines, "find", lambda name, where=None: engine)
    assert plan.engines is engines
    return engine


@pytest.fixture
def fake_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """Goes before everything else on PATH."""
    folder = tmp_path / "fake-programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin")
    return FakePrograms(folder)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    if not chromium.find() and os.environ.get("CI") != "true":
        pytest.skip("no browser is here: ci/setup --tests")
    with chromium.running(tmp_path_factory.mktemp("browser")) as found:
        yield found
