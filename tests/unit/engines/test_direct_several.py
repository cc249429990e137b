"""Several images of the direct engine at a time, with a stand-in for its worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fakes import FakePrograms, MakeProject, fake_apt

from imagebuilder import Image, Options, build_image, sandbox, tools
from imagebuilder.engines import Request
from imagebuilder.engines.direct import engine, layers
from imagebuilder.engines.direct.job import Job, LayerFacts, Outcome
from imagebuilder.errors import StepError
from imagebuilder.progress import Reporter
from imagebuilder.project import Project
from imagebuilder.several import each

WAIT = 20.0  # seconds; nothing here takes that long
NAMES = ("one", "two", "three")
COMMON = "%packages\ncurl\n%end\n"


class Worker:
    """Makes layers and images of nothing.

    Attributes:
        installed: the images that installed packages.
        configured: what is called when the packages of an image are there.
    """

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.configured: Callable[[Job], None] = lambda job: None

    def __call__(self, job: Job, request: Request, on_layer: Callable[[str], None]) -> Outcome:
        place = job.standing.place if job.standing else None
        for layer in job.layers:
            self.installed.append(job.name)
            (layer.fresh / "tree").mkdir()
            told = LayerFacts(id=layer.id, epoch=1, package_count=len(layer.planned))
            layers.keep(layer.fresh, layer.place, told)
            on_layer(layer.id)
            place = layer.place
        self.configured(job)
        assert place
        assert (place / "tree").is_dir()
        for name in ("vmlinuz", "initrd.img", "rootfs.squashfs"):
            (job.into / name).write_text(f"{name} of {job.name}")
        (job.into / "packages.json").write_text('{"format":1,"packages":[]}')
        return Outcome(kernel_release="6", tree_size=1, package_count=1, notes=(), seconds={})


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, fake_programs: FakePrograms) -> Worker:
    made = Worker()
    fake_apt(fake_programs)
    monkeypatch.setattr(engine, "_run_worker", made)
    monkeypatch.setattr(tools, "need", lambda *_: None)
    monkeypatch.setattr(tools, "versions", lambda *_: {})
    monkeypatch.setattr(sandbox, "why_not_enclosed", lambda: "")
    monkeypatch.setattr(sandbox, "enclose", lambda argv, **_: argv)
    return made


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    files = {
        "imagebuilder.toml": '[mirrors]\ndebian-12 = ["deb http://m.example.org bookworm main"]\n',
        "kickstarts/common.ks": COMMON,
    }
    for name in NAMES:
        files[f"kickstarts/{name}.ks"] = f"%post\necho {name}\n%end\n"
        files[f"recipes/{name}.toml"] = (
            f'distro = "debian-12"\nkickstarts = ["common.ks", "{name}.ks"]\n'
        )
    return make_project(files)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options.make(cache_dir=tmp_path / "cache")


def build(project: Project, options: Options, *, keep_going: bool = False) -> dict[str, Image]:
    done, failures = each(
        NAMES,
        lambda name: build_image(project, name, options),
        jobs=3,
        keep_going=keep_going,
        cancel=options.cancel,
    )
    if failures and not keep_going:
        raise failures[0].error
    return done


def test_what_images_share_is_installed_once_and_then_all_go_on(
    worker: Worker, project: Project, options: Options
) -> None:
    # Each waits in the middle of its own steps for all others to be there as well.
    together = threading.Barrier(len(NAMES))
    worker.configured = lambda job: together.wait(WAIT) and None
    done = build(project, options)
    assert len({each_.id for each_ in done.values()}) == len(NAMES)
    (first,) = worker.installed
    for name, image in done.items():
        reused = {step.name for step in image.facts.steps if step.reused}
        assert reused == (set() if name == first else {"packages"})
    (place,) = (options.cache_dir / "layers").iterdir()
    assert len([path for path in place.iterdir() if path.is_dir()]) == 1
    assert list((options.cache_dir / "work").iterdir()) == []


def test_packages_are_kept_though_the_image_fails(
    worker: Worker, project: Project, options: Options
) -> None:
    def fail(job: Job) -> None:
        raise StepError("%post failed")

    worker.configured = fail
    assert build(project, options, keep_going=True) == {}
    assert len(worker.installed) == 1
    worker.configured = lambda job: None
    assert set(build(project, options)) == set(NAMES)
    assert len(worker.installed) == 1


def test_what_is_made_again_is_made_once_for_all(
    worker: Worker, project: Project, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(project, options)
    all_began, held = threading.Barrier(len(NAMES)), layers.held

    def wait(layer: Path, reporter: Reporter, *, since: int) -> AbstractContextManager[layers.Held]:
        all_began.wait(WAIT)
        return held(layer, reporter, since=since)

    monkeypatch.setattr(layers, "held", wait)
    worker.installed.clear()
    again = Options.make(cache_dir=options.cache_dir, again=True)
    together = threading.Barrier(len(NAMES))
    worker.configured = lambda job: together.wait(WAIT) and None
    build(project, again)
    assert len(worker.installed) == 1


def test_a_damaged_layer_is_made_anew_once(
    worker: Worker, project: Project, options: Options
) -> None:
    build(project, options)
    worker.installed.clear()
    (there,) = (options.cache_dir / "layers").glob("*/*/layer.json")
    damaged = there.stat().st_ino
    found = threading.Barrier(len(NAMES))

    def look(job: Job) -> None:
        if there.stat().st_ino == damaged:
            found.wait(WAIT)
            raise engine.DamagedLayer

    worker.configured = look
    for name in NAMES:
        (project.root / f"kickstarts/{name}.ks").write_text(f"%post\necho new {name}\n%end\n")
    build(Project.open(project.root), options)
    assert len(worker.installed) == 1
    assert list((options.cache_dir / "work").iterdir()) == []
