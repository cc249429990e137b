"""What a remote cache has is taken, whatever is wrong with it costs time and is said."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.errors import CatalogError, InputError, Interrupted
from imagebuilder.progress import Cancel, Reporter
from imagebuilder.remote import Remote, opened, outage, prune_remote, remote, remote_entries
from imagebuilder.remote.bounded import TooSlowError, bounded, each
from imagebuilder.stores.file import FileStore

from .conftest import ID, World

OTHER = "fedcba9876543210" * 2
DAY = 86400.0


def fetched(world: World, opened: Remote, name: str = "out") -> bool:
    into = world.folder / name
    into.mkdir()
    found = opened.look("image", ID, world.reporter)
    return found is not None and opened.fetch(found, into, world.reporter)


def test_what_one_shares_another_has(world: World) -> None:
    gift = world.gift()
    assert world.remote.share(gift, world.reporter)
    reader = world.open(writes=False)
    found = reader.look("image", ID, world.reporter)
    assert found
    assert (found.recipe, found.facts, found.size) == ("r", {"a": 1}, gift.manifest().size)
    assert fetched(world, reader)
    for path, item in gift.files:
        assert (world.folder / "out" / item.name).read_bytes() == path.read_bytes()
    assert world.notes() == []
    moved = [each for each in world.events if each.kind == "progress"]
    assert moved[-1].done == moved[-1].total == found.size
    assert moved[-1].unit == "bytes"


def test_single_objects_can_be_taken(world: World) -> None:
    world.remote.share(world.gift(), world.reporter)
    found = world.remote.look("image", ID, world.reporter)
    assert found
    assert world.remote.fetch(found, world.folder, world.reporter, ["two.bin"])
    assert not (world.folder / "one.bin").exists()


def test_what_is_not_there_is_not_there(world: World) -> None:
    assert world.remote.look("image", ID, world.reporter) is None
    world.remote.share(world.gift(), world.reporter)
    assert world.remote.look("packages", ID, world.reporter) is None
    assert world.notes() == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


@pytest.mark.parametrize("lie", [cut, extend, flip, Path.unlink])
def test_wrong_bytes_are_found_and_shared_anew(world: World, lie: Callable[[Path], None]) -> None:
    gift = world.gift()
    world.remote.share(gift, world.reporter)
    lie(world.objects()[0])
    assert not fetched(world, world.remote)
    assert len(world.notes()) == 1
    assert "is not used, and made here" in world.notes()[0]
    assert not world.remote.has("image", ID, world.reporter)  # though its manifest is there
    assert world.remote.share(gift, world.reporter)
    assert fetched(world, world.open(), "again")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        '{"format": 2}',
        json.dumps({"format": 1, "kind": "image", "id": ID, "items": []}),
    ],
)
def test_a_manifest_that_cannot_be_read_is_none(world: World, text: str) -> None:
    world.remote.share(world.gift(), world.reporter)
    world.manifest().write_text(text)
    assert world.remote.look("image", ID, world.reporter) is None
    assert "its manifest cannot be read" in world.notes()[0]
    assert world.remote.share(world.gift(), world.reporter)
    assert world.open().look("image", ID, world.reporter)


def test_the_manifest_of_another_result_is_found(world: World) -> None:
    world.remote.share(world.gift(), world.reporter)
    shutil.copy(world.manifest(), world.manifest(OTHER))
    assert world.remote.look("image", OTHER, world.reporter) is None
    assert f"its manifest is that of image {ID[:16]}" in world.notes()[0]


@pytest.mark.parametrize("name", ["../escaped", "/escaped", ".hidden", "a/b", ""])
def test_no_object_has_a_name_that_leads_elsewhere(world: World, name: str) -> None:
    world.remote.share(world.gift(), world.reporter)
    data = json.loads(world.manifest().read_text())
    data["items"][0]["name"] = name
    world.manifest().write_text(json.dumps(data))
    assert not fetched(world, world.remote)
    assert "its manifest cannot be read" in world.notes()[0]


def test_no_two_objects_have_one_name(world: World) -> None:
    world.remote.share(world.gift(), world.reporter)
    data = json.loads(world.manifest().read_text())
    data["items"][1]["name"] = data["items"][0]["name"]
    world.manifest().write_text(json.dumps(data))
    assert not fetched(world, world.remote)
    assert "its manifest cannot be read" in world.notes()[0]


class Broken(FileStore):
    """A place that fails as it is told."""

    error: CatalogError | None = None
    asked = 0
    hang: threading.Event | None = None

    def get(self, key: str, *, limit: int = 0) -> None:  # type: ignore[override]
        self.asked += 1
        if self.hang:
            self.hang.wait(20)
        if self.error:
            raise self.error


def test_one_that_is_down_is_said_once_and_left_alone(world: World) -> None:
    store = Broken(world.folder)
    store.error = CatalogError("cannot be read: nobody answers")
    broken = Remote(store)
    for _ in range(3):
        assert broken.look("image", ID, world.reporter) is None
    assert store.asked == 1
    assert not broken.writes
    assert not broken.share(world.gift(), world.reporter)
    assert world.notes() == [
        f"the remote cache {store.url} is left alone for 5 minutes: it cannot be read: "
        "nobody answers"
    ]


def test_it_is_asked_again_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LASTS", 0.01)
    store = Broken(world.folder)
    store.error = CatalogError("cannot be read")
    broken = Remote(store)
    broken.look("image", ID, world.reporter)
    time.sleep(0.02)
    broken.look("image", ID, world.reporter)
    assert store.asked == 2


def test_one_that_hangs_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_LOOK", 0.2)
    store = Broken(world.folder)
    store.hang = threading.Event()
    began = time.monotonic()
    assert Remote(store).look("image", ID, world.reporter) is None
    store.hang.set()
    assert time.monotonic() - began < 15
    assert "was not done after" in world.notes()[0]


def test_who_waits_for_it_can_be_interrupted(world: World) -> None:
    store = Broken(world.folder)
    store.hang = threading.Event()
    cancel = Cancel()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Interrupted):
        Remote(store).look("image", ID, Reporter(subject="r", cancel=cancel))
    store.hang.set()


def denied(store: FileStore, key: str) -> None:
    error = CatalogError("cannot be written: Permission denied")
    raise error from PermissionError(13, "Permission denied")


def test_who_may_only_read_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.remote.share(world.gift(), world.reporter)
    reader = world.open()
    monkeypatch.setattr(FileStore, "put", lambda store, key, *_, **__: denied(store, key))
    monkeypatch.setattr(FileStore, "upload", lambda store, key, *_, **__: denied(store, key))
    assert reader.writes
    for n in (2, 3):
        assert not reader.share(world.gift(n, OTHER), world.reporter)
    assert not reader.writes
    assert fetched(world, reader)
    assert len(world.notes()) == 1
    assert "gets nothing of what is made here" in world.notes()[0]


def test_who_may_not_list_takes_a_refusal_for_a_miss(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.remote.share(world.gift(), world.reporter)
    get = FileStore.get

    def or_refused(store: FileStore, key: str, *, limit: int) -> object:
        return get(store, key, limit=limit) or denied(store, key)

    monkeypatch.setattr(FileStore, "get", or_refused)
    for _ in range(2):
        assert world.remote.look("image", OTHER, world.reporter) is None
    assert world.remote.look("image", ID, world.reporter)
    assert len(world.notes()) == 1


def test_a_read_only_one_is_never_written_to(world: World) -> None:
    assert not world.open(writes=False).share(world.gift(), world.reporter)
    assert not (world.folder / "remote").exists()


def test_an_upload_that_fails_is_a_note_and_no_entry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CatalogError("cannot be written: No space left on device")

    monkeypatch.setattr(FileStore, "upload", fail)
    assert not world.remote.share(world.gift(), world.reporter)
    assert "No space left" in world.notes()[0]
    assert world.open().look("image", ID, world.reporter) is None


def test_a_file_that_changed_since_it_was_made_is_not_shared(world: World) -> None:
    gift = world.gift()
    flip(gift.files[0][0])
    assert not world.remote.share(gift, world.reporter)
    assert not world.manifest().exists()


def test_two_share_the_same_entry_at_once(world: World) -> None:
    """Each has other bytes, as images have: their facts say when they were made."""
    gifts = [world.gift(n) for n in range(8)]
    remotes = [world.open() for _ in gifts]
    threads = [
        threading.Thread(target=one.share, args=(gift, world.reporter))
        for one, gift in zip(remotes, gifts, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched(world, world.open())
    assert world.notes() == []
    taken = (world.folder / "out/one.bin").read_bytes()
    assert taken in [gift.files[0][0].read_bytes() for gift in gifts]


def test_no_room_is_said_before_anything_is_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.remote.share(world.gift(), world.reporter)
    usage = shutil.disk_usage(world.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert not fetched(world, world.remote)
    assert "there is no room for its" in world.notes()[0]


def test_use_is_noted_once_a_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.remote.share(world.gift(), world.reporter)
    before = world.manifest().stat().st_mtime_ns
    world.remote.look("image", ID, world.reporter)
    assert world.manifest().stat().st_mtime_ns == before
    monkeypatch.setattr(remote, "_today", lambda: "2126-01-01")
    world.remote.look("image", ID, world.reporter)  # as a plan does, which changes nothing
    assert fetched(world, world.open(writes=False), "read")
    assert world.manifest().stat().st_mtime_ns == before
    assert fetched(world, world.remote)
    assert json.loads(world.manifest().read_text())["used"] == "2126-01-01"
    before = world.manifest().stat().st_mtime_ns
    assert world.remote.has("image", ID, world.reporter)
    assert world.manifest().stat().st_mtime_ns == before


# ----- keeping it within bounds ------------------------------------------------------------------


def used(world: World, entry_id: str, days: float) -> None:
    """Let an entry be as old as that."""
    then = time.time() - days * DAY
    for path in (world.folder / f"remote/blobs/image/{entry_id}").iterdir():
        os.utime(path, (then, then))
    os.utime(world.manifest(entry_id), (then, then))


def test_entries_are_listed_by_their_last_use(world: World) -> None:
    for n, entry_id in enumerate((ID, OTHER)):
        world.remote.share(world.gift(n, entry_id), world.reporter)
    used(world, OTHER, 3)
    found = remote_entries(world.remote.store)
    assert [each.id for each in found] == [OTHER, ID]
    assert {each.recipe for each in found} == {"r"}
    assert all(10_000 < each.size < 11_000 for each in found)


def test_pruning_by_age_and_by_size(world: World) -> None:
    for n, entry_id in enumerate((ID, OTHER)):
        world.remote.share(world.gift(n, entry_id), world.reporter)
    used(world, OTHER, 3)
    store, cancel = world.remote.store, Cancel()
    would = prune_remote(store, unused_for=2 * DAY, dry_run=True, cancel=cancel)
    assert [each.id for each in would.removed] == [OTHER]
    assert len(world.objects()) == 4
    assert prune_remote(store, unused_for=2 * DAY, cancel=cancel).removed == would.removed
    assert len(world.objects()) == 2
    assert fetched(world, world.open())
    assert prune_remote(store, limit=would.kept, cancel=cancel).removed == ()
    pruned = prune_remote(store, limit=0, cancel=cancel)
    assert ([each.id for each in pruned.removed], pruned.kept) == ([ID], 0)
    assert world.objects() == []


def test_what_belongs_to_no_entry_goes_after_a_day(world: World) -> None:
    """The objects of whoever was the second to share an entry, or was killed while he did."""
    world.remote.share(world.gift(1), world.reporter)
    theirs = set(world.objects())
    world.manifest().unlink()
    world.remote.share(world.gift(2), world.reporter)
    store, cancel = world.remote.store, Cancel()
    assert prune_remote(store, cancel=cancel).orphans == 0
    used(world, ID, 2)
    freed = prune_remote(store, cancel=cancel)
    assert freed.orphans == sum(item.size for _, item in world.gift(1).files)
    assert theirs.isdisjoint(world.objects())
    assert fetched(world, world.open())


def test_an_entry_that_is_used_meanwhile_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.remote.share(world.gift(), world.reporter)
    used(world, ID, 3)
    stat = FileStore.stat

    def used_just_now(store: FileStore, key: str) -> object:
        os.utime(world.manifest())
        return stat(store, key)

    monkeypatch.setattr(FileStore, "stat", used_just_now)
    assert prune_remote(world.remote.store, limit=0, cancel=Cancel()).removed == ()
    assert fetched(world, world.open())


def test_pruning_under_a_reader_is_no_more_than_a_miss(world: World) -> None:
    world.remote.share(world.gift(), world.reporter)
    reader = world.open(writes=False)
    found = reader.look("image", ID, world.reporter)
    assert found
    prune_remote(world.remote.store, limit=0, cancel=Cancel())
    assert not reader.fetch(found, world.folder, world.reporter)
    assert "is missing" in world.notes()[0]


# ----- the means --------------------------------------------------------------------------------


def test_a_url_that_is_none_names_its_place() -> None:
    with pytest.raises(InputError, match="cannot be on ftp:") as caught:
        opened("ftp://host/x", "read-only")
    assert "remote cache" in caught.value.what
    assert opened("/var/tmp/x", "read-only") is opened("/var/tmp/x", "read-only")


def test_bounded_work_hands_on_what_comes_of_it() -> None:
    assert bounded(lambda _: 7, seconds=20, cancel=Cancel()) == 7
    with pytest.raises(KeyError):
        bounded(lambda _: {}["x"], seconds=20, cancel=Cancel())


def test_work_that_is_given_up_is_told() -> None:
    told = threading.Event()

    def work(cancel: Cancel) -> None:
        while not cancel.is_set:
            time.sleep(0.01)
        told.set()

    with pytest.raises(TooSlowError):
        bounded(work, seconds=0.1, cancel=Cancel())
    assert told.wait(20)


def test_each_ends_with_the_first_failure() -> None:
    done: list[int] = []
    cancel = Cancel()

    def work(number: int) -> None:
        if number == 2:
            raise ValueError("two")
        done.append(number)

    with pytest.raises(ValueError, match="two"):
        each(work, range(1000), cancel, at_once=1)
    assert cancel.is_set
    assert len(done) < 999
