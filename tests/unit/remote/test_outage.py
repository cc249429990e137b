"""A remote cache that does not answer, trickles or lies: little time, once, and nothing wrong."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imagebuilder.errors import CatalogError
from imagebuilder.progress import Cancel
from imagebuilder.remote import Remote, opened, outage, remote
from imagebuilder.remote.outage import Outage
from imagebuilder.stores.base import OnBytes, Sink
from imagebuilder.stores.file import FileStore

from .conftest import ID, World

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: x\r\n\r\n"


class Server:
    """Accepts connections, and does with each what it is told."""

    def __init__(self, answer: Callable[[socket.socket, threading.Event], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._answer = answer
        self.asked = 0
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._answer(connection, self._over)
            except OSError:
                pass  # nobody waits any more

    def close(self) -> None:
        self._over.set()
        self._listener.close()


def hangs(_: socket.socket, over: threading.Event) -> None:
    over.wait(60)


def trickles(connection: socket.socket, over: threading.Event) -> None:
    for each in HEAD + b"x" * 100:
        if over.wait(0.1):
            return
        connection.sendall(bytes([each]))


def lies(connection: socket.socket, _: threading.Event) -> None:
    connection.recv(1 << 16)
    connection.sendall(HEAD + b"{" * 100)


Answer = Callable[[socket.socket, threading.Event], None]


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(remote, "_LOOK", 1.0)
    with closing(Server(request.param)) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        yield found


def anew(folder: Path) -> Remote:
    """Open it as the next command does."""
    remote._opened.cache_clear()
    return opened("s3://cache/x", "read-write", noted=folder / "cache/remote")


@pytest.mark.parametrize("server", [hangs, trickles], indirect=True)
def test_one_without_an_answer_costs_all_commands_one_wait(server: Server, world: World) -> None:
    began = time.monotonic()
    assert anew(world.folder).look("image", ID, world.reporter) is None
    assert time.monotonic() - began < 15  # a second, on a machine that has nothing else to do
    asked = server.asked
    for _ in range(3):
        later = anew(world.folder)
        assert later.look("image", ID, world.reporter) is None
        assert not later.share(world.gift(), world.reporter)
        assert not later.writes
    assert server.asked == asked
    first, *others = world.notes()
    assert "is left alone for 5 minutes: it was not done after" in first
    assert len(others) == 3  # one for each command
    assert all("has been left alone for less than 5 minutes: it was not" in each for each in others)


@pytest.mark.parametrize("server", [lies], indirect=True)
def test_one_that_lies_is_not_believed_and_asked_again(server: Server, world: World) -> None:
    for n in (1, 2):
        assert anew(world.folder).look("image", ID, world.reporter) is None
        assert "its manifest cannot be read" in world.notes()[-1]
        assert server.asked == n


class Failing(FileStore):
    """A place that cannot be reached, as long as it is told so."""

    is_down = True

    def get(self, key: str, *, limit: int = 0) -> None:  # type: ignore[override]
        if self.is_down:
            raise CatalogError("cannot be read: no route\nto it")


def failing(world: World, *, is_down: bool, url: str = "s3://a/b") -> list[str]:
    """Ask it as a command does; return what was noted."""
    before = len(world.notes())
    store = Failing(world.folder)
    store.is_down = is_down
    known = Outage(world.folder / "noted", url)
    Remote(store, outage=known).look("image", ID, world.reporter)
    return world.notes()[before:]


def test_what_was_noted_ends(world: World) -> None:
    assert failing(world, is_down=True)
    (note,) = failing(world, is_down=False)
    assert note.endswith("less than 5 minutes: it cannot be read: no route to it")
    (path,) = (world.folder / "noted").iterdir()
    old = time.time() - outage.LASTS - 1
    os.utime(path, (old, old))
    assert failing(world, is_down=False) == []
    assert not path.exists()


def test_a_clock_that_was_set_back_keeps_nobody_waiting(world: World) -> None:
    failing(world, is_down=True)
    (path,) = (world.folder / "noted").iterdir()
    later = time.time() + 86400
    os.utime(path, (later, later))
    assert failing(world, is_down=False) == []


def test_another_place_and_another_user_are_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(world, is_down=True)
    assert failing(world, is_down=False, url="s3://a/c") == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.example")
    assert failing(world, is_down=False) == []


def test_a_cache_that_cannot_be_written_is_no_error(world: World) -> None:
    (world.folder / "noted").write_text("a file in its place")
    assert failing(world, is_down=True)
    assert failing(world, is_down=False) == []


def test_an_upload_that_fails_keeps_nobody_else_from_reading(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CatalogError("cannot be written: No space left on device")

    monkeypatch.setattr(FileStore, "upload", fail)
    noted = world.folder / "noted"
    writer = Remote(FileStore(world.folder / "remote"), outage=Outage(noted, "s3://a/b"))
    assert not writer.share(world.gift(), world.reporter)
    assert Outage(noted, "s3://a/b").told() is None


class Trickling(FileStore):
    """Gives a few bytes now and then, for ever."""

    def fetch(  # type: ignore[override]
        self, key: str, sink: Sink, *, on_bytes: OnBytes, cancel: Cancel, **_: object
    ) -> None:
        while not cancel.is_set:
            sink(b"x")
            on_bytes(1)
            time.sleep(0.02)
        raise CatalogError("was given up")


def test_objects_that_trickle_are_given_up_long_before_they_are_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_FETCHING", 0.3)
    monkeypatch.setattr(remote, "_SLOWEST", 1000)  # all of them would be due after 60 seconds
    world.remote.share(world.gift(size=30_000), world.reporter)
    slow = Remote(Trickling(world.folder / "remote"))
    found = slow.look("image", ID, world.reporter)
    assert found
    began = time.monotonic()
    assert not slow.fetch(found, world.folder, world.reporter)
    assert time.monotonic() - began < 30
    assert "is left alone for 5 minutes: it was not done after" in world.notes()[-1]
