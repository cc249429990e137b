"""Images in a Makefile: what GNU make does with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import Project
from imagebuilder.cli.main import main

FILES = {
    "recipes/one.toml": 'distro = "debian-12"\nkickstarts = ["common.ks", "one.ks"]\n',
    "recipes/two.toml": 'distro = "debian-12"\nkickstarts = ["common.ks", "two.ks"]\n',
    "kickstarts/common.ks": "timezone UTC\n",
    "kickstarts/one.ks": "lang en_US.UTF-8\n",
    "kickstarts/two.ks": "lang de_DE.UTF-8\n",
}
# A command like ours with an engine that starts nothing.  It notes what it was asked to build.
PROGRAM = """
import os, sys
sys.path[:0] = [{unit!r}, {tests!r}, {root!r}]
import fakes
from imagebuilder.cli.main import main
from imagebuilder import engines, plan
engine = fakes.FakeEngine()
engines.find = lambda name, where=None: engine
status = main(sys.argv[1:])
with open({log!r}, "a") as log:
    print(*engine.made, sep="\\n", end="\\n" if engine.made else "", file=log)
sys.exit(status)
"""


@dataclass
class World:
    """A folder with a Makefile, and a project in it or beside it."""

    folder: Path
    project: Project
    log: Path
    environment: Mapping[str, str]

    def make(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", *args],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            check=False,
        )

    def made(self) -> list[str]:
        """Return what was built since this was asked last."""
        found = sorted(self.log.read_text().split()) if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return found


@pytest.fixture
def world(make_project: MakeProject, tmp_path: Path) -> World:
    if not shutil.which("make"):
        assert os.environ.get("CI") != "true"
        pytest.skip("GNU make is not here: ci/setup --tests")
    project = make_project(FILES, folder="a project")
    folder = tmp_path / "my work"
    folder.mkdir()
    unit = Path(__file__).resolve().parents[1]
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(
        PROGRAM.format(
            unit=str(unit), tests=str(unit.parent), root=str(unit.parents[1]), log=str(log)
        )
    )
    makefile = f"""
        IMAGEBUILDER = {sys.executable} {program}
        IMAGEBUILDER_PROJECT = ../a project
        all: out-one out-two
        include imagebuilder.mk
        out-%: $(call image,%)
        \tcp "$(call image-path,$*)/image.json" $@
        \techo $* >>done
        """
    (folder / "Makefile").write_text(textwrap.dedent(makefile))
    assert main(["makefile", "--output", str(folder / "imagebuilder.mk")]) == 0
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
        "IMAGEBUILDER_CACHE": str(tmp_path / "cache"),
    }
    return World(folder=folder, project=project, log=log, environment=environment)


def test_make_makes_what_is_out_of_date(world: World, make_project: MakeProject) -> None:
    done = world.folder / "done"

    def change(name: str, text: str) -> None:
        make_project({f"kickstarts/{name}.ks": text}, folder="a project")
        done.unlink()
        done.touch()

    first = world.make("-j2")
    assert first.returncode == 0, first.stderr
    assert world.made() == ["one", "two"]
    assert sorted(done.read_text().split()) == ["one", "two"]
    one = (world.folder / "out-one").read_text()
    # Nothing changed: make has nothing to do, and knows it.
    assert "Nothing to be done" in world.make().stdout
    assert world.make("-q").returncode == 0
    # One fragment changed: only the image that it is in, and what depends on that.
    change("one", "lang fr_FR.UTF-8\n")
    assert world.make("-q", "out-two").returncode == 0
    assert world.make("-q").returncode == 1
    assert world.make("-j2").returncode == 0
    assert world.made() == done.read_text().split() == ["one"]
    assert (world.folder / "out-one").read_text() != one
    # Back to an image that is there: nothing is built, and what depends on it follows.
    change("one", FILES["kickstarts/one.ks"])
    assert world.make().returncode == 0
    assert world.made() == []
    assert done.read_text().split() == ["one"]
    assert (world.folder / "out-one").read_text() == one
    # A change that makes no difference.
    change("common", f"# where\n{FILES['kickstarts/common.ks']}")
    os.utime(world.project.root / "recipes/one.toml")
    assert world.make("-q").returncode == 0
    # A fragment that both have.
    change("common", "timezone Europe/Berlin\n")
    assert world.make("-j2", "images").returncode == 0
    assert world.made() == ["one", "two"]


def test_what_was_removed_or_is_wrong(world: World, make_project: MakeProject) -> None:
    world.make()
    world.made()
    shutil.rmtree(world.project.root / "build/one")
    (world.folder / ".imagebuilder/two").unlink()
    assert world.make().returncode == 0
    assert world.made() == ["one"]
    # A recipe that is wrong stops only what needs it.
    make_project({"kickstarts/two.ks": "nonsense\n"}, folder="a project")
    assert world.make("out-one").returncode == 0
    wrong = world.make("out-two")
    assert wrong.returncode == 2
    assert "kickstarts/two.ks:1" in wrong.stderr


def test_a_project_that_is_none_is_said(world: World) -> None:
    found = world.make("IMAGEBUILDER_PROJECT=nowhere")
    assert found.returncode == 2
    assert "is not a project" in found.stderr
    assert "cannot say which images are out of date" in found.stderr


def test_a_stamp_is_of_one_image(
    make_project: MakeProject, fake_engine: FakeEngine, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    at = ["-C", str(make_project(FILES).root), "build", "--stamp"]
    assert main([*at, str(tmp_path / "stamp"), "one", "two"]) == 2
    assert "a stamp stands for one image" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([*at, str(tmp_path / "file/stamp"), "one"]) == 5
    assert "cannot be written" in capsys.readouterr().err
