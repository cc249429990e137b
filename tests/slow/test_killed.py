"""Builds that are ended at any stage leave nothing behind, and the next one just works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import Cli, copy_project

import imagebuilder

pytestmark = pytest.mark.slow


def processes_of(cache: Path) -> list[str]:
    """Return the command lines of all processes that name a cache or run in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if int(folder.name) != os.getpid() and (
            str(cache) in line or f"IMAGEBUILDER_CACHE={cache}" in environment
        ):
            found.append(line)
    return found


def mounts_below(*folders: Path) -> list[str]:
    return [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if any(str(folder) in line for folder in folders)
    ]


def wait_for(condition: object, seconds: float) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose image stays a while in each stage that a test wants to hit."""
    root = copy_project(tmp_path)
    (root / "kickstarts/slow.ks").write_text("%post\nsleep ${SECONDS_TO_WAIT:-4}\n%end\n")
    (root / "recipes/slow.toml").write_text('extends = "base"\nkickstarts = ["slow.ks"]\n')
    return root


def start(project: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "imagebuilder.cli", "build", "--json", "slow"],
        cwd=project,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "IMAGEBUILDER_CACHE": str(cache)},
    )


def read_until(process: subprocess.Popen[str], step: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if f'"step": "{step}"' in line and '"started"' in line:
            return
    pytest.fail(f"the build ended before {step}")


@pytest.mark.parametrize(
    ("number", "step", "delay", "status"),
    [
        (signal.SIGKILL, "configure", 1.0, -9),
        (signal.SIGKILL, "rootfs", 0.5, -9),
        (signal.SIGTERM, "configure", 1.0, 130),
        (signal.SIGINT, "initrd", 0.5, 130),
    ],
)
def test_killed_build_leaves_nothing(
    base_image: imagebuilder.Image,
    project: Path,
    cache_dir: Path,
    number: signal.Signals,
    step: str,
    delay: float,
    status: int,
) -> None:
    process = start(project, cache_dir)
    read_until(process, step)
    time.sleep(delay)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == status
    assert wait_for(lambda: processes_of(cache_dir) == [], 10), processes_of(cache_dir)
    assert mounts_below(project, cache_dir) == []
    assert [path.name for path in (project / "build/slow").glob("[0-9a-f]*")] == []
    assert not (project / "build/slow/latest").exists()
    if number != signal.SIGKILL:
        assert [path.name for path in (project / "build/slow").iterdir()] == [".lock"]
        assert list((cache_dir / "work").iterdir()) == []


def test_build_after_kills_in_the_middle_of_packages_works(
    host_tools: None, project: Path, tmp_path: Path, cli: Cli, cache_dir: Path
) -> None:
    # A cache of its own: the package layer is really in the making when the kill comes.
    cache = tmp_path / "cache"
    process = start(project, cache)
    read_until(process, "packages")
    time.sleep(6)
    process.kill()
    process.communicate(timeout=30)
    assert wait_for(lambda: processes_of(cache) == [], 10), processes_of(cache)
    assert mounts_below(project, cache) == []
    assert not list((cache / "layers").glob("*/*/layer.json"))
    # The half layer is cleared away by the next build, here with the shared cache's own layer.
    result = cli("build", "slow", cwd=project)
    assert result.returncode == 0, result.stderr
    image = imagebuilder.Image.open(project / "build/slow/latest")
    image.verify()
    assert not list((project / "build/slow").glob(".new-*"))
    left = [path for path in (cache_dir / "layers").rglob(".*.new") if path.is_dir()]
    assert left == []
