from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagebuilder.smoke import relay
from imagebuilder.smoke.server import Transfer, serve
from imagebuilder.smoke.sources import Served


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


class Server:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.transfers: dict[int, Transfer] = {}

    def get(self, name: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("guest", timeout=10)
        connection.sock = connect(self.path)
        connection.request("GET", name, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data

    def last(self) -> Transfer:
        return self.transfers[max(self.transfers)]


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(250):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "rootfs.squashfs").write_bytes(bytes(range(256)) * 4096)
    (tmp_path / "secret").write_text("not to be given out")
    files = {
        "rootfs.squashfs": Served(name="rootfs.squashfs", source=tmp_path / "rootfs.squashfs"),
        "vmlinuz": Served(name="vmlinuz", source=tmp_path / "none"),
    }
    found = Server(tmp_path / "s")
    with serve(found.path, files, lambda each: found.transfers.update({each.number: each})):
        yield found


def test_a_file_is_sent_and_noted(server: Server) -> None:
    status, data = server.get("/rootfs.squashfs")
    assert (status, len(data)) == (200, 1 << 20)
    wait_until(lambda: server.last().whole)
    assert server.last().sent == server.last().wanted == 1 << 20
    assert server.last().ended >= server.last().started
    assert server.last().begin == bytes(range(16))


def test_ranges(server: Server) -> None:
    assert server.get("/rootfs.squashfs", Range="bytes=1-3") == (206, b"\1\2\3")
    assert server.get("/rootfs.squashfs", Range=f"bytes={(1 << 20) - 2}-") == (206, b"\xfe\xff")
    assert server.get("/rootfs.squashfs", Range=f"bytes={1 << 20}-")[0] == 416


@pytest.mark.parametrize(
    "name", ["/secret", "/../secret", "//etc/passwd", "/", "/%2e%2e/secret", "/vmlinuz"]
)
def test_nothing_else_is_given_out(server: Server, name: str) -> None:
    status, data = server.get(name)
    assert status == 404
    assert b"given out" not in data
    assert server.last().status == 404


def test_a_guest_that_goes_away_is_noted(server: Server) -> None:
    connection = connect(server.path)
    connection.sendall(b"GET /rootfs.squashfs HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.recv(100)
    connection.close()
    wait_until(lambda: bool(server.transfers) and server.last().sent < server.last().wanted)
    assert not server.last().whole
    assert not server.last().cut, "it was not the server who ended it"


def test_the_relay_joins_both_ends(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", relay.__file__, str(server.path)],
        input=b"GET /rootfs.squashfs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.startswith(b"HTTP/1.1 200")
    assert done.stdout.endswith(bytes(range(256)))


def test_the_relay_ends_without_a_server(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX):
        done = subprocess.run(
            [sys.executable, "-I", "-S", relay.__file__, str(tmp_path / "none")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
        )
    assert (done.returncode, done.stderr) == (1, b"")
