import fcntl
import os
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagebuilder.errors import CatalogError, Interrupted
from imagebuilder.image import sha256_of
from imagebuilder.progress import Cancel
from imagebuilder.stores import Conflict, FileStore
from imagebuilder.stores.base import check_key


@pytest.fixture
def store(root: Path) -> FileStore:
    return FileStore(root)


def test_put_get_stat_list_delete(store: FileStore, root: Path) -> None:
    assert store.get("a/b.json") is None
    assert store.stat("a/b.json") is None
    assert list(store.list("")) == []
    store.put("a/b.json", b"one")
    store.put("a/c/d", b"three")
    store.put("a.txt", b"")
    found = store.get("a/b.json")
    assert found
    assert found.data == b"one"
    stat = store.stat("a/b.json")
    assert stat
    assert stat.size == 3
    assert [each.key for each in store.list("")] == sorted(["a/b.json", "a/c/d", "a.txt"])
    assert [each.key for each in store.list("a/")] == ["a/b.json", "a/c/d"]
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert store.get("a/b.json") is None
    assert list((root / ".tmp").iterdir()) == []


def test_what_a_killed_writer_left_is_cleared(store: FileStore, root: Path) -> None:
    assert store.clear(2.0, dry_run=False, cancel=Cancel()) == 0  # nothing is there
    store.prepare(Cancel())
    for name, at in (("old", 1), ("busy", 1), ("new", 3)):
        (root / ".tmp" / name).write_bytes(b"12345")
        os.utime(root / ".tmp" / name, (at, at))
    with (root / ".tmp/busy").open() as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        assert store.clear(2.0, dry_run=True, cancel=Cancel()) == 5
        assert (root / ".tmp/old").exists()
        assert store.clear(2.0, dry_run=False, cancel=Cancel()) == 5
    assert sorted(each.name for each in (root / ".tmp").iterdir()) == ["busy", "new"]


def test_conditional_writes(store: FileStore) -> None:
    store.put("k", b"one", if_none_match=True)
    with pytest.raises(Conflict):
        store.put("k", b"two", if_none_match=True)
    one = store.get("k")
    assert one
    store.put("k", b"two", if_match=one.etag)
    with pytest.raises(Conflict):
        store.put("k", b"three", if_match=one.etag)
    with pytest.raises(Conflict):
        store.put("other", b"three", if_match=one.etag)
    two = store.get("k")
    assert two
    assert two.data == b"two"


def test_many_threads_never_lose_a_write(store: FileStore) -> None:
    store.put("n", b"0")

    def add() -> None:
        for _ in range(20):
            while True:
                current = store.get("n")
                assert current
                try:
                    store.put("n", b"%d" % (int(current.data) + 1), if_match=current.etag)
                    break
                except Conflict:
                    pass

    threads = [threading.Thread(target=add) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = store.get("n")
    assert found
    assert found.data == b"80"


@given(st.text(alphabet="ab.-_/\\\n\0 %+é", max_size=20))
@example("../x")
@example("/etc/passwd")
@example("a//b")
@example("a/./b")
@example("a/../b")
@example(".tmp/x")
@example("a\n")
@example("")
def test_a_key_never_leaves_the_folder(key: str) -> None:
    try:
        check_key(key)
    except CatalogError:
        return
    assert os.path.normpath(key) == key
    assert not key.startswith(("/", "."))
    assert key.isprintable()


def test_links_that_lead_outside_are_not_followed(
    store: FileStore, root: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "x").write_text("secret")
    store.put("a/y", b"")
    (root / "link").symlink_to(secret)
    (root / "a/x").symlink_to(secret / "x")
    for key in ("link/x", "a/x"):
        for attempt in (
            lambda key=key: store.get(key),
            lambda key=key: store.stat(key),
            lambda key=key: store.put(key, b"overwritten"),
            lambda key=key: store.delete(key),
            lambda key=key: store.fetch(
                key,
                lambda _: None,
                size=6,
                sha256=sha256_of(secret / "x"),
                on_bytes=lambda _: None,
                cancel=Cancel(),
            ),
        ):
            with pytest.raises(CatalogError, match="leads out"):
                attempt()
    assert (secret / "x").read_text() == "secret"
    assert [each.key for each in store.list("")] == ["a/y"]


def test_the_catalog_itself_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    FileStore(tmp_path / "link").put("a", b"1")
    assert (tmp_path / "real/a").read_bytes() == b"1"


def test_pipes_and_folders_are_no_objects(store: FileStore, root: Path) -> None:
    store.put("a/b", b"")
    os.mkfifo(root / "a/pipe")
    for key in ("a/pipe", "a"):
        with pytest.raises(CatalogError):
            store.get(key)
        assert store.stat(key) is None
    assert [each.key for each in store.list("a/")] == ["a/b"]


def test_a_small_object_that_is_large_is_refused(store: FileStore) -> None:
    store.put("a", b"x" * 100)
    assert store.get("a", limit=100)
    with pytest.raises(CatalogError, match="larger than the 99 bytes"):
        store.get("a", limit=99)


def test_upload_checks_and_can_be_stopped(store: FileStore, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * (3 << 20))
    digest = sha256_of(source)
    seen: list[int] = []
    cancel = Cancel()

    def send(sha256: str = digest, size: int = 3 << 20) -> None:
        store.upload("b", source, size=size, sha256=sha256, on_bytes=seen.append, cancel=cancel)

    with pytest.raises(CatalogError, match="changed after"):
        send(sha256="0" * 64)
    with pytest.raises(CatalogError, match="changed after"):
        send(size=(3 << 20) - 1)
    assert store.stat("b") is None
    seen.clear()
    send()
    assert sum(seen) == 3 << 20
    assert (root / "b").read_bytes() == source.read_bytes()
    cancel.set()
    with pytest.raises(Interrupted):
        send()
    assert list((root / ".tmp").iterdir()) == []


def test_prepare_removes_what_the_dead_left_and_spares_the_living(
    store: FileStore, root: Path
) -> None:
    import fcntl

    (root / ".tmp").mkdir(parents=True)
    for name in ("old", "young", "in-use"):
        (root / ".tmp" / name).write_text("half")
    for name in ("old", "in-use"):
        os.utime(root / ".tmp" / name, (0, 0))
    with (root / ".tmp/in-use").open() as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        store.prepare(Cancel())
    assert sorted(p.name for p in (root / ".tmp").iterdir()) == ["in-use", "young"]
