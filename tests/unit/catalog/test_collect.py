"""Garbage collection: deletes what nothing keeps, and never what somebody can reach."""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog, Release, Retention, leases
from imagebuilder.catalog.leases import held
from imagebuilder.errors import CatalogError, InputError
from imagebuilder.progress import Cancel, Event, Reporter
from imagebuilder.stores import FileStore

from .conftest import MakeImage, image_at, passing
from .consistency import broken_promises

STRICT = Retention(keep_last=1, keep_days=0, rollback_steps=1, running_days=1, grace_hours=0)


@pytest.fixture
def five(catalog: Catalog, make_image: MakeImage) -> list[Release]:
    images = [make_image(seed=n) for n in range(5)]
    return [catalog.publish(each, channel="testing", evidence=passing(each)) for each in images]


def versions(catalog: Catalog) -> list[str]:
    return [each.version for each in catalog.releases()]


def files(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and ".locks" not in path.parts
    }


def test_it_deletes_what_nothing_keeps_and_says_what_it_freed(
    catalog: Catalog, root: Path, five: list[Release]
) -> None:
    before = files(root)
    sizes = sum((root / each).stat().st_size for each in before if "blobs" in each)

    would = catalog.gc(STRICT, dry_run=True)
    assert files(root) == before
    done = catalog.gc(STRICT)

    assert (would.releases, would.blobs, would.bytes) == (done.releases, done.blobs, done.bytes)
    assert [each.version for each in done.releases] == [each.version for each in five[:3]]
    assert versions(catalog) == [each.version for each in five[3:]]
    blobs = sum((root / each).stat().st_size for each in files(root) if "blobs" in each)
    manifests = sum(len((each.model_dump_json(indent=2) + "\n").encode()) for each in five[:3])
    assert done.bytes == sizes - blobs + manifests
    assert not done.failures
    assert [reason for _, reason in done.kept] == [
        "channel testing names it",
        "channel testing can be taken back to it",
    ]
    assert broken_promises(root) == []
    assert catalog.verify().findings == ()
    assert not [each for each in files(root) if each.startswith("leases/")]
    again = catalog.gc(STRICT)
    assert (again.releases, again.blobs, again.bytes) == ((), 0, 0)
    # What went can be published again.
    assert catalog.rollback("base", "testing").release == five[3].version
    with pytest.raises(CatalogError, match="no release"):
        catalog.promote("base", five[0].version, to="stable")


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, 2),
        ({"keep_last": 3}, 3),
        ({"rollback_steps": 3}, 4),
        ({"keep_days": 1}, 5),
        ({"grace_hours": 1}, 5),
    ],
)
def test_what_a_policy_keeps(
    catalog: Catalog, five: list[Release], change: dict[str, float], kept: int
) -> None:
    catalog.gc(STRICT.model_copy(update=change))
    assert versions(catalog) == [each.version for each in five[-kept:]]


def test_what_other_channels_and_hosts_name_is_kept(
    catalog: Catalog, root: Path, five: list[Release]
) -> None:
    catalog.promote("base", five[0].version, to="stable")
    catalog.report_running("base", five[1].version, host="rack1-n7.example.org")
    catalog.report_running("base", five[2].image, host="rack1-n8")
    done = catalog.gc(STRICT)
    assert done.releases == ()
    os.utime(root / "hosts/base/rack1-n8.json", (0, 0))
    assert [each.version for each in catalog.gc(STRICT).releases] == [five[2].version]
    with pytest.raises(InputError):
        catalog.report_running("base", five[1].version, host="../x")
    with pytest.raises(CatalogError, match="no release"):
        catalog.report_running("base", five[2].image, host="late")


def test_age_is_what_the_store_says(catalog: Catalog, root: Path, five: list[Release]) -> None:
    old = time.time() - 40 * 86400
    os.utime(root / f"releases/base/{five[0].version}.json", (old, old))
    assert catalog.gc(STRICT.model_copy(update={"keep_days": 30})).releases[0].version == (
        five[0].version
    )
    assert versions(catalog) == [each.version for each in five[1:]]


def test_what_a_lease_names_is_kept_until_its_holder_is_dead(
    catalog: Catalog, root: Path, five: list[Release]
) -> None:
    orphan = root / "blobs/sha256/00" / ("00" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_text("sent, and no manifest yet")
    reporter = Reporter(subject="base")
    with (
        held(catalog.store, "base", five[0].image, ["00" * 32], reporter),
        held(catalog.store, "other", "", [], reporter),
    ):
        done = catalog.gc(STRICT)
        assert [each.version for each in done.releases] == [five[1].version, five[2].version]
        assert orphan.exists()
    with held(catalog.store, "base", "", ["00" * 32], reporter) as lease:
        os.utime(root / lease.key, (0, 0))
        assert catalog.gc(STRICT).releases[0].version == five[0].version
        assert not orphan.exists()
        assert not (root / lease.key).exists()
        lease.renewed -= leases.LEASE_SECONDS
        with pytest.raises(CatalogError, match="stood still"):
            lease.renew()


def write_collection(root: Path, release: Release, **change: object) -> Path:
    path = root / "gc.json"
    record = {
        "format": 1,
        "id": "0" * 32,
        "by": "gc@host",
        "started": "2026-01-01T00:00:00Z",
        "releases": [{"name": "base", "version": release.version}],
        "blobs": [],
    }
    path.write_text(json.dumps(record | change))
    return path


def test_who_wants_what_is_being_deleted_waits(
    catalog: Catalog,
    root: Path,
    five: list[Release],
    make_image: MakeImage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_collection(root, five[0])
    notes: list[str] = []

    def end(event: Event) -> None:
        if event.kind == "note":
            notes.append(event.text)
            write_collection(root, five[0], ended=True, releases=[])

    # Others need not wait ...
    catalog.promote("base", five[1].version, to="stable")
    image = make_image(seed=9)
    catalog.publish(image, channel="testing", evidence=passing(image), observer=end)
    assert notes == []
    # ... but who names it does, until the end of the collection, or its death.
    catalog.promote("base", five[0].version, to="stable", observer=end)
    assert notes == ["for the garbage collection of gc@host to end"]
    write_collection(root, five[0])
    with pytest.raises(CatalogError, match="is at work since"):
        catalog.gc(STRICT)
    os.utime(path, (0, 0))
    catalog.rollback("base", "stable", observer=notes.append)  # type: ignore[arg-type]
    assert json.loads(path.read_text())["ended"]
    cancel = Cancel()
    write_collection(root, five[0])
    with pytest.raises(Exception, match="enough"):
        catalog.rollback(
            "base",
            "testing",
            cancel=cancel,
            observer=lambda e: e.kind == "note" and cancel.set("enough"),
        )
    os.utime(path, (0, 0))
    assert catalog.gc(STRICT).releases


def test_a_deletion_that_failed_is_said_and_tried_again(
    catalog: Catalog, root: Path, five: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FileStore.delete

    def refuse(self: FileStore, key: str) -> None:
        if key.startswith(("releases/", "blobs/")):
            raise CatalogError("cannot be deleted: Permission denied")
        real(self, key)

    monkeypatch.setattr(FileStore, "delete", refuse)
    done = catalog.gc(STRICT)
    assert (done.releases, done.blobs, done.bytes) == ((), 0, 0)
    # The blobs of a manifest that is still there were not touched.
    assert [each.where for each in done.failures] == [
        str(root / f"releases/base/{each.version}.json") for each in five[:3]
    ]
    assert broken_promises(root) == []
    monkeypatch.undo()
    assert len(catalog.gc(STRICT).releases) == 3


@pytest.mark.parametrize(
    "what", ["releases/base/VERSION.json", "channels/base/testing.json", "leases/x.json"]
)
def test_nothing_is_deleted_when_something_cannot_be_read(
    catalog: Catalog, root: Path, five: list[Release], what: str
) -> None:
    path = root / what.replace("VERSION", five[0].version)
    path.parent.mkdir(exist_ok=True)
    path.write_text("{")
    before = files(root)
    with pytest.raises(CatalogError, match="understands"):
        catalog.gc(STRICT)
    assert files(root) - {"gc.json"} == before
    with pytest.raises(CatalogError):
        catalog.gc(STRICT, dry_run=True)


def test_no_catalog_is_no_place_for_it(catalog: Catalog, root: Path) -> None:
    with pytest.raises(CatalogError, match="no catalog here"):
        catalog.gc()
    assert not root.exists()


def child(work: Callable[[], object], die_at: int = 0) -> int:
    pid = os.fork()
    if pid:
        return pid
    seen = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.mkdir"):
            seen += 1
            if seen == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        if die_at:
            sys.addaudithook(hook)
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def test_a_collection_that_is_killed_anywhere_hinders_nobody(
    catalog: Catalog, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "COLLECTION_SECONDS", 0.0)  # the dead are known to be dead
    images = [image_at(tmp_path / "build", seed=n, size=100) for n in range(4)]

    def publish(n: int) -> Release:
        each = images[n % 4]
        return catalog.publish(each, channel="testing", evidence=passing(each), force=n > 4)

    for n in range(4):
        publish(n)
    n, killed = 2, 0
    while True:
        status = os.waitpid(child(lambda: dead_collection(catalog), die_at=n), 0)[1]
        assert broken_promises(root) == [], f"killed at call {n}"
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            break
        killed += 1
        publish(n // 7)
        assert broken_promises(root) == []
        n += 7
    assert killed > 15
    catalog.gc(STRICT)
    assert len(catalog.releases()) == 2
    assert catalog.verify().findings == ()


def dead_collection(catalog: Catalog) -> None:
    leases.COLLECTION_SECONDS = 900.0
    record = Path(catalog.url.removeprefix("file://")) / "gc.json"
    if record.exists():
        os.utime(record, (0, 0))
    catalog.gc(STRICT)


@pytest.mark.slow
def test_publishers_promoters_and_collections_at_the_same_time(
    catalog: Catalog, root: Path, tmp_path: Path
) -> None:
    """They are killed at random, too; the time limits are what a death then costs."""
    race(catalog, root, tmp_path, seconds=6.0)


def test_publishers_and_collections_at_the_same_time(
    catalog: Catalog, root: Path, tmp_path: Path
) -> None:
    race(catalog, root, tmp_path, seconds=1.5)


def race(catalog: Catalog, root: Path, tmp_path: Path, seconds: float) -> None:
    import random

    images = [image_at(tmp_path / "build", seed=n, size=200) for n in range(4)]
    for each in images[:2]:
        catalog.publish(each, channel="testing", evidence=passing(each))
    catalog.promote("base", "testing", to="stable")
    source = random.Random(1)

    def work(kind: str, seed: int) -> None:
        # A death costs the others so much time, and none of these stands still for as long.
        leases.COLLECTION_SECONDS = 3.0
        own = random.Random(seed)
        for _ in range(4):
            try:
                if kind == "gc":
                    catalog.gc(STRICT)
                elif kind == "publish":
                    each = own.choice(images)
                    catalog.publish(
                        each, channel="testing", evidence=passing(each), force=own.random() < 0.5
                    )
                elif kind == "promote":
                    catalog.promote("base", own.choice(catalog.releases()).version, to="stable")
                else:
                    catalog.rollback("base", own.choice(["testing", "stable"]))
            except CatalogError as error:
                # It came too late, and said so; that a channel is broken is another matter.
                said = ("is at work since", "no release", "named nothing", "another garbage")
                if not any(each in error.what for each in said):
                    raise

    running: dict[int, bool] = {}
    deadline = time.monotonic() + seconds
    kinds = ["gc", "publish", "promote", "rollback", "gc", "publish"]
    n = 0
    while time.monotonic() < deadline or running:
        while len(running) < 4 and time.monotonic() < deadline:
            n += 1
            kind = kinds[n % len(kinds)]
            doomed = source.random() < 0.4
            pid = child(
                lambda k=kind, s=n: work(k, s), die_at=source.randrange(5, 200) if doomed else 0
            )  # type: ignore[misc]
            running[pid] = doomed
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            doomed = running.pop(pid)
            assert doomed or os.waitstatus_to_exitcode(status) == 0
        else:
            check(root)
            time.sleep(0.05)
    check(root)
    assert broken_promises(root) == []
    for channel in ("testing", "stable"):
        pointer = catalog.channel("base", channel)
        assert catalog.show("base", channel).version == pointer.release
    assert not [
        each
        for each in catalog.verify().findings
        if each.kind == "broken" and "boot/" not in each.where
    ]


def check(root: Path) -> None:
    """What a channel names is there, whatever goes on."""
    for path in (root / "channels/base").iterdir():
        pointer = json.loads(path.read_text())
        manifest = root / f"releases/base/{pointer['release']}.json"
        try:
            release = json.loads(manifest.read_text())
            for each in release["artefacts"]:
                blob = root / "blobs/sha256" / each["sha256"][:2] / each["sha256"]
                assert blob.stat().st_size == each["size"]
        except FileNotFoundError:
            # Moved on, and collected since?
            assert json.loads(path.read_text())["release"] != pointer["release"], pointer
