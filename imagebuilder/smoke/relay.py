"""Joins its standard input and output to a UNIX socket; QEMU runs one for each connection.

A guest has no way out of its user network but this one.  It runs as a file of its own, without
the rest of the package, so that it starts within milliseconds.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_PIECE = 1 << 16


def main(path: str) -> None:
    """Move bytes both ways until the server has said all."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)

    def ask() -> None:
        while data := os.read(0, _PIECE):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)

    threading.Thread(target=ask, daemon=True).start()
    while data := server.recv(_PIECE):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except OSError:
        sys.exit(1)  # one end is gone: the guest was switched off
