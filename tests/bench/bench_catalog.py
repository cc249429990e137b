"""How the catalog on S3 does, against boto3 by itself, in one run on a SeaweedFS of its own.

    python tests/bench/bench_catalog.py [--runs N] [--mib N] [--releases N] [--gib N]

Prints seconds, ratios, requests and bytes; it judges nothing.  Runs of the two that are compared
alternate, so that a machine that changes its speed changes both.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "unit")]

import seaweed  # noqa: E402
from catalog.conftest import image_at, passing  # noqa: E402

from imagebuilder.catalog import Catalog, IndexEntry, channels  # noqa: E402
from imagebuilder.catalog.model import Channel, Index, Move, dump  # noqa: E402
from imagebuilder.image import FACTS, Image, measure  # noqa: E402
from imagebuilder.progress import Cancel  # noqa: E402

BUCKET = "bench"
BLOCK = os.urandom(1 << 20)


@dataclass
class Requests:
    """The requests that a client made, and the bytes of what it sent."""

    made: list[str] = field(default_factory=list)
    sent: int = 0


def counted(catalog: Catalog) -> Requests:
    """Return what counts the requests of a catalog from now on."""
    found = Requests()

    def note(request: Any, **_: Any) -> None:
        found.made.append(f"{request.method} {request.url.partition('?')[0].rpartition('/')[2]}")
        found.sent += int(request.headers.get("Content-Length") or 0)

    catalog.store._client.meta.events.register("before-send.s3", note)  # type: ignore[attr-defined]
    return found


def image_of(folder: Path, write: Callable[[Path], None]) -> Image:
    """Make an image whose root file system is written by a function."""
    image = image_at(folder, size=1000)
    write(image.rootfs)
    facts = image.facts.model_copy(
        update={"artefacts": tuple(measure(image.path / a.name) for a in image.facts.artefacts)}
    )
    (image.path / FACTS).write_text(facts.model_dump_json())
    return Image.open(image.path)


def noise(path: Path, mib: int, seed: int) -> None:
    """Write a file that is not compressible, and another for each seed."""
    with path.open("wb") as file:
        for n in range(mib):
            file.write(f"{seed} {n}".encode().ljust(64) + BLOCK[64:])


def throughput(
    catalog: Callable[[], Catalog], client: Any, work: Path, mib: int, runs: int
) -> None:
    """Publish an image, and upload its files with boto3 alone, in turn."""
    ours: list[float] = []
    theirs: list[float] = []
    for n in range(runs):
        image = image_of(work / f"image-{n}", lambda path, n=n: noise(path, mib, n))
        names = [each.name for each in image.facts.artefacts]

        def publish(image: Image = image) -> None:
            catalog().publish(image, channel="testing", evidence=passing(image))

        def upload(image: Image = image, n: int = n, names: list[str] = names) -> None:
            for name in names:
                client.upload_file(str(image.path / name), BUCKET, f"plain/{n}/{name}")

        turns = [(publish, ours), (upload, theirs)]
        for act, times in turns if n % 2 else reversed(turns):
            os.sync()  # what one wrote is not written back at the cost of the other
            began = time.monotonic()
            act()
            times.append(time.monotonic() - began)
        shutil.rmtree(work / f"image-{n}")
    mine, boto = statistics.median(ours), statistics.median(theirs)
    print(
        f"publish      {mib / mine:7.1f} MiB/s, boto3's upload_file {mib / boto:.1f} MiB/s: "
        f"ratio {boto / mine:.2f}   (of {mib} MiB, {runs} runs)"
    )


def again(catalog: Callable[[], Catalog], image: Image, runs: int) -> None:
    """Publish an image that is published."""
    catalog().publish(image, channel="testing", evidence=passing(image))
    times: list[float] = []
    for _ in range(runs):
        began = time.monotonic()
        fresh = catalog()
        requests = counted(fresh)
        fresh.publish(image, channel="testing", evidence=passing(image))
        times.append(time.monotonic() - began)
    print(
        f"again        {statistics.median(times):7.3f} s   {len(requests.made)} requests, "
        f"{requests.sent} bytes sent"
    )


def listing(catalog: Callable[[], Catalog], image: Image, env: dict[str, str], many: int) -> None:
    """List many releases, of one recipe and of many."""
    one = catalog()
    one.publish(image, channel="testing", evidence=passing(image))
    entry = one.releases()[0]
    began = datetime(2020, 1, 1, tzinfo=UTC)
    for recipes in (1, 100):
        entries = [
            entry.model_copy(
                update={
                    "name": f"recipe-{n % recipes}",
                    "version": f"{began + timedelta(minutes=n):%Y%m%dT%H%M%SZ}-{entry.image}",
                }
            )
            for n in range(many - 1)
        ]
        ordered = sorted([entry, *entries], key=lambda each: (each.name, each.version))
        one.store.put("index.json", dump(Index(releases=tuple(ordered))))
        for each in {each.name: each for each in entries}.values():
            channels.move(one.store, each.name, "testing", partial(first_move, each), Cancel())
        began_at = time.monotonic()
        fresh = catalog()
        requests = counted(fresh)
        found = list_all(fresh)
        seconds = time.monotonic() - began_at
        argv = [sys.executable, "-m", "imagebuilder.cli", "catalog", "ls", "--catalog", one.url]
        began_at = time.monotonic()
        said = subprocess.run(argv, env=env, check=True, capture_output=True).stdout
        whole = time.monotonic() - began_at
        print(
            f"ls           {seconds:7.3f} s   {len(found)} releases of {recipes + 1} recipes: "
            f"{len(requests.made)} requests; the whole command {whole:.3f} s, "
            f"{len(said.splitlines())} lines"
        )


def first_move(entry: IndexEntry, _pointer: Channel | None) -> Move:
    """Let a channel name a release for the first time."""
    return Move(
        generation=1,
        release=entry.version,
        manifest=entry.manifest,
        action="publish",
        time=entry.created,
        by="bench",
    )


def list_all(catalog: Catalog) -> tuple[IndexEntry, ...]:
    """Do what ``catalog ls`` does."""
    found = catalog.releases()
    catalog.named()
    return found


def memory(catalog: Callable[[], Catalog], work: Path, gib: int) -> None:
    """Publish a large image; tell how much memory that takes above the start."""

    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(gib << 30)

    image = image_of(work / "large", sparse)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        fresh = catalog()
        assert fresh.store.public_url  # the client is made
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        fresh.publish(image, channel="large", evidence=passing(image))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(write, json.dumps([grown >> 10, time.monotonic() - began]).encode())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    grown, seconds = json.loads(os.read(read, 1000))
    print(
        f"memory       {grown:7} MiB above the start, for an image of {gib} GiB ({seconds:.0f} s)"
    )


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, Any]]:
    """Run a server with an empty bucket; give its endpoint and a client of boto3's own."""
    with seaweed.running(folder) as found:
        os.environ["AWS_ENDPOINT_URL"] = found.endpoint
        os.environ["AWS_ACCESS_KEY_ID"] = seaweed.ACCESS_KEY
        os.environ["AWS_SECRET_ACCESS_KEY"] = seaweed.SECRET_KEY
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        client = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
        client.create_bucket(Bucket=BUCKET)
        yield found.endpoint, client


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mib", type=int, default=512, help="of the image whose sending is timed")
    parser.add_argument("--releases", type=int, default=10_000)
    parser.add_argument("--gib", type=int, default=10, help="of the image for memory; 0: none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagebuilder-bench-") as name:
        work = Path(name)
        with server(work / "weed") as (_, client):
            prefixes = iter(range(1000))

            def at(prefix: str) -> Callable[[], Catalog]:
                return lambda: Catalog.open(f"s3://{BUCKET}/{prefix}")

            small = image_at(work / "small", size=100_000)
            throughput(
                lambda: Catalog.open(f"s3://{BUCKET}/sent-{next(prefixes)}"),
                client,
                work,
                args.mib,
                args.runs,
            )
            again(at("again"), small, args.runs)
            listing(at("listing"), small, dict(os.environ), args.releases)
        if args.gib:
            shutil.rmtree(work / "weed")
            with server(work / "weed") as _:
                memory(at("memory"), work, args.gib)


if __name__ == "__main__":
    main()
