"""What the tests on S3 share: a real server, a bucket, and a proxy that fails."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
import seaweed
from botocore.config import Config
from botocore.retries import standard
from fault_proxy import FaultProxy

from imagebuilder.catalog import Catalog
from imagebuilder.stores import s3, s3_upload
from imagebuilder.stores.s3 import S3Store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[seaweed.Server]:
    with seaweed.running(tmp_path_factory.mktemp("weed")) as found:
        yield found


@pytest.fixture(autouse=True)
def settings(server: seaweed.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET_KEY)


@pytest.fixture(scope="module")
def client(server: seaweed.Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=seaweed.ACCESS_KEY,
        aws_secret_access_key=seaweed.SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture(scope="module", autouse=True)
def one_loader() -> Iterator[None]:
    """boto3 reads its description of S3 once, not for each client: 0.1 s of each test."""
    loader = botocore.loaders.create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda *_args: loader)
        yield


def make_bucket(client: Any) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def shared(client: Any) -> str:
    """One bucket for all: the server takes long to make room for the first object of each."""
    return make_bucket(client)


@pytest.fixture
def bucket(client: Any) -> str:
    """A bucket of the test's own."""
    return make_bucket(client)


@pytest.fixture
def url(shared: str) -> str:
    """A catalog's URL that no other test uses."""
    return f"s3://{shared}/{uuid.uuid4().hex[:12]}/some/catalog"


@pytest.fixture
def catalog(url: str) -> Catalog:
    return Catalog.open(url)


@pytest.fixture
def store(catalog: Catalog) -> S3Store:
    assert isinstance(catalog.store, S3Store)
    return catalog.store


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are tried again at once: how long the pauses are is not what is tested."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda self, context: 0)
    monkeypatch.setattr(s3, "_FIRST_PAUSE", 0.0)


@pytest.fixture
def proxy(server: seaweed.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    found = FaultProxy(server.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
    yield found
    found.close()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(s3_upload, "PART_SIZE", 5 << 20)
    return 5 << 20
