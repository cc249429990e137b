"""Releases become folders again."""

from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog
from imagebuilder.errors import CatalogError, HostError, InputError
from imagebuilder.image import Image
from imagebuilder.progress import Event

from .conftest import MakeImage, blob, passing, snapshot


def test_pulling_again_does_nothing_and_mends_what_was_changed(
    catalog: Catalog, image: Image, tmp_path: Path
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    out = catalog.pull("base", "testing", tmp_path / "out")
    before = snapshot(out)
    events: list[Event] = []
    catalog.pull("base", "testing", tmp_path / "out", observer=events.append)
    assert snapshot(out) == before
    assert [each.kind for each in events] == ["reused"]

    (out / "vmlinuz").write_bytes(b"y" * 600)
    (out / "initrd.img").unlink()
    catalog.pull("base", "testing", tmp_path / "out")
    Image.open(out).verify()


def test_another_release_takes_the_place_of_the_one_that_was_pulled(
    catalog: Catalog, make_image: MakeImage, tmp_path: Path
) -> None:
    first, second = make_image(seed=1), make_image(seed=2)
    catalog.publish(first, channel="testing", evidence=passing(first))
    catalog.pull("base", "testing", tmp_path / "out")
    catalog.publish(second, channel="testing", evidence=None, override="no test needed here")
    (tmp_path / "link").symlink_to("out")
    catalog.pull("base", "testing", tmp_path / "link")
    assert Image.open(tmp_path / "out").id == second.id
    assert not (tmp_path / "out/test-report.json").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build", "catalog", "link", "out"]


def test_a_folder_that_no_pull_made_is_left_alone(
    catalog: Catalog, image: Image, tmp_path: Path
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("precious")
    (tmp_path / "plain").write_text("precious")
    out = catalog.pull("base", "testing", tmp_path / "out")
    (out / "notes").write_text("precious")
    for name in ("mine", "plain", "out"):
        with pytest.raises(InputError, match="was not made by pull"):
            catalog.pull("base", "testing", tmp_path / name)
    assert (out / "notes").exists()
    (tmp_path / "empty").mkdir()
    catalog.pull("base", "testing", tmp_path / "empty")


def test_pull_finds_blobs_that_are_not_what_the_release_names(
    catalog: Catalog, root: Path, image: Image, tmp_path: Path
) -> None:
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    rootfs = release.artefact("rootfs")
    assert rootfs
    path = blob(root, rootfs.sha256)
    good = path.read_bytes()
    wrongs = {
        "other bytes": bytes([good[0] ^ 1]) + good[1:],
        "cut short": good[:-1],
        "longer": good + b"x",
    }
    for why, data in wrongs.items():
        path.write_bytes(data)
        with pytest.raises(CatalogError, match=why) as caught:
            catalog.pull("base", "testing", tmp_path / "out")
        assert str(path) in str(caught.value)
        assert not (tmp_path / "out").exists()
    path.unlink()
    with pytest.raises(CatalogError, match="missing"):
        catalog.pull("base", "testing", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build", "catalog"]


def test_a_failed_pull_leaves_the_last_one(
    catalog: Catalog, root: Path, make_image: MakeImage, tmp_path: Path
) -> None:
    first, second = make_image(seed=1), make_image(seed=2)
    catalog.publish(first, channel="testing", evidence=passing(first))
    out = catalog.pull("base", "testing", tmp_path / "out")
    release = catalog.publish(second, channel="testing", evidence=passing(second))
    blob(root, release.artefacts[-1].sha256).unlink()
    with pytest.raises(CatalogError):
        catalog.pull("base", "testing", out)
    assert Image.open(out).id == first.id
    Image.open(out).verify()


def test_pull_clears_away_what_a_killed_one_left(
    catalog: Catalog, image: Image, tmp_path: Path
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    (tmp_path / ".out.pull-abcd").mkdir()
    (tmp_path / ".out.pull-abcd/vmlinuz").write_text("half")
    catalog.pull("base", "testing", tmp_path / "out")
    assert not (tmp_path / ".out.pull-abcd").exists()


def test_pull_to_where_nothing_can_be_written(catalog: Catalog, image: Image) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    with pytest.raises(HostError, match="cannot be written"):
        catalog.pull("base", "testing", Path("/proc/sys/out"))
