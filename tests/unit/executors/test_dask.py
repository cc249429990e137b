"""A scheduler and two workers of Dask in this process, whose images a fake engine makes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import names
from imagebuilder.engines import Request
from imagebuilder.errors import Interrupted, StepError
from imagebuilder.executors import base
from imagebuilder.executors.dask import DaskExecutor
from imagebuilder.options import Options
from imagebuilder.pipeline import build_image
from imagebuilder.progress import Cancel, Event
from imagebuilder.project import Project
from imagebuilder.remote import remote as remote_module
from imagebuilder.several import each

# Of Dask's own: it warns of what this machine lacks.
pytestmark = pytest.mark.filterwarnings("ignore")

RECIPES = ("one", "two", "three")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
        protocol="tcp",
        host="127.0.0.1",
        local_directory=str(tmp_path_factory.mktemp("dask")),
    ) as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://")


class World:
    def __init__(self, project: Project, folder: Path, address: str) -> None:
        self.project, self.folder, self.address = project, folder, address
        self.events: list[Event] = []
        self.cancel = Cancel()

    def options(self, **more: Any) -> Options:
        remote_module._opened.cache_clear()
        return Options.make(
            cache_dir=self.folder / "asks",
            observer=self.events.append,
            cancel=self.cancel,
            executor=self.address,
            **more,
        )

    def notes(self) -> list[str]:
        return [each_.text for each_ in self.events if each_.kind == "note"]


@pytest.fixture
def world(
    tmp_path: Path,
    make_project: MakeProject,
    fake_engine: FakeEngine,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    for name in (names.EXECUTOR, names.REMOTE_CACHE, names.REMOTE_CACHE_MODE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "worker"))
    base._found.cache_clear()
    files = {"imagebuilder.toml": f'cache = "{tmp_path}/remote"\n'}
    for name in RECIPES:
        files[f"recipes/{name}.toml"] = 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
    files["kickstarts/a.ks"] = "timezone UTC\n%packages\nvim\n%end\n"
    yield World(make_project(files), tmp_path, address)
    executor = base.find(address)
    assert isinstance(executor, DaskExecutor)
    executor.close()


def test_a_worker_makes_the_image_and_says_how_far_it_is(
    world: World, fake_engine: FakeEngine
) -> None:
    def work(request: Request, into: Path) -> None:
        with request.reporter.step("packages", "installing"):
            request.reporter.progress("packages", 1, 2, "steps", "vim")

    fake_engine.before_make = work
    image = build_image(world.project, "one", world.options())
    image.verify()
    assert image.path.is_relative_to(world.project.root)
    assert fake_engine.made == ["one"]
    seen = [(each_.kind, each_.text) for each_ in world.events if each_.step == "packages"]
    assert ("started", "installing") in seen
    assert ("progress", "vim") in seen
    assert "it is made by the worker" in world.notes()[0]
    # The second time nobody is asked.
    world.events.clear()
    assert build_image(world.project, "one", world.options()).id == image.id
    assert world.notes() == []


def test_errors_are_the_same_objects(world: World, fake_engine: FakeEngine) -> None:
    def fail(request: Request, into: Path) -> None:
        raise StepError("%post failed", fix="mend it", log=into / "logs/configure.log")

    fake_engine.before_make = fail
    with pytest.raises(StepError, match="%post failed") as caught:
        build_image(world.project, "one", world.options())
    assert caught.value.fix == "mend it"
    assert caught.value.log
    assert caught.value.log.read_text() == "what the tools said\n"


def test_an_interrupt_ends_the_work_there(world: World, fake_engine: FakeEngine) -> None:
    ended = threading.Event()

    def work(request: Request, into: Path) -> None:
        threading.Timer(0.3, world.cancel.set).start()
        deadline = time.monotonic() + 60
        while not request.reporter.cancel.is_set and time.monotonic() < deadline:
            time.sleep(0.05)
        ended.set()
        request.reporter.cancel.check()

    fake_engine.before_make = work
    with pytest.raises(Interrupted):
        build_image(world.project, "one", world.options())
    assert ended.wait(60)
    assert not list(world.project.root.glob("build/one/*"))


def test_packages_that_several_share_are_installed_once(
    world: World, fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = {"one": ("a" * 32, "b" * 32), "two": ("a" * 32, "c" * 32), "three": ("a" * 32,)}
    for name, value in {
        "shared_step": lambda: "packages",
        "shared_results": lambda request: layers[request.resolved.name],
        "why_private": lambda request: "",
        "share": lambda request, steps: None,
    }.items():
        monkeypatch.setattr(fake_engine, name, value, raising=False)
    began: list[str] = []
    alone: list[bool] = []
    lock = threading.Lock()
    together = threading.Barrier(2)  # as many as there are workers

    def work(request: Request, into: Path) -> None:
        with lock:
            began.append(request.resolved.name)
            is_first = len(began) == 1
        if not is_first:
            together.wait(60)
            return
        time.sleep(0.5)  # long enough for the others to begin, if they may
        with lock:
            alone.append(len(began) == 1)

    fake_engine.before_make = work
    options = world.options()
    done, failures = each(
        RECIPES,
        lambda name: build_image(world.project, name, options),
        jobs=3,
        cancel=world.cancel,
    )
    assert not failures
    assert set(done) == set(RECIPES)
    assert alone == [True]  # until its packages are in the remote cache
    waited = "waiting for another image that has the same packages"
    assert world.notes().count(waited) == 2


def test_made_again_is_made_there_again(world: World, fake_engine: FakeEngine) -> None:
    build_image(world.project, "one", world.options())
    fake_engine.after_make = lambda request, into: (
        (into / "rootfs.squashfs").write_text("another") and None
    )
    image = build_image(world.project, "one", world.options(again=True))
    assert fake_engine.made == ["one", "one"]
    assert image.rootfs.read_text() == "another"
    image.verify()
