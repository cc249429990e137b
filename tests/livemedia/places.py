"""Stand-ins for podman, docker, mock and ssh that look at what they are told and really do it.

``docker`` and ``ssh`` have what runs for them run by a daemon, which is no descendant of theirs:
here a thread of the tests.  So what they leave, if they are killed, is really left.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve()
NEEDED = ("--privileged", "--volume=/dev:/dev", "--network=host", "--security-opt=label=disable")
_OUT, _ERR, _STATUS = 1, 2, 3
_HEAD = struct.Struct("!BI")


@contextmanager
def daemon(path: Path) -> Iterator[None]:
    """Run what is asked for on a socket, as long as whoever asks is there."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as asked:
        command = json.loads(asked.readline())
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        lock = threading.Lock()
        gone = threading.Event()

        def say(kind: int, data: bytes) -> None:
            with lock:
                try:
                    connection.sendall(_HEAD.pack(kind, len(data)) + data)
                except OSError:
                    pass  # nobody is there any more; what runs is told by the end of its input

        def relay(kind: int, file: int) -> None:
            while not gone.is_set():
                if select.select([file], [], [], 0.1)[0]:
                    data = os.read(file, 1 << 16)
                    if not data:
                        return
                    say(kind, data)

        def feed() -> None:
            assert process.stdin
            try:
                while data := asked.read1(1 << 16):  # type: ignore[attr-defined]
                    process.stdin.write(data)
                    process.stdin.flush()
            except OSError:
                pass
            try:
                process.stdin.close()
            except OSError:
                pass
            # As sshd does it lets go of all ends once nobody is there, so that what still has
            # something to say gets SIGPIPE.
            hangup = select.poll()
            try:
                hangup.register(connection, select.POLLHUP)
                while process.poll() is None:
                    if hangup.poll(100):
                        gone.set()
                        return
            except (OSError, ValueError):
                pass  # all is over, and the connection closed

        assert process.stdout
        assert process.stderr
        threading.Thread(target=feed, daemon=True).start()
        relays = [
            threading.Thread(target=relay, args=(kind, file.fileno()))
            for kind, file in ((_OUT, process.stdout), (_ERR, process.stderr))
        ]
        for each in relays:
            each.start()
        for each in relays:
            each.join()
        process.stdout.close()
        process.stderr.close()
        say(_STATUS, str(process.wait()).encode())
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # nobody is there


def ask(path: str, command: list[str]) -> int:
    """Have a daemon run something; return its exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps(command).encode() + b"\n")

        def feed() -> None:
            while data := os.read(0, 1 << 16):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        threading.Thread(target=feed, daemon=True).start()
        with connection.makefile("rb") as answers:
            while head := answers.read(_HEAD.size):
                kind, size = _HEAD.unpack(head)
                data = answers.read(size)
                if kind == _STATUS:
                    return int(data)
                os.write(kind, data)
    return 255


def contained(argv: list[str]) -> list[str]:
    """Return what ``podman run`` comes to: a mount namespace with its volumes."""
    flags = []
    while argv[0].startswith("-"):
        flags.append(argv.pop(0))
    image, *command = argv
    if image != "registry.example/lorax:9":
        sys.stderr.write(f"Error: {image}: no such image\n")
        sys.exit(125)
    is_asked = command[-1] in ("-V", "--help")
    lacking = [each for each in NEEDED if each not in flags and not is_asked]
    if lacking:
        sys.stderr.write(f"Error: no {lacking}\n")
        sys.exit(125)
    pairs = [each.removeprefix("--volume=").split(":") for each in flags if "--volume=" in each]
    return mounted([(outside, inside) for outside, inside in pairs], command)


def mounted(pairs: list[tuple[str, str]], command: list[str]) -> list[str]:
    """Return a command line that runs another in a mount namespace with bind mounts."""
    folder = shlex.quote(os.environ["PLACE_FOLDER"])
    held = []
    for outside, inside in pairs:
        if outside != inside:  # the tests' own folder must stay in sight
            o, i = shlex.quote(outside), shlex.quote(inside)
            held.append(f"mount --rbind {folder} /mnt && mount --bind {o} {i}")
            held.append(f"mkdir -p {folder} && mount --rbind /mnt {folder} && umount -l /mnt")
    script = " && ".join([*held, 'exec "$@"'])
    return [*("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"), *command]


def main(name: str, argv: list[str]) -> int:
    with Path(os.environ["PLACE_CALLS"]).open("a") as calls:
        calls.write(json.dumps([name, *argv]) + "\n")
    if name in ("podman", "docker"):
        # systemd would take our numbers of processes for its own.
        if name == "podman" and "run" in argv and argv.pop(0) != "--cgroup-manager=cgroupfs":
            return 125
        verb, *rest = argv
        if verb != "run":
            return 0
        command = contained(rest)
    elif name == "mock":
        dirs = re.search(r"bind_mount:dirs=(\[.*?\])$", "\n".join(argv), re.MULTILINE)
        pairs = eval(dirs[1]) if dirs else []
        command = mounted(pairs, ["sh", "-c", argv[-1]])
    else:
        at = argv.index("--")
        if argv[at + 1] != "builder.example":
            sys.stderr.write(f"ssh: {argv[at + 1]}: no such host\n")
            return 255
        command = ["sh", "-c", " ".join(argv[at + 2 :])]
    if name in ("docker", "ssh"):
        return ask(os.environ["PLACE_DAEMON"], command)
    return os.execvp(command[0], command)


def write(folder: Path, daemon_at: Path) -> None:
    """Write the programs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("podman", "docker", "mock", "ssh"):
        path = folder / name
        path.write_text(
            f"#!/bin/sh\nexport PLACE_CALLS={folder}/calls PLACE_DAEMON={daemon_at}\n"
            f"export PLACE_FOLDER={daemon_at.parent}\n"
            f'exec {sys.executable} -S -E {HERE} {name} "$@"\n'
        )
        path.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
