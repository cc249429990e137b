"""Files that a guest gets from another server: by way of ours, as that one answers."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder.errors import InputError, StepError
from imagebuilder.smoke.server import Transfer, serve
from imagebuilder.smoke.sources import Served, ask, copy

BODY = bytes(range(256)) * 4096


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012 - cleared by the fixture

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/rootfs")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not self.path.startswith("/rootfs"):
            self.send_error(403 if self.path == "/refused" else 404)
            return
        asked = self.headers.get("Range")
        part = BODY
        self.send_response(206 if asked else 200)
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            part = BODY[int(first) : int(last) + 1 if last else None]
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(BODY)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[:1000] if self.path == "/rootfs-cut" else part)
        if self.path == "/rootfs-cut":
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def store() -> Iterator[str]:
    Store.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def get(path: Path, name: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("guest", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", name, headers=headers)
    answer = connection.getresponse()
    try:
        data = answer.read()
    except http.client.IncompleteRead as error:
        data = error.partial
    connection.close()
    return answer.status, data


def test_the_guest_gets_what_the_store_answers(store: str, tmp_path: Path) -> None:
    names = ("rootfs", "refused", "none", "moved", "rootfs-cut")
    files = {f"a/{name}": Served(name=name, source=f"{store}/{name}") for name in names}
    files["signed"] = Served(name="vmlinuz", source=f"{store}/rootfs?X-Signature=a%2Fb")
    files["gone"] = Served(name="gone", source="http://127.0.0.1:1/gone")
    seen: list[Transfer] = []
    with serve(tmp_path / "s", files, seen.append):
        assert get(tmp_path / "s", "/a/rootfs") == (200, BODY)
        assert get(tmp_path / "s", "/a/rootfs", Range="bytes=3-5") == (206, BODY[3:6])
        assert get(tmp_path / "s", "/signed") == (200, BODY)
        assert get(tmp_path / "s", "/a/refused")[0] == 403
        assert get(tmp_path / "s", "/a/none")[0] == 404
        assert get(tmp_path / "s", "/a/moved")[0] == 302, "it is followed nowhere"
        assert get(tmp_path / "s", "/gone")[0] == 502
        assert len(get(tmp_path / "s", "/a/rootfs-cut", Range="bytes=7-")[1]) == 1000
        assert get(tmp_path / "s", "/rootfs")[0] == 404, "only what is in the table"
    assert "/rootfs?X-Signature=a%2Fb" in Store.asked
    ends = {each.name: each for each in seen}
    assert ends["vmlinuz"].whole
    assert ends["refused"].status == 403
    assert not ends["rootfs-cut"].whole
    cut = ends["rootfs-cut"]
    assert (cut.first, cut.sent, cut.wanted, cut.cut) == (7, 1000, len(BODY) - 7, True)


def test_a_file_is_copied_from_wherever_it_is(store: str, tmp_path: Path) -> None:
    copy(Served(name="rootfs", source=f"{store}/rootfs"), tmp_path / "one")
    copy(Served(name="rootfs", source=tmp_path / "one"), tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == BODY
    with pytest.raises(StepError, match="answers 404"):
        copy(Served(name="vmlinuz", source=f"{store}/none"), tmp_path / "three")
    with pytest.raises(StepError, match="cut short"):
        copy(Served(name="vmlinuz", source=f"{store}/rootfs-cut"), tmp_path / "three")


def test_only_http_is_spoken() -> None:
    for url in ("file:///etc/passwd", "ftp://x/y", "relative"):
        with pytest.raises(InputError, match="no HTTP URL"):
            Served(name="x", source=url)
    assert ask("http://127.0.0.1:1/").status == 502


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nendle\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n\r\nwho knows how long",
        b"no HTTP at all\r\n\r\n",
    ],
)
def test_what_does_not_say_how_long_it_is_is_not_fetched(said: bytes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)
                connection.recv(4096)  # until it is closed: nothing more comes from here

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/rootfs"
        with pytest.raises(StepError, match="the server answers 502"):
            copy(Served(name="rootfs.squashfs", source=url), tmp_path / "rootfs")
        thread.join(20)
        assert not thread.is_alive()
