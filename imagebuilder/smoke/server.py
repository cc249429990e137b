"""A small HTTP server for one guest: the files of one boot, and a note of each transfer.

It listens on a UNIX socket in a folder that only this user can enter: what an image holds is
not shown to other users of the host, and no port is taken.
"""

from __future__ import annotations

import http.server
import itertools
import os
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import unquote

from imagebuilder.smoke.sources import Served, ask

_PIECE = 1 << 18
_KEPT_BYTES = 16
_IDLE_SECONDS = 600.0  # a connection on which nothing moves for so long is closed
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What came of one request, or has come of it so far.

    Attributes:
        number: tells requests apart, in their order.
        name: what was asked for, without the leading slash.
        status: the HTTP status that it got.
        started: when it was asked for, in seconds of the monotonic clock.
        ended: when its last byte was handed over, so far.
        wanted: bytes that were to be sent.
        sent: bytes that were sent; fewer if the guest went away, or the file ended too early.
        first: where in the file they begin.
        cut: whether the file, or the server that has it, ended too early.
        begin: what the first bytes sent were.
    """

    name: str
    status: int
    started: float
    ended: float
    wanted: int
    sent: int
    number: int = 0
    first: int = 0
    cut: bool = False
    begin: bytes = b""

    @property
    def whole(self) -> bool:
        """Whether the guest got the file to its end."""
        return self.status in (200, 206) and self.sent == self.wanted


OnTransfer = Callable[[Transfer], None]


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(
        self, listener: socket.socket, files: Mapping[str, Served], on_transfer: OnTransfer
    ) -> None:
        self.files = files
        self.on_transfer = on_transfer
        self.numbers = itertools.count(1)
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a guest that is switched off leaves its connections as they are."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: _Server
    began = 0.0
    number = 0

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: transfers are noted instead."""

    def address_string(self) -> str:
        return "guest"

    def _answer(self, *, with_body: bool) -> None:
        self.began, self.number = time.monotonic(), next(self.server.numbers)
        path = unquote(self.path.partition("?")[0].removeprefix("/"))
        served = self.server.files.get(path)  # only what is in the table, no paths of the host
        if served and isinstance(served.source, str):
            self._relay(served.source, served.name, with_body=with_body)
            return
        try:
            if served is None:
                raise FileNotFoundError
            with Path(served.source).open("rb") as file:
                self._send(file, served.name, with_body=with_body)
        except FileNotFoundError:
            name = served.name if served else path
            self._note(name, 404, 0, 0)
            self.send_error(404)

    def _relay(self, url: str, name: str, *, with_body: bool) -> None:
        """Hand on what another server answers, whatever it is."""
        wanted = self.headers.get("Range", "")
        asked = _RANGE.fullmatch(wanted)
        answer = ask(url, wanted)
        if answer.body is None:
            self._note(name, answer.status, 0, 0)
            self.send_error(answer.status)
            return
        with answer.body as body:
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(answer.size))
            self.end_headers()
            if with_body:
                first = int(asked[1]) if asked and answer.status == 206 else 0
                self._copy(body, name, answer.status, answer.size, first)

    def _send(self, file: BinaryIO, name: str, *, with_body: bool) -> None:
        size = os.fstat(file.fileno()).st_size
        first, last, status = 0, size - 1, 200
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked:
            first, status = int(asked[1]), 206
            last = min(int(asked[2]) if asked[2] else last, last)
            if first > last:
                self._note(name, 416, 0, 0)
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        length = last - first + 1
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(length))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if not with_body:
            return
        file.seek(first)
        self._copy(file, name, status, length, first)

    def _copy(
        self, body: IO[bytes] | HTTPResponse, name: str, status: int, length: int, first: int
    ) -> None:
        sent, cut, begin = 0, False, b""
        while sent < length:
            try:
                data = body.read(min(_PIECE, length - sent))
            except (OSError, HTTPException):
                data = b""  # the server that has the file went away
            if not data:
                cut = True
                break
            try:
                self.wfile.write(data)
            except OSError:
                break  # the guest went away
            sent += len(data)
            begin = begin or data[:_KEPT_BYTES]
            self._note(name, status, length, sent, first, begin=begin)
        if sent < length:
            self.close_connection = True  # the guest must not wait on
            self._note(name, status, length, sent, first, cut=cut, begin=begin)

    def _note(
        self,
        name: str,
        status: int,
        wanted: int,
        sent: int,
        first: int = 0,
        *,
        cut: bool = False,
        begin: bytes = b"",
    ) -> None:
        self.server.on_transfer(
            Transfer(
                name=name,
                status=status,
                started=self.began,
                ended=time.monotonic(),
                wanted=wanted,
                sent=sent,
                number=self.number,
                first=first,
                cut=cut,
                begin=begin,
            )
        )


def _listener(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    opened.bind(str(path))
    opened.listen(_Server.request_queue_size)
    return opened


@contextmanager
def serve(
    where: Path | socket.socket, files: Mapping[str, Served], on_transfer: OnTransfer
) -> Iterator[None]:
    """Serve files for the length of a ``with``.

    Args:
        where: where a UNIX socket is made, a path of at most 107 bytes (unix(7)); or a socket
            that listens, which stays its owner's.
        files: what may be asked for, by path; nothing else is given out.
        on_transfer: called, from other threads, for each piece that was sent and each refusal.
    """
    listener = _listener(where) if isinstance(where, Path) else where.dup()
    server = _Server(listener, files, on_transfer)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=2)
