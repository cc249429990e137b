"""Mirrors: a catalog gets what another one has, whole at any time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog, Release, Synced
from imagebuilder.catalog.envelope import FileSigner, make_key, pem
from imagebuilder.catalog.signed import TrustedKey, TrustRoot
from imagebuilder.catalog.trust import Trust
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, InputError
from imagebuilder.image import Image
from imagebuilder.stores import Stat
from imagebuilder.stores.file import FileStore

from .conftest import MakeImage, passing


@pytest.fixture
def three(catalog: Catalog, make_image: MakeImage) -> list[Release]:
    images = [make_image(seed=n) for n in range(3)]
    found = [catalog.publish(each, channel="testing", evidence=passing(each)) for each in images]
    catalog.promote("base", found[0].version, to="stable")
    return found


@pytest.fixture
def mirror(tmp_path: Path) -> Catalog:
    return Catalog.open((tmp_path / "mirror").as_uri())


def objects(root: Path) -> dict[str, bytes]:
    """Return what a catalog holds, but for what each has of its own."""
    found = {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    own = ("catalog.json", "root.ipxe", "probe/", "gc.json", ".tmp/", ".locks/")
    return {key: data for key, data in found.items() if not key.startswith(own)}


def test_a_mirror_is_the_same_byte_by_byte(
    catalog: Catalog, mirror: Catalog, root: Path, tmp_path: Path, three: list[Release]
) -> None:
    done = catalog.sync(mirror)
    assert (done.releases, done.channels, done.findings) == (
        3,
        ("base stable", "base testing"),
        (),
    )
    assert objects(tmp_path / "mirror") == objects(root)
    assert mirror.verify().findings == ()


def test_only_what_is_missing_is_sent(
    catalog: Catalog,
    mirror: Catalog,
    tmp_path: Path,
    three: list[Release],
    make_image: MakeImage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog.sync(mirror)
    before = objects(tmp_path / "mirror")
    sent: list[str] = []
    upload, put = FileStore.upload, FileStore.put
    monkeypatch.setattr(
        FileStore,
        "upload",
        lambda self, key, *a, **k: (sent.append(key), upload(self, key, *a, **k))[1],
    )
    monkeypatch.setattr(
        FileStore,
        "put",
        lambda self, key, *a, **k: (sent.append(key), put(self, key, *a, **k))[1],
    )
    again = catalog.sync(mirror)
    assert again == Synced(releases=0, blobs=0, bytes=0, channels=(), records=0, findings=())
    assert {key.partition("/")[0] for key in sent} == {"leases"}
    assert objects(tmp_path / "mirror") == before
    image = make_image(seed=9)
    catalog.publish(image, channel="testing", evidence=passing(image))
    sent.clear()
    more = catalog.sync(mirror)
    # The kernel and the boot's report are shared with the releases that are there.
    assert more.releases == 1
    blobs = [key for key in sent if key.startswith("blobs/")]
    assert len(blobs) == more.blobs
    assert more.blobs < len(mirror.show("base", "testing").artefacts)
    assert sent.index("channels/base/testing.json") > max(sent.index(key) for key in blobs)
    assert sent.index("channels/base/testing.json") > sent.index("index.json")


def test_one_recipe_only(
    catalog: Catalog, mirror: Catalog, three: list[Release], make_image: MakeImage
) -> None:
    image = make_image("other")
    catalog.publish(image, channel="testing", evidence=passing(image))
    assert catalog.sync(mirror, names=["other"]).releases == 1
    assert {each.name for each in mirror.releases()} == {"other"}
    assert mirror.channels("base") == ()
    with pytest.raises(InputError):
        catalog.sync(mirror, names=["../x"])
    with pytest.raises(InputError):
        catalog.sync(catalog)


class Stop(BaseException):
    pass


def test_a_sync_that_dies_at_any_write_leaves_a_whole_mirror_and_goes_on(
    catalog: Catalog, tmp_path: Path, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    calls = 0
    limit = 10**9
    real = {name: getattr(FileStore, name) for name in ("put", "upload")}

    def counted(name: str) -> object:
        def call(self: FileStore, *args: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls > limit:
                raise Stop
            return real[name](self, *args, **named)

        return call

    for name in real:
        monkeypatch.setattr(FileStore, name, counted(name))
    target = Catalog.open((tmp_path / "all").as_uri())
    catalog.sync(target)
    total, wanted = calls, objects(tmp_path / "all")
    assert total > 15
    for limit in range(total):
        place = tmp_path / f"dies-{limit}"
        broken = Catalog.open(place.as_uri())
        calls = 0
        with pytest.raises(Stop):
            catalog.sync(broken)
        if (place / "catalog.json").exists():
            assert broken.verify().ok or only_scripts(broken), limit
        calls = -(10**9)
        assert catalog.sync(broken).findings == ()
        there = {k: v for k, v in objects(place).items() if not k.startswith("leases/")}
        assert there == wanted
        assert broken.verify().ok


def only_scripts(catalog: Catalog) -> bool:
    """Whether all that is broken is a script that follows its pointer, as after a publication."""
    return all(
        "/boot/" in each.where for each in catalog.verify().findings if each.kind == "broken"
    )


def test_long_histories_and_pages(
    catalog: Catalog, mirror: Catalog, three: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagebuilder.catalog.channels._ROOM", 4)
    monkeypatch.setattr("imagebuilder.catalog.channels._PAGE", 2)
    for n in range(7):
        catalog.promote("base", three[n % 2].version, to="stable")
        if n == 3:
            catalog.sync(mirror)
    catalog.sync(mirror)
    assert mirror.history("base", "stable") == catalog.history("base", "stable")
    assert mirror.verify().findings == ()


def test_a_mirror_that_was_moved_by_itself_is_left_alone(
    catalog: Catalog, mirror: Catalog, three: list[Release]
) -> None:
    catalog.sync(mirror)
    mirror.promote("base", three[1].version, to="stable")
    catalog.promote("base", three[2].version, to="stable")
    done = catalog.sync(mirror)
    assert [each.what for each in done.findings if "moved in the mirror by itself" in each.what]
    assert mirror.channel("base", "stable").release == three[1].version
    assert done.channels == ()


def test_an_original_that_was_restored_takes_nothing_back(
    catalog: Catalog, mirror: Catalog, root: Path, three: list[Release]
) -> None:
    pointer = root / "channels/base/stable.json"
    old = pointer.read_bytes()
    catalog.promote("base", three[2].version, to="stable")
    catalog.sync(mirror)
    pointer.write_bytes(old)
    done = catalog.sync(mirror)
    assert done.channels == ()
    assert mirror.channel("base", "stable").release == three[2].version


def test_a_pin_of_the_mirror_holds(catalog: Catalog, mirror: Catalog, three: list[Release]) -> None:
    catalog.sync(mirror)
    mirror.pin("base", "stable", reason="not at this site")
    assert catalog.sync(mirror).findings == ()  # it is where the original is
    catalog.promote("base", three[2].version, to="stable")
    done = catalog.sync(mirror)
    assert "pinned in the mirror" in done.findings[0].what
    assert mirror.channel("base", "stable").release == three[0].version
    mirror.unpin("base", "stable")
    assert catalog.sync(mirror).channels == ("base stable",)


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    make_key(tmp_path / "key")
    return FileSigner.open(tmp_path / "key")


def test_signatures_approvals_and_rules_come_along(
    catalog: Catalog, mirror: Catalog, three: list[Release], signer: FileSigner, tmp_path: Path
) -> None:
    catalog.sync(mirror)
    catalog.sign("base", "stable", signers=[signer])
    catalog.approve("base", three[0].version, who="anna")
    catalog.dead_end("base", three[1].version, reason="it does not boot")
    assert catalog.sync(mirror).records == 5
    assert catalog.sync(mirror).records == 0
    root = TrustRoot(keys=(TrustedKey(name="us", public=pem(signer.public_key)),))
    (tmp_path / "trust.json").write_text(root.model_dump_json())
    trust = Trust.open(tmp_path / "trust.json", tmp_path / "memory.json")
    assert mirror.show("base", "stable", trust=trust).version == three[0].version
    # The mirror follows a later signature, and no older one takes its place.
    old = catalog.store.get("signatures/base/stable.json")
    catalog.promote("base", three[2].version, to="stable")
    catalog.sign("base", "stable", signers=[signer])
    catalog.sync(mirror)
    assert mirror.show("base", "stable", trust=trust).version == three[2].version
    assert old
    catalog.store.put("signatures/base/stable.json", old.data)
    catalog.sync(mirror)
    assert mirror.show("base", "stable", trust=trust).version == three[2].version


def test_bundles_of_statements_are_merged(
    catalog: Catalog, mirror: Catalog, three: list[Release], signer: FileSigner, tmp_path: Path
) -> None:
    version = three[0].version
    key = f"attestations/base/{version}.intoto.jsonl"

    def lines(of: Catalog) -> list[bytes]:
        found = of.store.get(key)
        assert found
        return found.data.splitlines()

    catalog.sign("base", version, signers=[signer])
    ours = lines(catalog)
    assert len(ours) == 2
    catalog.sync(mirror)
    assert lines(mirror) == ours
    # Each side gets a line of its own, and the original another signature and rubbish.
    scans = [b'{"payloadType":"x","payload":"%d","signatures":[]}' % n for n in range(2)]
    mirror.store.put(key, b"".join(line + b"\n" for line in [*ours, scans[0]]))
    make_key(tmp_path / "second")
    second = FileSigner.open(tmp_path / "second")
    catalog.sign("base", version, signers=[second])
    catalog.store.put(key, b"".join(line + b"\n" for line in [*lines(catalog), b"?", scans[1]]))
    assert catalog.sync(mirror).records == 2  # the signatures of the manifest as well
    assert lines(mirror) == [*lines(catalog)[:2], *scans]
    assert catalog.sync(mirror).records == 0
    keys = [TrustedKey(name="us", public=pem(each.public_key)) for each in (signer, second)]
    root = TrustRoot(keys=tuple(keys), release_threshold=2)
    (tmp_path / "trust.json").write_text(root.model_dump_json())
    trust = Trust.open(tmp_path / "trust.json", tmp_path / "memory.json")
    signed = mirror.attestations("base", version, trust=trust)
    assert [len(each.signers) for each in signed] == [2, 2]


def test_what_is_damaged_is_said_and_does_not_come_along(
    catalog: Catalog, mirror: Catalog, root: Path, three: list[Release]
) -> None:
    bad = three[1].artefacts[-1].sha256
    blob = root / f"blobs/sha256/{bad[:2]}/{bad}"
    blob.write_bytes(bytes(blob.stat().st_size))
    (root / f"releases/base/{three[2].version}.json").unlink()
    done = catalog.sync(mirror)
    said = " ".join(each.what for each in done.findings)
    assert "has other bytes" in said
    assert "is missing" in said
    assert done.releases == 1
    assert done.channels == ("base stable",)  # testing names what is not there
    assert mirror.verify().ok
    assert {each.version for each in mirror.releases()} == {three[0].version}


def test_a_dry_run_says_the_same_and_writes_nothing(
    catalog: Catalog,
    mirror: Catalog,
    tmp_path: Path,
    three: list[Release],
    make_image: MakeImage,
    signer: FileSigner,
) -> None:
    catalog.sign("base", "stable", signers=[signer])
    would = catalog.sync(mirror, dry_run=True)
    assert not (tmp_path / "mirror").exists()
    assert would.releases == 3
    assert would.records == 3
    assert catalog.sync(mirror) == would
    image = make_image(seed=9)
    catalog.publish(image, channel="testing", evidence=passing(image))
    before = objects(tmp_path / "mirror")
    would = catalog.sync(mirror, dry_run=True)
    assert objects(tmp_path / "mirror") == before
    assert catalog.sync(mirror) == would
    assert would.bytes > 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("x")
    with pytest.raises(CatalogError, match="no catalog"):
        catalog.sync(Catalog.open(str(tmp_path / "other")), dry_run=True)


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def wrong_index(root: Path, three: list[Release]) -> None:
    swap(root / "index.json", '"tested":true', '"tested":false')


def wrong_pointer(root: Path, three: list[Release]) -> None:
    path = root / "channels/base/stable.json"
    path.rename(path.with_name("other.json"))


def unreadable_pointer(root: Path, three: list[Release]) -> None:
    (root / "channels/base/stable.json").write_text("{}")


def wrong_name_of_a_pointer(root: Path, three: list[Release]) -> None:
    (root / "channels/base/..x.json").write_text("{}")
    (root / "channels/base/Upper.json").write_text("{}")


def wrong_approval(root: Path, three: list[Release]) -> None:
    path = root / f"approvals/base/{three[0].version}/anna.json"
    path.rename(path.with_name("boris.json"))


def wrong_rules(root: Path, three: list[Release]) -> None:
    swap(root / "rules/base.json", '"name": "base"', '"name": "other"')


def signature_of_another_release(root: Path, three: list[Release]) -> None:
    first, second = (root / f"signatures/base/{each.version}.json" for each in three[:2])
    first.replace(second)


def signature_of_another_channel(root: Path, three: list[Release]) -> None:
    folder = root / "signatures/base"
    (folder / "stable.json").replace(folder / "testing.json")


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (wrong_index, "says other things of this release than its manifest"),
        (wrong_pointer, "is the pointer of another channel"),
        (unreadable_pointer, "is no channel"),
        (wrong_name_of_a_pointer, "is no channel"),
        (wrong_approval, "is not what its key says"),
        (wrong_rules, "is not what its key says"),
        (signature_of_another_release, "is not what its key says"),
        (signature_of_another_channel, "is the signature of another channel"),
    ],
)
def test_what_was_tampered_with_is_said_and_does_not_come_along(
    catalog: Catalog,
    mirror: Catalog,
    root: Path,
    tmp_path: Path,
    three: list[Release],
    signer: FileSigner,
    tamper: Callable[[Path, list[Release]], None],
    what: str,
) -> None:
    catalog.approve("base", three[0].version, who="anna")
    catalog.dead_end("base", three[1].version, reason="it does not boot")
    catalog.sign("base", three[0].version, signers=[signer])
    catalog.sign("base", "stable", signers=[signer])
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    tamper(root, three)
    changed = {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and before.get(path) != path.read_bytes()
    }
    done = catalog.sync(mirror)
    assert [each for each in done.findings if what in each.what], done.findings
    assert mirror.verify().ok
    there = objects(tmp_path / "mirror")
    for key in changed - {"index.json"}:
        assert there.get(key) != (root / key).read_bytes()
    # What is right came along all the same.
    releases = mirror.releases()
    assert len(releases) == (0 if tamper is wrong_index else 3)
    if releases:
        assert mirror.channel("base", "testing").release == three[2].version


def test_a_store_that_lists_strange_keys_writes_nothing_else_into_the_mirror(
    catalog: Catalog,
    mirror: Catalog,
    tmp_path: Path,
    three: list[Release],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that is not to be trusted names objects that were not asked for."""
    catalog.sync(mirror)
    before = objects(tmp_path / "mirror")
    evil = "boot/base/evil.ipxe"
    catalog.store.put(evil, b"#!ipxe\n")
    real = catalog.store.list

    def strange(prefix: str) -> Iterator[Stat]:
        yield from real(prefix)
        yield Stat(key=evil, size=7, modified=0.0)
        yield Stat(key="channels/base/stable.json", size=7, modified=0.0)

    monkeypatch.setattr(catalog.store, "list", strange)
    assert catalog.sync(mirror).findings
    assert objects(tmp_path / "mirror") == before


def test_a_mirror_that_cannot_be_written_ends_it_at_once(
    catalog: Catalog, mirror: Catalog, three: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.sync(mirror, names=["base"])
    asked: list[str] = []

    def fails(key: str, **_: object) -> None:
        asked.append(key)
        raise CatalogError("cannot be read: no route to host")

    catalog.dead_end("base", three[1].version, reason="it does not boot")
    monkeypatch.setattr(mirror.store, "get", fails)
    with pytest.raises(CatalogError, match="no route to host"):
        catalog.sync(mirror)
    assert len(asked) < 3


def test_a_place_that_is_no_catalog(catalog: Catalog, tmp_path: Path, three: list[Release]) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("x")
    with pytest.raises(CatalogError, match="no catalog"):
        catalog.sync(Catalog.open(str(tmp_path / "other")))
    with pytest.raises(CatalogError, match="no catalog here"):
        Catalog.open(str(tmp_path / "nothing")).sync(catalog)


def test_the_exports_of_a_mirror_follow_it(
    catalog: Catalog, tmp_path: Path, three: list[Release]
) -> None:
    url = "http://mirror.example/pxe/"
    argv = ["catalog", "sync", catalog.url, (tmp_path / "mirror").as_uri(), "--export", "fcos"]
    assert main(argv) == 2, "without a URL there would be nothing to name"
    assert not (tmp_path / "mirror").exists()
    assert main([*argv, "--url", url]) == 0
    stream = (tmp_path / "mirror/exports/fcos/base/streams/testing.json").read_text()
    assert f"{url}blobs/sha256/" in stream
    assert main([*argv[:-1], "nosuch", "--url", url]) == 2
