"""A scheduler and two workers, one of which is killed in the middle of an image.

It builds a real image and a half, and is left out of ci/test:

    .venv/bin/python -m pytest -m cluster tests/slow/test_dask_cluster.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support import copy_project

import imagebuilder
from imagebuilder import pipeline
from imagebuilder.build import share
from imagebuilder.remote import remote

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(1500)]

# Long enough that the worker is killed in the middle of it.
SLOW = "\n%post\nsleep 5\necho more >/etc/more\n%end\n"


@contextmanager
def started(argv: list[str], log: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of Dask's until the end; it dies with us."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", *argv],
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            env=env,
            cwd=log.parent,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """Return the processes below a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def lines_until(process: subprocess.Popen[str], wanted: str, seconds: float = 600) -> list[str]:
    """Read what a program says until a line has a text in it."""
    assert process.stderr
    seen: list[str] = []
    deadline = time.monotonic() + seconds
    for line in process.stderr:
        seen.append(line)
        if wanted in line:
            return seen
        assert time.monotonic() < deadline, "".join(seen)
    raise AssertionError(f"{wanted!r} was not said:\n{''.join(seen)}")


def test_a_worker_is_killed_and_another_one_makes_the_image(
    base_project: imagebuilder.Project,
    base_image: imagebuilder.Image,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The packages come from the remote cache: that they can be installed others have tested.
    monkeypatch.setenv("IMAGEBUILDER_REMOTE_CACHE", str(tmp_path / "remote"))
    remote._opened.cache_clear()
    options = imagebuilder.Options.make(cache_dir=cache_dir)
    share(pipeline.plan_image(base_project, "base", options), base_image)
    project = copy_project(tmp_path / "project")
    fragment = project / "kickstarts/base/serial-console.ks"
    fragment.write_text(fragment.read_text() + SLOW)

    with ExitStack() as stack:
        place = tmp_path / "scheduler.json"
        scheduler = ["distributed.cli.dask_scheduler", "--host=127.0.0.1", "--port=0"]
        stack.enter_context(
            started(
                [*scheduler, "--no-dashboard", "--scheduler-file", str(place)],
                tmp_path / "scheduler.log",
                dict(os.environ),
            )
        )
        deadline = time.monotonic() + 120
        while not place.exists() or not place.read_text().strip():
            assert time.monotonic() < deadline, (tmp_path / "scheduler.log").read_text()
            time.sleep(0.2)
        address = json.loads(place.read_text())["address"]
        workers = {}
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            workers[name] = stack.enter_context(
                started(
                    [
                        *("distributed.cli.dask_worker", address, "--host=127.0.0.1"),
                        *("--nthreads=1", "--no-nanny", "--no-dashboard", f"--name={name}"),
                        f"--local-directory={folder / 'dask'}",
                    ],
                    tmp_path / f"{name}.log",
                    {**os.environ, "IMAGEBUILDER_CACHE": str(folder / "cache")},
                )
            )
        build = subprocess.Popen(
            [sys.executable, "-m", "imagebuilder.cli", "build", "base"],
            cwd=project,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "IMAGEBUILDER_CACHE": str(tmp_path / "asks"),
                "IMAGEBUILDER_EXECUTOR": address.replace("tcp://", "dask://"),
            },
        )
        stack.callback(build.kill)
        said = lines_until(build, "base: configure: applying")
        (first,) = (name for name in workers if f"by the worker {name} " in "".join(said))
        second = {"one": "two", "two": "one"}[first]
        below = children(workers[first].pid)
        assert below  # what makes the image
        os.kill(workers[first].pid, signal.SIGKILL)
        said = lines_until(build, f"it is made by the worker {second} ")
        assert any("the worker died: another one begins again" in line for line in said)
        out, err = build.communicate(timeout=900)
        assert build.returncode == 0, err
        left = [pid for pid in below if Path(f"/proc/{pid}").exists()]
        assert left == []  # the kernel took all that the dead one had started

        image = imagebuilder.Image.open(project / "build/base/latest")
        image.verify()
        assert image.facts.steps[0].reused  # the package layer
        assert image.id in out
        assert not (tmp_path / "asks/layers").exists()  # nothing was made where it was asked for
        assert (tmp_path / second / "cache/layers").exists()
        # The same as it would be here.
        monkeypatch.setenv("IMAGEBUILDER_REMOTE_CACHE", "off")
        here = imagebuilder.Project.open(copy_project(tmp_path / "here"))
        there = here.root / "kickstarts/base/serial-console.ks"
        there.write_text(fragment.read_text())
        own = imagebuilder.build_image(here, "base", options)
        assert own.id == image.id
        assert [each.sha256 for each in own.facts.artefacts] == [
            each.sha256 for each in image.facts.artefacts
        ]
