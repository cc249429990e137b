"""Package layers come from a remote cache and go there, with a stand-in for the worker."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakePrograms, MakeProject, fake_apt

from imagebuilder import Image, Options, build_image, plan_image, tools
from imagebuilder.engines import Request
from imagebuilder.engines.direct import (
    addition,
    engine,
    initrd_reuse,
    layers,
    packages,
    sharing,
)
from imagebuilder.engines.direct.job import Job, LayerFacts, Outcome
from imagebuilder.errors import StepError
from imagebuilder.progress import Cancel, Event
from imagebuilder.project import Project
from imagebuilder.remote import remote as remote_module
from imagebuilder.remote import worker
from imagebuilder.several import each

NAMES = ("one", "two", "three")
MIRROR = "deb http://m.example.org bookworm main"


class Worker:
    """Makes layers of a few files, and images of nothing.

    Attributes:
        installed: the images that installed packages.
        more: files that packages have, beside those of any layer.
        initrds: the images that initrds were made for.
    """

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.more: dict[str, str] = {}
        self.initrds: list[str] = []

    def __call__(self, job: Job, request: Request, on_layer: Callable[[str], None]) -> Outcome:
        there = job.standing
        if there and there.listing != layers.listing(there.place / "tree"):
            raise engine.DamagedLayer
        place = there.place if there else None
        for layer in job.layers:
            self.installed.append(job.name)
            tree = layer.fresh / "tree"
            for name, text in {"etc/hosts": "localhost", "usr/x": "x", **self.more}.items():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).write_text(text)
            told = LayerFacts(id=layer.id, epoch=7, package_count=3, listing=layers.listing(tree))
            (layer.fresh / layers.CHANGES).write_text(json.dumps({"lowest": "low"}))
            layers.keep(layer.fresh, layer.place, told)
            on_layer(layer.id)
            place = layer.place
        assert place
        assert (place / "tree/etc/hosts").read_text() == "localhost"
        assert there is None or there.epoch == 7
        for name in ("vmlinuz", "initrd.img", "rootfs.squashfs"):
            (job.into / name).write_text(f"{name} of {job.name}")
        (job.into / "logs").mkdir()
        self._initrd(job, place)
        (job.into / "packages.json").write_text('{"format":1,"packages":[]}')
        return Outcome(kernel_release="6", tree_size=1, package_count=1, notes=(), seconds={})

    def _initrd(self, job: Job, layer: Path) -> None:
        """Make an initrd, or take one, as the worker does."""
        store, made = job.initrds / initrd_reuse.family(["x"]), job.into / "initrd.img"
        found = initrd_reuse.find(store, {}, layer / "tree")
        if found:
            shutil.copyfile(found, made)
        else:
            self.initrds.append(job.name)
            initrd_reuse.keep(store, made, {}, (), layer / "tree")


class Machines:
    def __init__(self, folder: Path, make_project: MakeProject, worker: Worker) -> None:
        self.folder, self.make_project, self.worker = folder, make_project, worker
        self.events: list[Event] = []

    def project(self, name: str, mirror: str = MIRROR, recipe: str = "") -> Project:
        files = {
            "imagebuilder.toml": f'cache = "{self.folder}/remote"\n'
            f'[mirrors]\ndebian-12 = ["{mirror}"]\n',
            "kickstarts/common.ks": "%packages\ncurl\n%end\n",
        }
        for each_ in NAMES:
            files[f"kickstarts/{each_}.ks"] = f"%post\necho {each_}\n%end\n"
            files[f"recipes/{each_}.toml"] = (
                f'distro = "debian-12"\nkickstarts = ["common.ks", "{each_}.ks"]\n{recipe}\n'
            )
        return self.make_project(files, folder=name)

    def options(self, project: Project, *, again: bool = False) -> Options:
        remote_module._opened.cache_clear()  # each machine is a process of its own
        cache_dir = project.root / "cache"
        return Options.make(cache_dir=cache_dir, observer=self.events.append, again=again)

    def build(self, project: Project, name: str, *, again: bool = False) -> Image:
        return build_image(project, name, self.options(project, again=again))

    def notes(self) -> list[str]:
        """Return what was noted, but for the room that images take."""
        found = [each_.text for each_ in self.events if each_.kind == "note"]
        return [text for text in found if "of memory are needed" not in text]

    def manifests(self) -> list[Path]:
        return list((self.folder / "remote").glob("entries/packages/*"))

    def change(self, change: Callable[[dict[str, object]], object]) -> None:
        (path,) = self.manifests()
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def replace_archive(self, data: bytes) -> None:
        """Let the remote cache have another archive, with the right digest in the manifest."""
        digest = hashlib.sha256(data).hexdigest()
        (folder,) = (self.folder / "remote/blobs/packages").iterdir()
        (folder / digest).write_bytes(data)
        self.change(lambda told: told.update(items=[_item(data, digest)]))


def _item(data: bytes, digest: str) -> dict[str, object]:
    return {"name": sharing.ARCHIVE, "size": len(data), "sha256": digest}


@pytest.fixture
def machines(
    tmp_path: Path,
    make_project: MakeProject,
    fake_programs: FakePrograms,
    monkeypatch: pytest.MonkeyPatch,
) -> Machines:
    worker = Worker()
    fake_apt(fake_programs)
    monkeypatch.setattr(engine, "_run_worker", worker)
    monkeypatch.setattr(tools, "need", lambda *_: None)
    monkeypatch.setattr(tools, "versions", lambda *_: {})
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.delenv("IMAGEBUILDER_REMOTE_CACHE", raising=False)
    return Machines(tmp_path, make_project, worker)


def test_another_image_is_built_on_a_layer_of_another_machine(machines: Machines) -> None:
    first = machines.build(machines.project("a"), "one")
    project = machines.project("b")
    plan = plan_image(project, "two", machines.options(project))
    assert [(each_.name, each_.remote) for each_ in plan.steps if each_.reused] == [
        ("packages", True)
    ]
    second = machines.build(project, "two")
    assert machines.worker.installed == ["one"]
    assert second.facts.steps[0].reused
    assert first.facts.steps[0].id == second.facts.steps[0].id
    facts = [
        layers.facts(next((machines.folder / name / "cache/layers").glob("uid-*/*[0-9a-f]")))
        for name in "ab"
    ]
    assert facts[0] == facts[1]
    (place,) = (project.root / "cache/layers").glob("uid-*/*[0-9a-f]")
    assert addition.changes(place).lowest == "low"  # or no initrd of other machines would do
    assert machines.notes() == []
    assert list((project.root / "cache/work").iterdir()) == []
    # From now on it is this machine's own.
    machines.manifests()[0].unlink()
    machines.build(project, "three")
    assert machines.worker.installed == ["one"]


def test_several_images_at_a_time_fetch_it_once(machines: Machines) -> None:
    machines.build(machines.project("a"), "one")
    project = machines.project("b")
    options = machines.options(project)
    names = ("two", "three")
    _, failures = each(
        names, lambda name: build_image(project, name, options), jobs=2, cancel=options.cancel
    )
    assert not failures
    fetches = [
        each_
        for each_ in machines.events
        if each_.kind == "started" and each_.text.startswith("fetching the package layer")
    ]
    assert len(fetches) == 1
    assert machines.worker.installed == ["one"]


def test_made_again_is_installed_here(machines: Machines) -> None:
    machines.build(machines.project("a"), "one")
    machines.build(machines.project("b"), "two", again=True)
    assert machines.worker.installed == ["one", "two"]


LIES: dict[str, tuple[Callable[[Machines], None], str]] = {
    "another tree": (
        lambda machines: machines.change(
            lambda told: told["facts"].update(listing="0" * 32)  # type: ignore[attr-defined]
        ),
        "its files are not those that it names",
    ),
    "facts of another layer": (
        lambda machines: machines.change(
            lambda told: told["facts"].update(id="0" * 32)  # type: ignore[attr-defined]
        ),
        "it does not say what it is",
    ),
    "no facts": (
        lambda machines: machines.change(lambda told: told.update(facts={"x": 1})),
        "it does not say what it is",
    ),
    "noise": (lambda machines: machines.replace_archive(b"noise" * 99), "cannot be read"),
    "a bomb": (
        lambda machines: machines.change(lambda told: told.update(tree={"size": 3, "entries": 9})),
        "unpacks to more than is named",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_layer_that_is_another_is_installed_here_and_shared_anew(
    machines: Machines, lie: str
) -> None:
    machines.build(machines.project("a"), "one")
    tell, why = LIES[lie]
    tell(machines)
    project = machines.project("b")
    machines.build(project, "two")
    assert machines.worker.installed == ["one", "two"]
    assert [why in note for note in machines.notes()] == [True]
    (place,) = (project.root / "cache/layers").iterdir()
    assert [each_ for each_ in place.iterdir() if each_.name.startswith(".")] == []
    machines.build(machines.project("c"), "three")
    assert machines.worker.installed == ["one", "two"]
    assert len(machines.notes()) == 1


def test_what_is_wrong_here_is_not_held_against_the_remote_cache(machines: Machines) -> None:
    machines.build(machines.project("a"), "one")
    (before,) = (path.stat().st_mtime_ns for path in machines.manifests())

    def fail(order: worker.Order, cancel: Cancel) -> None:
        (order.tree / "half").write_text("of it")
        raise StepError("No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "run_unpack", fail)
        machines.build(machines.project("b"), "two")
    full = shutil.disk_usage("/")._replace(free=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: full)
        machines.build(machines.project("c"), "three")
    assert machines.notes()[0] == (
        "the package layer cannot be unpacked here: No space left on device"
    )
    assert "the package layer is not fetched: it takes" in machines.notes()[1]
    assert machines.worker.installed == ["one", "two", "three"]
    assert [path.stat().st_mtime_ns for path in machines.manifests()] == [before]


@pytest.mark.parametrize(
    ("mirror", "recipe", "why"),
    [
        ("deb http://me:geheim@m.example.org bookworm main", "", "URL of a mirror"),
        (MIRROR, 'preseed = ["x x/pw password geheim"]', "preseed has a password"),
        (
            MIRROR,
            """preseed = ['x x/q string {{ secret("pw") }}']""",
            "the value of a secret, which debconf keeps",
        ),
    ],
)
def test_a_layer_with_a_secret_stays(
    machines: Machines, mirror: str, recipe: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_SECRET_PW", "geheimnis")
    project = machines.project("a", mirror, recipe)
    plan = plan_image(project, "one", machines.options(project))
    assert any(
        "the package layer is not shared" in each_ and why in each_ for each_ in plan.private
    )
    machines.build(project, "one")
    assert machines.manifests() == []


def test_a_layer_is_looked_through_before_it_goes(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever put it there: a layer of an older program, or a package that keeps its settings."""
    proxy = 'Acquire::http::Proxy "http://me:geheimnis@proxy.example.org:3128";'
    monkeypatch.setattr(sharing, "host_proxies", lambda: (proxy,))
    machines.worker.more = {"etc/apt/apt.conf.d/99x": f"{proxy}\n"}
    machines.build(machines.project("a"), "one")
    machines.worker.more = {"var/lib/some/settings": "password = geheimnis\n"}
    machines.build(machines.project("b"), "one", again=True)
    assert machines.manifests() == []
    assert [each_.partition(": ")[2] for each_ in machines.notes()] == [
        "etc/apt/apt.conf.d/99x has a URL with a password in it",
        "var/lib/some/settings has a secret in it",
    ]


def test_a_layer_has_nothing_of_its_host(tmp_path: Path) -> None:
    proxy = 'Acquire::http::Proxy "http://proxy.example.org:3128";'
    settings = tmp_path / "etc/apt/apt.conf.d/99mmdebstrap"
    for name in ("dev/shm/x", "etc/ssh/ssh_host_rsa_key", "etc/ssh/sshd_config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dev/fd").symlink_to("/proc/self/fd")
    settings.parent.mkdir(parents=True)
    settings.write_text(f'Acquire::Retries "3";\n{proxy}\nAPT::X "y";\n')
    packages.forget_host(tmp_path, (proxy,))
    assert settings.read_text() == 'Acquire::Retries "3";\nAPT::X "y";\n'
    assert list((tmp_path / "dev").iterdir()) == []
    assert [each_.name for each_ in (tmp_path / "etc/ssh").iterdir()] == ["sshd_config"]


# ----- initrds -----------------------------------------------------------------------------------


def test_an_initrd_comes_along_with_the_layer(machines: Machines) -> None:
    first = machines.build(machines.project("a"), "one")
    project = machines.project("b")
    second = machines.build(project, "two")
    assert machines.worker.initrds == ["one"]
    assert (second.path / "initrd.img").read_bytes() == (first.path / "initrd.img").read_bytes()
    (facts,) = (project.root / "cache/initrds").glob("*/*/*/initrd.json")
    assert facts.stat().st_mode & 0o777 == 0o600
    assert machines.notes() == []
    # What was taken is somebody else's, and is not shared once more.
    (path,) = (machines.folder / "remote/entries/initrd").iterdir()
    path.unlink()
    machines.build(project, "three")
    assert not path.exists()
    assert list((project.root / "cache/work").iterdir()) == []


def test_an_initrd_with_what_must_not_be_shared_stays(machines: Machines) -> None:
    project = machines.project("a", recipe="")
    (project.root / "kickstarts/common.ks").write_text(
        "rootpw --plaintext geheim\n%packages\ncurl\n%end\n"
    )
    machines.build(Project.open(project.root), "one")
    assert machines.manifests()  # the layer has nothing of it
    assert not (machines.folder / "remote/entries/initrd").exists()


def _wrong_bytes(machines: Machines) -> None:
    for path in (machines.folder / "remote/blobs/initrd").glob("*/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")


def _tell(machines: Machines, change: Callable[[dict[str, object]], object]) -> None:
    (path,) = (machines.folder / "remote/entries/initrd").iterdir()
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (_wrong_bytes, "has other bytes"),
        (
            lambda machines: _tell(machines, lambda told: told.update(items=[])),
            "it has other files than an initrd has",
        ),
        (lambda machines: _tell(machines, lambda told: told.update(facts={"engine": "old"})), ""),
    ],
)
def test_an_initrd_that_is_another_is_made_here(
    machines: Machines, lie: Callable[[Machines], None], why: str
) -> None:
    machines.build(machines.project("a"), "one")
    lie(machines)
    machines.build(machines.project("b"), "two")
    assert machines.worker.initrds == ["one", "two"]
    assert [why in note for note in machines.notes()] == ([True] if why else [])


def test_notes_of_an_initrd_that_is_another_are_not_believed(machines: Machines) -> None:
    machines.build(machines.project("a"), "one")
    blobs = {
        path.read_bytes(): path for path in (machines.folder / "remote/blobs/initrd").glob("*/*")
    }
    text = next(each_ for each_ in blobs if each_.startswith(b"{"))
    kept = initrd_reuse.Kept.model_validate_json(text)
    other = kept.model_copy(update={"sha256": "0" * 64}).model_dump_json().encode()
    digest = hashlib.sha256(other).hexdigest()
    (blobs[text].parent / digest).write_bytes(other)

    def change(told: dict[str, object]) -> None:
        items: list[dict[str, object]] = told["items"]  # type: ignore[assignment]
        items[-1].update(size=len(other), sha256=digest)

    _tell(machines, change)
    machines.build(machines.project("b"), "two")
    assert machines.worker.initrds == ["one", "two"]
    assert "it does not say what it is" in machines.notes()[0]
