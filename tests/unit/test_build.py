from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject
from filelock import FileLock

from imagebuilder.build import build
from imagebuilder.build_record import RECORD
from imagebuilder.engines import Request
from imagebuilder.errors import HostError, Interrupted, StepError
from imagebuilder.image import ARTEFACTS, FACTS, Image
from imagebuilder.plan import Plan, make_plan
from imagebuilder.progress import Cancel, Event, Reporter
from imagebuilder.project import Project

FILES = {
    "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\nsummary = "x"\n',
    "kickstarts/a.ks": "timezone UTC\nrootpw --plaintext geheim\n",
}


class World:
    """A project whose images a fake engine makes."""

    def __init__(self, make_project: MakeProject, engine: FakeEngine) -> None:
        self.make_project = make_project
        self.project: Project = make_project(FILES)
        self.engine = engine
        self.events: list[Event] = []
        self.place = self.project.root / "build/r"

    def plan(self, *, again: bool = False, cancel: Cancel | None = None) -> Plan:
        reporter = Reporter(subject="r", observer=self.events.append, cancel=cancel or Cancel())
        return make_plan(self.project, "r", cache_dir=self.place, reporter=reporter, again=again)

    def change(self) -> None:
        """Change the recipe, so that it has another image."""
        self.make_project({"kickstarts/a.ks": "timezone Etc/UTC\n"})

    def fail(self, error: BaseException) -> None:
        def fail(request: Request, into: Path) -> None:
            raise error

        self.engine.before_make = fail

    def left(self) -> list[str]:
        return sorted(path.name for path in self.place.iterdir() if path.name != ".lock")

    def is_as_it_was(self, image: Image) -> bool:
        image.verify()
        return Image.open(self.place / "latest") == Image(
            path=self.place / "latest", facts=image.facts
        )


@pytest.fixture
def world(make_project: MakeProject, fake_engine: FakeEngine) -> World:
    return World(make_project, fake_engine)


def test_a_whole_image(world: World) -> None:
    plan = world.plan()
    image = build(plan)
    assert image.path == world.place / plan.image_id
    assert world.left() == sorted([plan.image_id, "latest"])
    assert (world.place / "latest").readlink() == Path(plan.image_id)
    assert sorted(path.name for path in image.path.iterdir()) == sorted(
        [*ARTEFACTS, FACTS, RECORD, "logs"]
    )
    image.verify()
    facts = image.facts
    assert (facts.id, facts.recipe, facts.summary) == (plan.image_id, "r", "x")
    assert facts.notes == ("a note of the engine", "a note of the build")
    assert [each.name for each in facts.steps] == ["packages", "configure", "image"]
    assert facts.steps[0].seconds == 1.0
    assert "geheim" not in (image.path / "kickstart.ks").read_text()
    assert "root=live:${base}rootfs.squashfs" in (image.path / "boot.ipxe").read_text()


def test_an_erofs_is_named_for_what_it_is(world: World) -> None:
    recipe = FILES["recipes/r.toml"] + '[image]\nfilesystem = "erofs"\ncompression = "lz4"\n'
    world.make_project({"recipes/r.toml": recipe})
    image = build(world.plan())
    image.verify()
    assert image.rootfs == image.path / "rootfs.erofs"
    assert "root=live:${base}rootfs.erofs " in (image.path / "boot.ipxe").read_text()
    assert not (image.path / "rootfs.squashfs").exists()


def test_nothing_is_made_twice(world: World) -> None:
    image = build(world.plan())
    before = image.path.stat()
    assert build(world.plan()) == image
    assert world.engine.made == ["r"]
    assert image.path.stat() == before
    assert world.events[-1].kind == "reused"


def test_an_earlier_image_stays_beside_the_new_one(world: World) -> None:
    old = build(world.plan())
    world.change()
    new = build(world.plan())
    assert old.id != new.id
    old.verify()
    assert (world.place / "latest").readlink() == Path(new.id)


@pytest.mark.parametrize(
    "error",
    [
        StepError("it failed"),
        HostError("no mmdebstrap"),
        Interrupted("stopped"),
        OSError(errno.ENOSPC, "No space left on device", "/some/file"),
        KeyboardInterrupt(),
        RuntimeError("a fault"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_leaves_the_earlier_image_and_the_pointer(
    world: World, error: BaseException
) -> None:
    old = build(world.plan())
    world.change()
    world.fail(error)
    expected = StepError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        build(world.plan())
    assert world.is_as_it_was(old)
    assert set(world.left()) - {"failed"} == {old.id, "latest"}


def test_a_failure_while_the_image_is_put_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = build(world.plan())
    world.change()
    world.engine.after_make = lambda request, into: (into / "vmlinuz").unlink()
    with pytest.raises(StepError, match="No such file"):
        build(world.plan())
    assert world.is_as_it_was(old)
    assert set(world.left()) - {"failed"} == {old.id, "latest"}


def test_a_first_build_that_fails_leaves_no_image(world: World) -> None:
    world.fail(StepError("it failed"))
    with pytest.raises(StepError):
        build(world.plan())
    assert world.left() == ["failed"]


def test_the_logs_of_a_failure_are_kept_and_named(world: World) -> None:
    def fail(request: Request, into: Path) -> None:
        raise StepError("it failed", log=into / "logs/configure.log")

    world.engine.before_make = fail
    with pytest.raises(StepError) as caught:
        build(world.plan())
    assert caught.value.log == world.place / "failed/configure.log"
    assert caught.value.log.read_text() == "what the tools said\n"
    # A second failure replaces them, and a success takes them away.
    with pytest.raises(StepError):
        build(world.plan())
    world.engine.before_make = lambda request, into: None
    build(world.plan())
    assert "failed" not in world.left()


def test_no_room_on_the_disk_is_said_in_words(world: World) -> None:
    world.fail(OSError(errno.ENOSPC, "No space left on device", "/some/file"))
    with pytest.raises(StepError, match="No space left on device: /some/file") as caught:
        build(world.plan())
    assert "make room" in caught.value.fix


def test_a_folder_that_cannot_be_made(world: World) -> None:
    plan = world.plan()
    shutil.rmtree(world.project.root / "build", ignore_errors=True)
    (world.project.root / "build").write_text("a file is in the way")
    with pytest.raises(StepError) as caught:
        build(plan)
    assert str(world.project.root / "build") in caught.value.what
    assert caught.value.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(world: World) -> None:
    plan = world.plan()
    world.place.mkdir(parents=True, exist_ok=True)
    world.place.chmod(0o500)
    with pytest.raises(StepError, match="Permission denied"):
        build(plan)
    world.place.chmod(0o700)


def test_what_a_killed_build_left_is_removed(world: World) -> None:
    plan = world.plan()
    for name in (".new-0123", ".new-0123-old"):
        (world.place / name / "logs").mkdir(parents=True)
        (world.place / name / "rootfs.squashfs").touch()
    # It was killed while it pointed to the image that it had made.
    (world.place / ".latest.0123abcd").symlink_to("0123456789abcdef")
    build(plan)
    assert world.left() == sorted([plan.image_id, "latest"])


def test_a_folder_in_place_of_the_link_is_refused_before_any_work(world: World) -> None:
    plan = world.plan()
    (world.place / "latest").mkdir(parents=True)
    with pytest.raises(StepError, match="latest is a folder") as caught:
        build(plan)
    assert "move it away" in caught.value.fix
    assert world.engine.made == []
    assert world.left() == ["latest"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_for_images_is_said(world: World, kind: str) -> None:
    plan = world.plan()
    where = world.place.parent
    where.write_text("") if kind == "file" else where.symlink_to("nowhere")
    with pytest.raises(StepError) as caught:
        build(plan)
    assert "move it away" in caught.value.fix


def test_all_again_replaces_the_image(world: World) -> None:
    old = build(world.plan())
    (old.path / "smoke").mkdir()
    world.engine.after_make = lambda request, into: (into / "vmlinuz").write_text("new")
    new = build(world.plan(again=True), again=True)
    assert new.path == old.path
    assert new.kernel.read_text() == "new"
    assert not new.smoke_dir.exists()
    assert world.left() == sorted([new.id, "latest"])
    assert world.engine.made == ["r", "r"]


def test_all_again_that_fails_keeps_the_image(world: World) -> None:
    old = build(world.plan())
    world.fail(StepError("it failed"))
    with pytest.raises(StepError):
        build(world.plan(again=True), again=True)
    assert world.is_as_it_was(old)


def test_two_builds_at_once_make_the_image_once(world: World) -> None:
    started = threading.Event()
    go = threading.Event()

    def wait(request: Request, into: Path) -> None:
        started.set()
        assert go.wait(20)

    world.engine.before_make = wait
    plans = [world.plan(), world.plan()]
    images: list[Image] = []
    threads = [threading.Thread(target=lambda p=p: images.append(build(p))) for p in plans]
    threads[0].start()
    assert started.wait(20)
    threads[1].start()
    deadline = time.monotonic() + 20
    while not any("waiting for another build" in each.text for each in world.events):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    go.set()
    for thread in threads:
        thread.join(20)
    assert len(images) == 2
    assert images[0] == images[1]
    assert world.engine.made == ["r"]


def test_the_request_to_stop_ends_the_wait_for_another_build(world: World) -> None:
    cancel = Cancel()
    plan = world.plan(cancel=cancel)
    world.place.mkdir(parents=True, exist_ok=True)
    with FileLock(world.place / ".lock"):
        threading.Timer(0.2, cancel.set, ["stopped by SIGINT"]).start()
        began = time.monotonic()
        with pytest.raises(Interrupted, match="SIGINT"):
            build(plan)
    assert time.monotonic() - began < 60
    assert world.engine.made == []


def test_an_image_that_cannot_be_read_is_not_taken_for_one(world: World) -> None:
    image = build(world.plan())
    (image.path / FACTS).write_text("{")
    assert not world.plan().up_to_date
    assert build(world.plan()).facts == Image.open(image.path).facts
    assert world.engine.made == ["r", "r"]
    assert world.left() == sorted([image.id, "latest"])
