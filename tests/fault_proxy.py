"""A proxy before an HTTP server that answers wrongly, late or not at all, as it is told."""

import http.client
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal["", "500", "503", "403", "cut-before", "cut-after", "truncate", "corrupt", "hang"]
Plan = Callable[[int, str, str], Fault]
"""Gets a request's number (from 1), method and path; returns what is to go wrong."""


class FaultProxy:
    def __init__(self, endpoint: str) -> None:
        self.plan: Plan = lambda _n, _method, _path: ""
        self.seen: list[tuple[str, str]] = []
        self.sent = 0  # bytes of bodies from the client
        self._lock = threading.Lock()
        upstream = urlsplit(endpoint).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            upstream: http.client.HTTPConnection  # one for each connection of a client

            def setup(self) -> None:
                super().setup()
                self.upstream = http.client.HTTPConnection(upstream, timeout=30)

            def finish(self) -> None:
                self.upstream.close()
                super().finish()

            disable_nagle_algorithm = True  # a body is not to wait until its header is confirmed

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do(self) -> None:
                proxy._serve(self, self.upstream)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self, plan: Plan = lambda _n, _method, _path: "") -> None:
        with self._lock:
            self.plan, self.seen, self.sent = plan, [], 0

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(
        self, client: BaseHTTPRequestHandler, connection: http.client.HTTPConnection
    ) -> None:
        method, path = client.command, client.path
        with self._lock:
            self.seen.append((method, path))
            fault = self.plan(len(self.seen), method, path)
        if client.headers.get("Expect", "").lower() == "100-continue":
            pass  # http.server has answered it
        body = client.rfile.read(int(client.headers.get("Content-Length") or 0))
        with self._lock:
            self.sent += len(body)
        if fault == "cut-before":
            _cut(client)
            return
        if fault == "hang":
            client.rfile.read(1)  # until the client has had enough
            client.close_connection = True
            return
        if fault in ("500", "503", "403"):
            code = {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied"}[fault]
            data = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
            client.send_response(int(fault))
            client.send_header("Content-Type", "application/xml")
            client.send_header("Content-Length", str(len(data)))
            client.end_headers()
            if method != "HEAD":
                client.wfile.write(data)
            return
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in client.headers.items():
            if name.lower() not in ("expect", "connection"):
                connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        data = answer.read()
        if fault == "cut-after":
            _cut(client)
            return
        client.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                client.send_header(name, value)
        length = answer.getheader("Content-Length") if method == "HEAD" else str(len(data))
        client.send_header("Content-Length", length or "0")
        client.end_headers()
        if fault == "truncate" and data:
            client.wfile.write(data[: len(data) // 2])
            _cut(client)
            return
        if fault == "corrupt" and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        client.wfile.write(data)


def _cut(client: BaseHTTPRequestHandler) -> None:
    client.close_connection = True
    client.wfile.flush()
    client.connection.shutdown(socket.SHUT_RDWR)
