"""Plans are remembered while nothing changes, and no longer: every kind of input, one at a time."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakePrograms, MakeProject, fake_apt

from imagebuilder import remembered, witness
from imagebuilder.engines.direct.host_apt import APT
from imagebuilder.outlook import Outlook
from imagebuilder.plan import make_plan
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

FILES = {
    "imagebuilder.toml": "[mirrors]\n"
    'debian-12 = ["deb [signed-by=site.asc] http://m/d bookworm main"]\n',
    "site.asc": "-----BEGIN PGP PUBLIC KEY BLOCK-----\none\n",
    "recipes/parent.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\nabstract = true\n',
    "recipes/base.toml": 'extends = "parent"\n[[files]]\nsource = "etc/motd"\npath = "/etc/motd"\n'
    '[[files]]\nsource = "etc/tree"\npath = "/srv/tree"\n',
    "recipes/other.toml": 'extends = "parent"\nkickstarts = ["base/locale.ks"]\n',
    "kickstarts/a.ks": "%include deep/b.ks\n%packages\ncurl\n%end\n",
    "kickstarts/deep/b.ks": "timezone UTC\n",
    "etc/motd": "hello\n",
    "etc/tree/one": "1\n",
}


class Fleet:
    """A project whose plans are made and remembered as the command does it."""

    def __init__(self, project: Project) -> None:
        self.root = project.root
        self.cache = project.root.parent / "cache"

    def opened(self) -> remembered.Remembered:
        return remembered.Remembered(self.root, self.cache)

    def plan(self, *names: str) -> None:
        project = Project.open(self.root)
        with remembered.opened(self.root, self.cache) as memory:
            for name in names:
                memory.note(
                    make_plan(project, name, cache_dir=self.cache, reporter=Reporter(subject=name))
                )
            memory.note_selected("", project.names())

    def recall(self, name: str = "base") -> Outlook | None:
        return self.opened().recall(name)

    @property
    def memory(self) -> Path:
        (found,) = (self.cache / "plans").glob("*.json")
        return found


@pytest.fixture
def fleet(
    make_project: MakeProject, fake_programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> Fleet:
    fake_apt(fake_programs)
    # Everything was written just now; for a user that was long ago.
    monkeypatch.setattr(witness, "_TICK", -(10**12))
    monkeypatch.setattr(witness, "_COARSE_TICK", -(10**12))
    made = Fleet(make_project(FILES))
    made.plan("base", "other")
    return made


def changed(path: Path) -> None:
    """Change a byte, with size and time of modification as they were."""
    facts, data = path.stat(), path.read_bytes()
    time.sleep(0.02)
    path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_a_plan_is_recalled_as_it_was_made(fleet: Fleet) -> None:
    project = Project.open(fleet.root)
    fresh = make_plan(project, "base", cache_dir=fleet.cache, reporter=Reporter(subject="base"))
    assert fleet.recall() == fresh.outlook()
    assert fleet.opened().selected("") == ("base", "other")
    assert fleet.recall("nobody") is None


@pytest.mark.parametrize(
    "name",
    [
        "imagebuilder.toml",
        "recipes/base.toml",
        "recipes/parent.toml",
        "kickstarts/a.ks",
        "kickstarts/deep/b.ks",
    ],
)
def test_a_changed_file_of_the_project_ends_it_for_all(fleet: Fleet, name: str) -> None:
    changed(fleet.root / name)
    assert fleet.recall() is None
    assert fleet.recall("other") is None


@pytest.mark.parametrize("name", ["etc/motd", "etc/tree/one"])
def test_a_changed_file_that_is_copied_ends_it_for_those_that_copy_it(
    fleet: Fleet, name: str
) -> None:
    changed(fleet.root / name)
    assert fleet.recall() is None
    assert fleet.recall("other")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "etc/tree/two").touch(),
        lambda root: (root / "etc/tree/one").chmod(0o755),
        lambda root: changed(root / "site.asc"),
        # A fragment of the project hides one that comes along.
        lambda root: (
            (root / "kickstarts/base").mkdir(),
            (root / "kickstarts/base/locale.ks").write_text("lang de_DE.UTF-8\n"),
        ),
        lambda root: (root / "kickstarts/deep/a.ks").touch(),
        lambda root: (root / "recipes/new.toml").write_text('distro = "debian-12"\n'),
        lambda root: (root / "recipes/other.toml").unlink(),
        lambda root: (root / "imagebuilder.toml").unlink(),
    ],
)
def test_what_comes_goes_or_is_another_ends_it(
    fleet: Fleet, change: Callable[[Path], object]
) -> None:
    change(fleet.root)
    assert fleet.recall() is None


def test_the_index_ends_it_when_it_is_another(fleet: Fleet) -> None:
    (state,) = fleet.cache.glob("apt/*/index.json")
    data = json.loads(state.read_text())
    state.write_text(json.dumps({**data, "digest": "f" * 32}))
    assert fleet.recall() is None


@pytest.mark.parametrize("hours", [-1, 25])
def test_the_day_ends_it(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + hours * 3600)
    assert fleet.recall() is None


def test_the_hosts_own_sources_are_looked_at(fleet: Fleet) -> None:
    data = json.loads(fleet.memory.read_text())
    assert {f"{APT}/sources.list", f"{APT}/sources.list.d"} <= set(data["watched"][0]["paths"])


@pytest.mark.parametrize("what", ["version", "euid"])
def test_another_python_and_another_user_plan_anew(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "version":
        monkeypatch.setattr(remembered.sys, "version", "4.0")
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert fleet.recall() is None


def test_another_version_of_the_code_plans_anew(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = shutil.copytree(Path(remembered.__file__).parent, tmp_path / "imagebuilder")
    monkeypatch.setattr(remembered, "__file__", str(copy / "remembered.py"))
    fleet.plan("base")
    assert fleet.recall()
    changed(copy / "engines/direct/inputs.py")
    assert fleet.recall() is None


def test_another_cache_has_another_memory(fleet: Fleet, tmp_path: Path) -> None:
    shutil.copytree(fleet.cache, tmp_path / "elsewhere")
    assert remembered.Remembered(fleet.root, tmp_path / "elsewhere").recall("base") is None


def test_a_recipe_with_a_secret_is_planned_each_time(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_SECRET_PW", "geheim1")
    (fleet.root / "kickstarts/a.ks").write_text(
        'rootpw --plaintext {{ secret("pw") }}\n%packages\n%end\n'
    )
    fleet.plan("base", "other")
    assert fleet.recall() is None
    assert b"geheim" not in fleet.memory.read_bytes()


def test_results_are_looked_for_when_a_plan_is_recalled(fleet: Fleet) -> None:
    before = fleet.recall()
    assert before
    assert {each.reason for each in before.steps} == {"it was never made here"}
    (data,) = [json.loads(fleet.memory.read_text())["plans"]["base"]]
    step = next(each["id"] for each in data["steps"] if each["name"] == "packages")
    layer = fleet.cache / f"layers/uid-{os.geteuid()}/{step}"
    layer.mkdir(parents=True)
    (layer / "layer.json").write_text(f'{{"id":"{step}","epoch":1,"package_count":1}}')
    after = fleet.recall()
    assert after
    assert [each.name for each in after.steps if each.reused] == ["packages"]
    # Why it must be made is found by comparing it with what was made last.
    (fleet.root / "build/base").mkdir(parents=True)
    (fleet.root / "build/base/latest").symlink_to("0123456789abcdef")
    assert fleet.recall() is None


def test_what_changed_just_now_is_not_remembered(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tick in ("_TICK", "_COARSE_TICK"):
        monkeypatch.setattr(witness, tick, 3600 * 10**9)  # however slow this machine is
    with (fleet.root / "kickstarts/a.ks").open("a") as file:
        file.write("# said just now\n")
    fleet.plan("base")
    assert fleet.recall() is None
    for tick in ("_TICK", "_COARSE_TICK"):
        monkeypatch.setattr(witness, tick, -(10**12))
    fleet.plan("base")
    assert fleet.recall()


def test_what_changes_while_it_is_planned_is_not_remembered(fleet: Fleet) -> None:
    fleet.memory.unlink()
    project = Project.open(fleet.root)
    with remembered.opened(fleet.root, fleet.cache) as memory:
        memory.note(
            make_plan(project, "base", cache_dir=fleet.cache, reporter=Reporter(subject="base"))
        )
        changed(fleet.root / "kickstarts/deep/b.ks")
    assert not list((fleet.cache / "plans").glob("*.json"))


def test_an_index_that_another_process_replaced_is_not_remembered(fleet: Fleet) -> None:
    fleet.memory.unlink()
    project = Project.open(fleet.root)
    with remembered.opened(fleet.root, fleet.cache) as memory:
        plan = make_plan(project, "base", cache_dir=fleet.cache, reporter=Reporter(subject="base"))
        (state,) = fleet.cache.glob("apt/*/index.json")
        data = json.loads(state.read_text())
        other = state.with_name("new")
        other.write_text(json.dumps({**data, "digest": "f" * 32}))
        other.rename(state)
        memory.note(plan)
    assert fleet.recall() is None


def test_plans_of_other_recipes_stay(fleet: Fleet) -> None:
    fleet.plan("other")
    assert fleet.recall()
    assert fleet.recall("other")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format":2}', "\0" * 100])
def test_a_memory_that_cannot_be_read_is_none(fleet: Fleet, text: str) -> None:
    fleet.memory.write_text(text)
    assert fleet.recall() is None
    fleet.plan("base")
    assert fleet.recall()


def test_a_memory_that_cannot_be_written_is_done_without(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    fleet.memory.unlink()
    monkeypatch.setattr(Path, "replace", full)
    fleet.plan("base")
    assert not list((fleet.cache / "plans").iterdir())
