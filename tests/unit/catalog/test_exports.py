"""Exports: shapes, what they name is there, and they follow the channels."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from imagebuilder.catalog import Catalog, Release, Retention
from imagebuilder.catalog.exports import writing
from imagebuilder.cli import export_verbs
from imagebuilder.errors import CatalogError, InputError, Interrupted
from imagebuilder.image import EROFS
from imagebuilder.policies import ExportFormat, Exports
from imagebuilder.progress import Cancel, Event
from imagebuilder.stores import FileStore

from . import export_schemas as schemas
from .conftest import MakeImage, image_at, passing

BASE = "http://images.example/pxe/"
EXPORTS = Exports(formats=("fcos", "simplestreams", "matchbox", "oci"), url=BASE)
KNOWN = {
    "exports/fcos/*/streams/*.json": schemas.FCOS_STREAM,
    "exports/fcos/*/updates/*.json": schemas.FCOS_UPDATES,
    "exports/matchbox/profiles/*.json": schemas.MATCHBOX_PROFILE,
    "exports/matchbox/groups/*.json": schemas.MATCHBOX_GROUP,
    "exports/oci/*/index.json": schemas.OCI_INDEX,
    "streams/v1/index.json": schemas.STREAMS_INDEX,
    "streams/v1/*/*.json": schemas.PRODUCTS,
}
VALIDATORS = {key: jsonschema.Draft202012Validator(schema) for key, schema in KNOWN.items()}
OCI_MANIFEST = jsonschema.Draft202012Validator(schemas.OCI_MANIFEST)


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def words(value: Any) -> Iterator[tuple[str, str]]:
    """Go through all texts, with the keys that they stand under."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from ((key, each),) if isinstance(each, str) else words(each)
    elif isinstance(value, list):
        for each in value:
            yield from (("", each),) if isinstance(each, str) else words(each)


def check(root: Path, blobs: Path | None = None) -> int:
    """Look at all exports below a folder as their readers do; return how many there are.

    All must have their shape, and what they name must be there, with the digest that they give.
    """
    count = 0
    for pattern in KNOWN:
        for path in root.glob(pattern):
            count += 1
            content = read(path)
            VALIDATORS[pattern].validate(content)
            for key, text in words(content):
                if BASE in text:
                    place = text[text.index(BASE) :].removeprefix(BASE)
                    check_blob((blobs or root) / place)
                elif key == "path" and text.startswith("streams/"):
                    assert (root / text).is_file()
                elif key == "path":
                    check_blob((blobs or root) / text)
                elif key == "profile":
                    assert (root / f"exports/matchbox/profiles/{text}.json").is_file()
    for index in root.glob("exports/oci/*/index.json"):
        assert read(index.parent / "oci-layout") == {"imageLayoutVersion": "1.0.0"}
        for each in read(index)["manifests"]:
            data = check_blob(index.parent / "blobs/sha256" / each["digest"][7:])
            assert len(data) == each["size"]
            manifest = json.loads(data)
            OCI_MANIFEST.validate(manifest)
            for layer in [manifest["config"], *manifest["layers"]]:
                path = index.parent / "blobs/sha256" / layer["digest"][7:]
                if layer.get("urls"):
                    path = root / layer["urls"][0].removeprefix(BASE)
                assert len(check_blob(path)) == layer["size"]
    return count


def check_blob(path: Path) -> bytes:
    data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == path.name
    return data


@pytest.fixture
def catalog(root: Path) -> Catalog:
    return Catalog.open(root.as_uri(), exports=EXPORTS)


@pytest.fixture
def three(catalog: Catalog, make_image: MakeImage) -> list[Release]:
    plain = Catalog(store=catalog.store)
    images = [make_image(seed=n) for n in range(3)]
    found = [plain.publish(each, channel="testing", evidence=passing(each)) for each in images]
    catalog.promote("base", "testing", to="stable")
    return found


def test_what_is_exported(catalog: Catalog, root: Path, three: list[Release]) -> None:
    release = three[-1]
    assert check(root) == 2 * 5 + 2
    digests = {each.role: each.sha256 for each in release.artefacts}

    def url(role: str) -> str:
        digest = digests[role]  # type: ignore[index]
        return f"{BASE}blobs/sha256/{digest[:2]}/{digest}"

    stream = read(root / "exports/fcos/base/streams/testing.json")
    metal = stream["architectures"]["x86_64"]["artifacts"]["metal"]
    assert metal["release"] == release.version
    assert metal["formats"]["pxe"]["initramfs"] == {
        "location": url("initrd"),
        "sha256": digests["initrd"],
    }
    profile = read(root / "exports/matchbox/profiles/base+stable.json")
    assert profile["boot"]["kernel"] == url("kernel")
    assert profile["boot"]["initrd"] == [f"--name initrd.img {url('initrd')}"]
    assert profile["boot"]["args"][0] == "initrd=initrd.img"
    assert f"root=live:{url('rootfs')}" in profile["boot"]["args"]
    assert f"imagebuilder.rootfs.sha256={url('rootfs')[-64:]}" in profile["boot"]["args"]
    assert f"imagebuilder.rootfs.sha256={digests['rootfs']}" in profile["boot"]["args"]
    assert profile["boot"]["args"][-2:] == ["console=ttyS0", "quiet"]
    index = read(root / "streams/v1/index.json")["index"]
    content = index["imagebuilder.base:stable:v3:download"]
    (product,) = read(root / content["path"])["products"].items()
    assert (product[0],) == tuple(content["products"])
    assert product[1]["versions"].keys() == {release.version}
    assert (product[1]["os"], product[1]["arch"], product[1]["release"]) == (
        "debian",
        "amd64",
        "base",
    )
    tags = {
        each["annotations"]["org.opencontainers.image.ref.name"]
        for each in read(root / "exports/oci/base/index.json")["manifests"]
    }
    assert tags == {"testing", "stable", *(each.version for each in three)}


def test_a_root_that_is_no_squashfs_is_not_called_one(
    catalog: Catalog, root: Path, tmp_path: Path
) -> None:
    image = image_at(tmp_path / "images", rootfs=EROFS)
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    products = read(root / "streams/v1/base/testing.json")["products"]
    (items,) = (each["versions"][release.version]["items"] for each in products.values())
    assert set(items) == {"boot-kernel", "boot-initrd", "erofs", "manifest"}
    assert {name: each["ftype"] for name, each in items.items()} == {name: name for name in items}


def test_nothing_is_written_when_nothing_changed(
    catalog: Catalog, root: Path, three: list[Release]
) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in root.rglob("*.json")}

    before = times()
    assert catalog.export() == 0
    catalog.promote("base", "testing", to="stable")
    assert {path for path, at in times().items() if before.get(path) != at} == set()
    (root / "exports/fcos/base/streams/stable.json").write_text("{}")
    assert catalog.export() == 1
    assert check(root) == 12


def test_verify_and_a_dry_run_say_which_do_not_follow(
    catalog: Catalog, root: Path, three: list[Release], make_image: MakeImage
) -> None:
    assert catalog.verify().ok
    assert catalog.export(dry_run=True) == 0
    image = make_image(seed=9)
    # A publisher that knows nothing of exports, or died before it came to them.
    Catalog(store=catalog.store).publish(image, channel="testing", evidence=passing(image))
    (root / "exports/matchbox/profiles/base+stable.json").unlink()
    found = {each.where.partition("/catalog/")[2]: each for each in catalog.verify().findings}
    # What testing says in each format, the page with its release, and the file that is gone.
    assert "exports/fcos/base/streams/testing.json" in found
    assert "exports/matchbox/profiles/base+stable.json" in found
    assert "exports/fcos/base/streams/stable.json" not in found
    assert {each.kind for each in found.values()} == {"broken"}
    assert Catalog(store=catalog.store).verify().ok, "who asks for no exports hears of none"
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert catalog.export(dry_run=True) == len(found)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert catalog.export() == len(found)
    assert catalog.verify().ok


def test_they_follow_the_channel_back(catalog: Catalog, root: Path, three: list[Release]) -> None:
    catalog.rollback("base", "testing")
    check(root)
    (product,) = read(root / "streams/v1/base/testing.json")["products"].values()
    # MAAS takes what sorts last.
    assert max(product["versions"]) == three[1].version
    catalog.promote("base", three[2].version, to="testing")
    catalog.promote("base", three[0].version, to="testing")
    (product,) = read(root / "streams/v1/base/testing.json")["products"].values()
    assert list(product["versions"]) == [three[0].version]
    stream = read(root / "exports/fcos/base/streams/testing.json")
    metal = stream["architectures"]["x86_64"]["artifacts"]["metal"]
    assert metal["release"] == three[0].version


def test_updates_know_barriers_dead_ends_and_rollouts(
    catalog: Catalog, root: Path, three: list[Release]
) -> None:
    catalog.dead_end("base", three[0].version, reason="eats <disks>")
    catalog.barrier("base", three[1].version, reason="new firmware")
    catalog.rollout("base", "testing", minutes=90, percent=10)
    assert check(root) == 12
    updates = read(root / "exports/fcos/base/updates/testing.json")["releases"]
    found = {each["version"]: each["metadata"] for each in updates}
    assert found[three[0].version] == {"deadend": {"reason": "eats <disks>"}}
    assert found[three[1].version] == {"barrier": {"reason": "new firmware"}}
    rollout = found[three[2].version]["rollout"]
    assert (rollout["start_percentage"], rollout["duration_minutes"]) == (0.1, 90)
    assert "rollout" not in str(read(root / "exports/fcos/base/updates/stable.json"))


def test_garbage_collection_takes_its_exports_along(
    catalog: Catalog, root: Path, three: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = FileStore.delete

    def delete(store: FileStore, key: str) -> None:
        deleted(store, key)
        check(root)  # whatever is gone, nobody is still sent there

    monkeypatch.setattr(FileStore, "delete", delete)
    blobs = len(list((root / "exports/oci/base/blobs/sha256").iterdir()))
    policy = Retention(keep_last=1, keep_days=0, rollback_steps=1, grace_hours=0)
    freed = catalog.gc(policy)
    assert len(freed.releases) == 1
    assert len(list((root / "exports/oci/base/blobs/sha256").iterdir())) == blobs - 1
    assert check(root) == 12


def test_an_oci_layout_in_a_folder_is_whole(
    catalog: Catalog, root: Path, tmp_path: Path, three: list[Release]
) -> None:
    plain = Catalog.open(root.as_uri())
    wanted = Exports(formats=EXPORTS.formats, url=BASE)
    assert plain.export(wanted, output_dir=tmp_path / "out") > 12
    assert check(tmp_path / "out", blobs=root) == 12
    blobs = tmp_path / "out/exports/oci/base/blobs/sha256"
    for each in three[-1].artefacts:
        check_blob(blobs / each.sha256)
    assert "http" not in (tmp_path / "out/exports/oci/base/index.json").read_text()
    assert plain.export(wanted, output_dir=tmp_path / "out") == 0


class StoppedError(Exception):
    pass


def test_whatever_write_is_the_last_nobody_is_sent_to_what_is_not_there(
    root: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that ends before each of its writes in turn."""
    plain = Catalog.open(root.as_uri())
    first, second = make_image(seed=1), make_image(seed=2)
    plain.publish(first, channel="testing", evidence=passing(first))
    put = FileStore.put
    for writes in itertools.count():
        left = writes

        def stopping(store: FileStore, key: str, *args: Any, **kwargs: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise StoppedError
            put(store, key, *args, **kwargs)

        if writes == 3:
            plain.publish(second, channel="testing", evidence=passing(second))
        with monkeypatch.context() as patch:
            patch.setattr(FileStore, "put", stopping)
            try:
                plain.export(EXPORTS)
            except StoppedError:
                check(root)
                continue
        break
    assert writes > 3
    assert check(root) == 7


def test_who_saw_an_older_state_does_not_replace_what_is_newer(
    root: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one writes, another publishes and writes: before each write in turn."""
    wanted = Exports(formats=("fcos", "simplestreams"), url=BASE)
    plain, exporting = Catalog.open(root.as_uri()), Catalog.open(root.as_uri(), exports=wanted)
    image = make_image(seed=0)
    plain.publish(image, channel="testing", evidence=passing(image))
    for n in range(1, 4):
        newer = make_image(seed=n)
        older = make_image(seed=n + 100)
        plain.publish(older, channel="testing", evidence=passing(older))
        put, writes = FileStore.put, 0

        def racing(store: FileStore, key: str, *args: Any, **kwargs: Any) -> None:
            nonlocal writes
            writes += 1
            if writes == n:  # noqa: B023 - it is called in this round only
                with monkeypatch.context() as patch:
                    patch.setattr(FileStore, "put", put)  # noqa: B023
                    exporting.publish(newer, channel="testing", evidence=passing(newer))  # noqa: B023
            put(store, key, *args, **kwargs)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(FileStore, "put", racing)
            plain.export(wanted)
        assert writes >= n
        check(root)
        version = plain.show("base", "testing").version
        assert plain.show("base", "testing").image == newer.id
        assert version in (root / "exports/fcos/base/streams/testing.json").read_text()
        assert version in (root / "streams/v1/base/testing.json").read_text()


def test_a_damaged_release_is_said_and_the_others_are_exported(
    catalog: Catalog, root: Path, three: list[Release], make_image: MakeImage
) -> None:
    stream = root / "exports/fcos/base/streams/testing.json"
    before = stream.read_bytes()
    victim = root / f"releases/base/{three[2].version}.json"
    victim.write_text(victim.read_text().replace('"vmlinuz"', '"../../../vmlinuz"'))
    catalog.promote("base", three[1].version, to="stable")
    assert three[1].version in (root / "exports/fcos/base/streams/stable.json").read_text()
    with pytest.raises(CatalogError, match=r"not all exports follow .*is not the manifest"):
        catalog.export()
    assert stream.read_bytes() == before
    other = make_image("a+b")
    catalog.publish(other, channel="testing", evidence=passing(other))
    assert (root / "exports/fcos/a+b/streams/testing.json").is_file()
    # Readers put this path into a URL as it stands, where a plus sign could be a space.
    content = read(root / "streams/v1/index.json")["index"]["imagebuilder.a+b:testing:v3:download"]
    assert content["path"] == "streams/v1/aPLUSb/testing.json"
    assert (root / content["path"]).is_file()


def test_nothing_leaves_the_catalog(
    catalog: Catalog, root: Path, tmp_path: Path, three: list[Release]
) -> None:
    """Names in a store that somebody else can write to."""
    files = {path for path in tmp_path.rglob("*") if not path.is_relative_to(root)}
    pointer = (root / "channels/base/testing.json").read_text()
    for name in ("a/b", "x..", "UP"):
        target = root / f"channels/base/{name}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(pointer.replace('"testing"', json.dumps(f"../../{name}")))
    evil = pointer.replace('"base"', '"../../evil"')
    (root / "channels/base/evil.json").write_text(evil)
    with pytest.raises(CatalogError, match=r"evil\.json"):
        catalog.export()
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "streams/v1/base/stable.json").unlink()
    (root / "streams/v1/base/testing.json").unlink()
    (root / "streams/v1/base").rmdir()
    (root / "streams/v1/base").symlink_to(outside)
    with pytest.raises(CatalogError, match="symbolic link"):
        catalog.export()
    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(root)}
    assert after == files | {outside}


def test_what_cannot_be_exported_is_refused_before_anything_is_done(
    root: Path, three: list[Release]
) -> None:
    unknown = Catalog.open(root.as_uri(), exports=Exports(formats=("fcos", "oci")))
    with pytest.raises(InputError, match="fcos and oci cannot be exported"):
        unknown.promote("base", "testing", to="other")
    with pytest.raises(InputError, match="ims cannot be exported"):
        unknown.export(Exports(formats=("ims",), url=BASE))
    with pytest.raises(InputError, match="no format"):
        Catalog.open(root.as_uri()).export()
    assert not (root / "channels/base/other.json").exists()
    for url in ("ftp://x/", "http:///x", "http://a b/", "http://me:secret@h/", 'http://x/"', "x"):
        with pytest.raises(ValueError, match="a URL that readers"):
            Exports(url=url)
    assert Exports(url="http://h/x").url == "http://h/x/"


def test_it_can_be_stopped(catalog: Catalog, three: list[Release]) -> None:
    cancel = Cancel()

    def stop(event: Event) -> None:
        cancel.set("enough")

    with pytest.raises(Interrupted):
        catalog.export(observer=stop, cancel=cancel)


def test_it_gives_up_when_others_are_faster_each_time(
    catalog: Catalog, three: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ATTEMPTS", 2)
    monkeypatch.setattr(
        writing, "_there", lambda target, files: dict.fromkeys(each.key for each in files)
    )
    with pytest.raises(CatalogError, match="by others 2 times"):
        catalog.export()


def test_the_command_knows_all_formats() -> None:
    assert get_args(ExportFormat) == export_verbs._FORMATS
    assert replace(Catalog.open("x"), exports=EXPORTS).exports is EXPORTS
