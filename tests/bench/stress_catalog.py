"""Many publishers of one channel at once, and publishers that are killed while readers look on.

    python tests/bench/stress_catalog.py [--store folder|s3] [--publishers N] [--kills N]

Each publisher is a process of its own with an image of its own.  Afterwards all releases must be
there, and the channel's history must have each of them once, in order.  Then publishers are
killed at random moments while readers check, with nothing of the code under test, that what the
channel names is whole.  Prints times and conflicts; ends with status 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "unit")]

import seaweed  # noqa: E402
from catalog.conftest import image_at, passing  # noqa: E402

from imagebuilder.catalog import Catalog  # noqa: E402
from imagebuilder.image import Image  # noqa: E402
from imagebuilder.stores import Conflict  # noqa: E402

BUCKET = "stress"
OPTIONS = ""  # of the catalog's URL
Get = Callable[[str], bytes | None]


def reader_of_folder(root: Path) -> Get:
    """Return what reads an object of a catalog in a folder."""

    def get(key: str) -> bytes | None:
        try:
            return (root / key).read_bytes()
        except FileNotFoundError:
            return None

    return get


def reader_of_bucket(endpoint: str) -> Get:
    """Return what reads an object of a catalog in the bucket."""
    client = s3_client(endpoint)

    def get(key: str) -> bytes | None:
        try:
            data: bytes = client.get_object(Bucket=BUCKET, Key=f"catalog/{key}")["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return data

    return get


def s3_client(endpoint: str) -> Any:
    """Return a client of boto3's own."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 10})
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=seaweed.ACCESS_KEY,
        aws_secret_access_key=seaweed.SECRET_KEY,
        config=config,
    )


def look(get: Get, seen: dict[str, Any]) -> list[str]:
    """Read a channel as a machine and as a tool do; return the promises that are broken.

    ``seen`` has what earlier looks found: generations never go back, releases never change.
    """
    wrong: list[str] = []

    def blob(digest: str, who: str) -> None:
        if digest not in seen["blobs"]:
            data = get(f"blobs/sha256/{digest[:2]}/{digest}")
            if data is None or hashlib.sha256(data).hexdigest() != digest:
                wrong.append(f"{who}: blob {digest[:8]} is {'missing' if data is None else 'bad'}")
            else:
                seen["blobs"].add(digest)

    raw = get("channels/base/testing.json")
    if raw is None:
        return ["the pointer is gone"] if seen["generation"] else []
    pointer = json.loads(raw)
    if pointer["generation"] < seen["generation"]:
        wrong.append(f"generation {pointer['generation']} after {seen['generation']}")
    seen["generation"] = max(seen["generation"], pointer["generation"])
    wrong += [
        f"move {each['generation']} was another before"
        for each in pointer["history"]
        if seen["moves"].setdefault(each["generation"], each) != each
    ]
    manifest = get(f"releases/base/{pointer['release']}.json")
    if manifest is None or hashlib.sha256(manifest).hexdigest() != pointer["manifest"]:
        wrong.append(f"manifest of {pointer['release']} is missing or another")
    else:
        for each in json.loads(manifest)["artefacts"]:
            blob(each["sha256"], "manifest")
    index = {each["version"] for each in json.loads(get("index.json") or b"{}")["releases"]}
    if not index >= seen["index"] or pointer["release"] not in index:
        wrong.append("the index lost a release")
    seen["index"] |= index
    script = (get("boot/base/testing.ipxe") or b"").decode()
    digests = set(re.findall(r"blobs/sha256/../([0-9a-f]{64})", script))
    if script and len(digests) != 3:
        wrong.append(f"the script names {len(digests)} blobs")
    for digest in digests:
        blob(digest, "script")
    return wrong


def child(work: Callable[[], object]) -> int:
    """Run something in a fork; return its process id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:
            print(f"  {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(status)
    return pid


@contextmanager
def readers(make: Callable[[], Get], count: int, folder: Path) -> Iterator[None]:
    """Let processes read the channel all the time; what they found wrong goes to a file each."""
    pids = []
    for n in range(count):

        def watch(n: int = n) -> None:
            stopped: list[int] = []
            signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
            get, looks, wrong = make(), 0, []
            seen = {"generation": 0, "moves": {}, "index": set(), "blobs": set()}
            while not stopped:
                wrong += look(get, seen)
                looks += 1
                time.sleep(0.02)
            note = {"looks": looks, "wrong": wrong, "generation": seen["generation"]}
            (folder / f"reader-{n}.json").write_text(json.dumps(note))

        pids.append(child(watch))
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for pid in pids:
            os.waitpid(pid, 0)


def said_by_readers(folder: Path) -> list[str]:
    """Print how often readers looked; return what they found wrong."""
    notes = [json.loads(each.read_text()) for each in folder.glob("reader-*.json")]
    print(f"  readers looked {sum(each['looks'] for each in notes)} times")
    return [line for each in notes for line in each["wrong"]]


def publish_counting(catalog: Catalog, image: Image) -> dict[str, float]:
    """Publish an image; return the seconds, and how often somebody else was faster."""
    conflicts = 0
    put = type(catalog.store).put

    def counting(*args: Any, **values: Any) -> None:
        nonlocal conflicts
        try:
            put(*args, **values)
        except Conflict:
            conflicts += 1
            raise

    type(catalog.store).put = counting  # type: ignore[method-assign] # of this process alone
    began = time.monotonic()
    catalog.publish(image, channel="testing", evidence=passing(image))
    return {"seconds": time.monotonic() - began, "conflicts": conflicts}


def many(catalog: Catalog, images: list[Image], folder: Path, make: Callable[[], Get]) -> list[str]:
    """Publish all images at once; return the promises that are broken."""
    before = len(catalog.history("base", "testing")) if is_there(catalog) else 0
    pids: dict[int, Image] = {}
    childs = fresh(catalog)
    with readers(make, 2, folder):
        go, ready = os.pipe()
        for image in images:

            def publish(image: Image = image) -> None:
                os.close(ready)
                os.read(go, 1)  # until the parent lets go of the other end
                note = publish_counting(childs, image)
                (folder / f"publisher-{image.id}.json").write_text(json.dumps(note))

            pids[child(publish)] = image
        began = time.monotonic()
        os.close(ready)
        failed = [each.id for pid, each in pids.items() if os.waitpid(pid, 0)[1]]
        seconds = time.monotonic() - began
        os.close(go)
    notes = [json.loads(each.read_text()) for each in folder.glob("publisher-*.json")]
    times = sorted(each["seconds"] for each in notes)
    conflicts = [each["conflicts"] for each in notes]
    print(
        f"{len(images)} publishers at once: {seconds:.1f} s, the median "
        f"{statistics.median(times):.1f} s, the last {times[-1]:.1f} s; {sum(conflicts)} "
        f"conflicts, at most {max(conflicts)} of one"
    )
    wrong = [f"publisher of {each} failed" for each in failed] + said_by_readers(folder)
    wrong += [each.what for each in catalog.verify().findings]
    releases = catalog.releases("base")
    if not {each.image for each in releases} >= {each.id for each in images}:
        wrong.append("a release is lost")
    history = catalog.history("base", "testing")
    if [each.generation for each in history] != list(range(1, before + len(images) + 1)):
        wrong.append(f"the history has {len(history)} moves")
    if {each.release[-16:] for each in history[before:]} != {each.id for each in images}:
        wrong.append("a move is lost")
    if [each.time for each in history] != sorted(each.time for each in history):
        wrong.append("the history is not in the order of time")
    if history[-1].release not in (make()("boot/base/testing.ipxe") or b"").decode():
        wrong.append("the script boots another release")
    return wrong


def killed(
    catalog: Catalog, count: int, folder: Path, make: Callable[[], Get], seed: int
) -> list[str]:
    """Kill a publisher at random moments; return the promises that are broken."""
    source = random.Random(seed)
    image = image_at(folder / "build", seed=10_000, size=300_000)
    before = len(catalog.history("base", "testing")) if is_there(catalog) else 0
    began = time.monotonic()
    catalog.publish(image, channel="testing", evidence=passing(image))
    longest = time.monotonic() - began
    died, childs = 0, fresh(catalog)
    with readers(make, 2, folder):
        for n in range(count):
            image = image_at(folder / "build", seed=10_001 + n, size=300_000)

            def publish(image: Image = image) -> None:
                childs.publish(image, channel="testing", evidence=passing(image))

            pid = child(publish)
            time.sleep(source.uniform(0, longest))
            os.kill(pid, signal.SIGKILL)
            ended = not os.WIFSIGNALED(os.waitpid(pid, 0)[1])
            died += not ended
            # So that some are killed at their very end, however busy the machine is.
            longest *= 0.8 if ended else 1.05
        catalog.publish(image, channel="testing", evidence=passing(image))
    moves = len(catalog.history("base", "testing")) - before
    print(f"{died} of {count} publishers killed before their end; {moves} moved the channel")
    wrong = said_by_readers(folder)
    found = catalog.verify().findings
    wrong += [f"{each.where}: {each.what}" for each in found if each.kind == "broken"]
    print(f"  they left {len(found)} things that are harmless")
    return wrong


def fresh(catalog: Catalog) -> Catalog:
    """Return the catalog as one that children can use: none of its connections is open."""
    found = Catalog.open(catalog.url + OPTIONS)
    assert found.store.public_url is not None  # an S3 client takes long to make: not in each child
    return found


def is_there(catalog: Catalog) -> bool:
    """Whether there is a catalog with the channel."""
    return catalog.store.stat("channels/base/testing.json") is not None


def main() -> int:
    """Run and print."""
    global OPTIONS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=("folder", "s3"), default="s3")
    parser.add_argument("--publishers", type=int, nargs="*", default=[64, 200])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    print(f"store {args.store}, seed {args.seed}")
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="imagebuilder-stress-") as name:
        folder = Path(name)

        def run(catalog: Catalog, make: Callable[[], Get]) -> None:
            made = 0
            for count in args.publishers:
                notes = folder / f"{count}-publishers"
                notes.mkdir()
                numbers = range(made, made + count)
                images = [image_at(notes / "build", seed=each) for each in numbers]
                wrong.extend(many(catalog, images, notes, make))
                made += count
            if args.kills:
                (folder / "kills").mkdir()
                wrong.extend(killed(catalog, args.kills, folder / "kills", make, args.seed))

        if args.store == "folder":
            root = folder / "catalog"
            run(Catalog.open(str(root)), lambda: reader_of_folder(root))
        else:
            with seaweed.running(folder / "weed") as server:
                os.environ["AWS_ACCESS_KEY_ID"] = seaweed.ACCESS_KEY
                os.environ["AWS_SECRET_ACCESS_KEY"] = seaweed.SECRET_KEY
                s3_client(server.endpoint).create_bucket(Bucket=BUCKET)
                OPTIONS = f"?endpoint={server.endpoint}"
                run(
                    Catalog.open(f"s3://{BUCKET}/catalog{OPTIONS}"),
                    lambda: reader_of_bucket(server.endpoint),
                )
    for line in dict.fromkeys(wrong):
        print(f"BROKEN: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
