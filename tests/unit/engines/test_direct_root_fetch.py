"""What the initrd does before it mounts a root: dracut's part is played, curl and HTTP are real."""

import hashlib
import re
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imagebuilder.engines.direct import initrd
from imagebuilder.smoke.badness import match

FETCH = Path(initrd.__file__).with_name("dracut") / "fetch.sh"
ROOT = bytes(range(256)) * 4000  # a megabyte
SHA256 = hashlib.sha256(ROOT).hexdigest()
URL = "/rootfs.squashfs?signature=secret"

LIBRARY = """
systemctl() { echo "systemctl $*" > "$TOLD"; }
die() { echo "die: $*" > "$TOLD"; exit 1; }
getarg() { sed -n "s/^$1//p" "$ARGS" | tail -n 1; }
curl_args="--globoff --location --fail --show-error"
"""
MOUNT = """#!/bin/sh
cat "$1" > "$MOUNTED"
"""

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append(self.headers.get("Range", ""))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    @property
    def first(self) -> int:
        """The first byte that was asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking for the host's name
        self.server_name, self.server_port = "localhost", self.server_address[1]


def whole(data: bytes = ROOT, *, upto: int | None = None, ranges: bool = True) -> Answer:
    """Answer with the file; with ``upto`` the connection is cut after so many bytes."""

    def answer(to: Handler) -> None:
        first = to.first if ranges else 0
        to.send_response(206 if first else 200)
        if first:
            to.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        to.send_header("Content-Length", str(len(data) - first))
        to.end_headers()
        to.wfile.write(data[first : None if upto is None else first + upto])

    return answer


def status(code: int) -> Answer:
    return lambda to: to.send_error(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    status: int
    mounted: bytes | None
    console: str
    died: str
    asked: list[str]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def fetch(tmp_path: Path, server: Server) -> Callable[..., Outcome]:
    def run(
        *answers: Answer, args: tuple[str, ...] | None = None, retries: int = 30, url: str = ""
    ) -> Outcome:
        script = FETCH.read_text()
        mount, library = tmp_path / "mount", tmp_path / "library"
        mount.write_text(MOUNT)
        mount.chmod(0o755)
        library.write_text(LIBRARY)
        for old, new in {
            "/lib/dracut-lib.sh": library,
            "/lib/url-lib.sh": library,
            "/tmp/imagebuilder-rootfs": tmp_path / "place",
            "/dev/kmsg": tmp_path / "kmsg",
            "/sbin/dmsquash-live-root": mount,
            '> "$KMSG"': '>> "$KMSG"',
        }.items():
            assert old in script
            script = script.replace(old, str(new))
        (tmp_path / "args").write_text(
            "\n".join(
                (f"imagebuilder.rootfs.sha256={SHA256}", f"imagebuilder.rootfs.size={len(ROOT)}")
                if args is None
                else args
            )
            + "\n"
        )
        server.answers[:] = answers
        url = url or f"http://127.0.0.1:{server.server_port}{URL}"
        done = subprocess.run(
            ["sh", "-c", script, "imagebuilderroot", "eth0", f"imagebuilder:{url}", "/sysroot"],
            env={
                "RETRIES": str(retries),
                "SLEEP": "0",
                "ARGS": str(tmp_path / "args"),
                "TOLD": str(tmp_path / "told"),
                "MOUNTED": str(tmp_path / "mounted"),
            },
            timeout=60,
            check=False,
            stdout=subprocess.DEVNULL,
        )

        def read(name: str) -> bytes:
            return (tmp_path / name).read_bytes() if (tmp_path / name).exists() else b""

        return Outcome(
            status=done.returncode,
            mounted=read("mounted") if (tmp_path / "mounted").exists() else None,
            console=read("kmsg").decode(),
            died=read("told").decode(),
            asked=list(server.asked),
        )

    return run


def test_the_root_that_was_named_is_mounted(fetch: Callable[..., Outcome]) -> None:
    outcome = fetch(whole())
    assert (outcome.status, outcome.mounted, outcome.died) == (0, ROOT, "")
    assert f"is whole: SHA-256 {SHA256}" in outcome.console
    assert "secret" not in outcome.console
    assert not any(match(line) for line in outcome.console.splitlines())


OTHER = bytes([ROOT[0] ^ 1]) + ROOT[1:]


@pytest.mark.parametrize(
    ("answer", "what", "requests"),
    [
        (status(404), "is not there: the server answers 404 to http://", 1),
        (status(403), "is refused: the server answers 403 to http://", 1),
        (whole(ROOT[:1000]), f"is cut short: the server has 1000 of {len(ROOT)} bytes", 1),
        (whole(b""), f"is cut short: the server has 0 of {len(ROOT)} bytes", 1),
        (whole(OTHER), f"is another one: SHA-256 {hashlib.sha256(OTHER).hexdigest()}, not", 1),
        (whole(ROOT + b"x"), "is longer than it should be", 1),
        (status(500), "cannot be fetched from http://", 3),
    ],
)
def test_any_other_is_not_mounted_and_it_is_said_why(
    fetch: Callable[..., Outcome], answer: Answer, what: str, requests: int
) -> None:
    outcome = fetch(answer, retries=3)
    assert outcome.status == 1
    assert outcome.mounted is None
    assert what in outcome.died
    assert len(outcome.asked) == requests
    # On the console the last word is the reason, loud enough for "quiet", and a test knows it.
    last = outcome.console.splitlines()[-1]
    assert last.startswith("<26>")
    assert what in last
    assert "secret" not in outcome.console
    found = match(last)
    assert found
    assert found[0].severity == "fatal"
    assert what in found[1]


def test_what_was_cut_goes_on_where_it_was_cut(fetch: Callable[..., Outcome]) -> None:
    outcome = fetch(whole(upto=300_000), status(503), whole(upto=300_000), whole())
    assert outcome.mounted == ROOT
    assert outcome.asked == ["", "bytes=300000-", "bytes=300000-", "bytes=600000-"]


def test_a_server_that_cannot_go_on_in_the_middle(fetch: Callable[..., Outcome]) -> None:
    outcome = fetch(whole(upto=300_000), whole(ranges=False))
    assert outcome.mounted == ROOT
    assert outcome.asked == ["", "bytes=300000-", ""]


def test_a_transfer_that_is_cut_at_the_same_place_for_ever(fetch: Callable[..., Outcome]) -> None:
    outcome = fetch(whole(upto=300_000), whole(upto=0))
    assert outcome.mounted is None
    assert f"is cut short: 300000 of {len(ROOT)} bytes came from http://" in outcome.died
    assert len(outcome.asked) == 11


def test_a_server_that_is_down_for_a_while_in_the_middle(fetch: Callable[..., Outcome]) -> None:
    outcome = fetch(whole(upto=300_000), *[status(503)] * 12, whole())
    assert outcome.mounted == ROOT


def test_a_server_that_is_not_there_is_asked_again(fetch: Callable[..., Outcome]) -> None:
    outcome = fetch(whole(), url="http://127.0.0.1:1/rootfs", retries=3)
    assert outcome.mounted is None
    assert "cannot be fetched from http://127.0.0.1:1/rootfs: curl: (7)" in outcome.died
    assert outcome.console.count("attempt") == 2


def test_without_a_size_the_digest_still_counts(fetch: Callable[..., Outcome]) -> None:
    outcome = fetch(whole(ROOT[:-1]), args=(f"imagebuilder.rootfs.sha256={SHA256}",))
    assert outcome.mounted is None
    assert "is another one" in outcome.died


@pytest.mark.parametrize("digest", ["abc", "", SHA256.upper(), SHA256 + "0", "*"])
def test_a_digest_that_is_none_lets_nothing_through(
    fetch: Callable[..., Outcome], digest: str
) -> None:
    outcome = fetch(whole(), args=(f"imagebuilder.rootfs.sha256={digest}",))
    assert outcome.mounted is None
    assert "has no SHA-256" in outcome.died
    assert not outcome.asked


def test_the_second_card_does_not_fetch_it_again(
    fetch: Callable[..., Outcome], tmp_path: Path
) -> None:
    assert fetch(whole()).mounted == ROOT
    (tmp_path / "mounted").unlink()
    outcome = fetch(whole())
    assert (outcome.status, outcome.mounted, len(outcome.asked)) == (0, None, 1)


@pytest.mark.parametrize(
    ("asked", "done"),
    [("reboot", "systemctl --no-block --force reboot"), ("dance", "die: the root file system is")],
)
def test_the_machine_does_what_the_command_line_says_of_emergencies(
    fetch: Callable[..., Outcome], asked: str, done: str
) -> None:
    args = (f"imagebuilder.rootfs.sha256={SHA256}", f"rd.emergency={asked}")
    outcome = fetch(status(404), args=args)
    assert outcome.died.startswith(done)
    assert outcome.mounted is None


def test_the_hook_takes_over_only_what_is_fetched() -> None:
    hook = FETCH.with_name("take-over.sh").read_text()

    def after(netroot: str, digest: str, root: str = "livenet") -> str:
        script = f'getarg() {{ echo "{digest}"; }}; die() {{ echo died; exit; }}\n'
        script += f'netroot="{netroot}"\nroot="{root}"\n{hook}\necho "$netroot"\n'
        return subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert after("livenet:http://x/y", SHA256) == "imagebuilder:http://x/y"
    assert after("livenet:http://x/y", "") == "livenet:http://x/y"
    assert after("nfs:x:/y", SHA256) == "died"
    assert after("nfs:x:/y", "") == "nfs:x:/y"
    # Nothing else is mounted, whoever adds another root= to the command line.
    assert after("", SHA256, root="block:/dev/sda1") == "died"
    assert after("", SHA256, root="live:/dev/sr0") == "died"
    assert after("", SHA256, root="live:http://x/y") == ""  # dracut itself cannot handle it
