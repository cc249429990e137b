"""The catalog as its users see it: publish, list, show, pull."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog, TestEvidence
from imagebuilder.errors import CatalogError, HostError, InputError, Interrupted
from imagebuilder.image import FACTS, Image, ImageFacts, measure
from imagebuilder.progress import Cancel, Event

from .conftest import MakeImage, passing
from .consistency import broken_promises


def blob(root: Path, digest: str) -> Path:
    return root / "blobs/sha256" / digest[:2] / digest


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


# ----- the round trip ------------------------------------------------------------------------


def test_what_is_published_can_be_shown_and_pulled_byte_by_byte(
    catalog: Catalog, root: Path, image: Image, tmp_path: Path
) -> None:
    release = catalog.publish(
        image, channel="testing", evidence=passing(image), git_commit="abc123", by="ci"
    )

    assert catalog.show("base", "testing") == release
    assert catalog.show("base", release.version) == release
    assert (release.image, release.tested, release.git_commit, release.by) == (
        image.id,
        True,
        "abc123",
        "ci",
    )
    assert release.kernel_args == image.facts.kernel_args
    assert [each.version for each in catalog.releases()] == [release.version]
    pulled = catalog.pull("base", "testing", tmp_path / "out/here")
    for each in image.facts.artefacts:
        assert (pulled / each.name).read_bytes() == (image.path / each.name).read_bytes()
    assert (pulled / "test-report.json").read_bytes() == b'{"passed": true}'
    again = Image.open(pulled)
    again.verify()
    assert again.facts == image.facts
    assert broken_promises(root) == []
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["here"]


def test_a_version_sorts_by_time_even_if_a_publisher_had_a_wrong_clock(
    catalog: Catalog, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime

    from imagebuilder.catalog import manifest

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Ahead":
            return cls(2199, 1, 1, tzinfo=UTC)

    images = [make_image(seed=n) for n in range(3)]
    monkeypatch.setattr(manifest, "datetime", Ahead)
    first = catalog.publish(images[0], channel="testing", evidence=passing(images[0]))
    monkeypatch.undo()
    later = [
        catalog.publish(each, channel="testing", evidence=passing(each)) for each in images[1:]
    ]

    versions = [each.version for each in (first, *later)]
    assert versions == sorted(versions)
    assert versions[1].startswith("21990101T000001Z-")


def test_published_files_can_be_read_by_the_web_server(
    catalog: Catalog, root: Path, image: Image
) -> None:
    before = os.umask(0o022)
    try:
        catalog.publish(image, channel="testing", evidence=passing(image))
    finally:
        os.umask(before)
    hidden = {".tmp", ".locks"}
    shown = [path for path in root.rglob("*") if hidden.isdisjoint(path.parts)]
    assert all(path.stat().st_mode & 0o004 for path in shown)


def test_releases_of_several_recipes_share_blobs(
    catalog: Catalog, root: Path, make_image: MakeImage
) -> None:
    for name in ("base", "hypervisor"):
        image = make_image(name)
        catalog.publish(image, channel="testing", evidence=passing(image))
    kernel = catalog.show("base", "testing").artefact("kernel")
    assert kernel == catalog.show("hypervisor", "testing").artefact("kernel")
    assert [each.name for each in catalog.releases()] == ["base", "hypervisor"]
    assert [each.name for each in catalog.releases("base")] == ["base"]


def test_the_boot_scripts_name_three_blobs_of_one_release(
    catalog: Catalog, root: Path, image: Image
) -> None:
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    wanted = [
        (found := release.artefact(role)) and found.sha256
        for role in ("kernel", "initrd", "rootfs")
    ]
    for script in ("testing", release.version):
        text = (root / f"boot/base/{script}.ipxe").read_text()
        assert text.startswith("#!ipxe\n")
        assert set(re.findall(r"[0-9a-f]{64}", text)) == set(wanted)
        assert "chain --autofree ../../root.ipxe" in text
        assert "console=ttyS0 quiet" in text


# ----- publishing again --------------------------------------------------------------------------


def test_publishing_again_writes_nothing(catalog: Catalog, root: Path, image: Image) -> None:
    first = catalog.publish(image, channel="testing", evidence=passing(image))
    before = snapshot(root)
    events: list[Event] = []
    other = TestEvidence(image_id=image.id, passed=True, report=b"another run of the test")

    again = catalog.publish(image, channel="testing", evidence=other, observer=events.append)

    assert again == first
    assert snapshot(root) == before
    assert [each.step for each in events if each.kind == "reused"] == ["publish"]


def other_words(image: Image, **facts: object) -> Image:
    """Return an image of a recipe that says the same in other words: another id, the same bytes."""
    made = image.facts.model_dump() | {"id": "0123456789abcdef", "notes": ("other",)} | facts
    path = image.path.with_name(str(made["id"]))
    shutil.copytree(image.path, path)
    (path / "kickstart.ks").write_text("# in other words\n")
    made["artefacts"] = [measure(path / each.name) for each in image.facts.artefacts]
    (path / FACTS).write_text(ImageFacts.model_validate(made).model_dump_json())
    return Image.open(path)


def test_an_image_without_effective_change_is_not_published(
    catalog: Catalog, root: Path, image: Image
) -> None:
    first = catalog.publish(image, channel="testing", evidence=passing(image))
    again = other_words(image)
    before = snapshot(root)
    events: list[Event] = []
    second = catalog.publish(
        again, channel="testing", evidence=passing(again), observer=events.append
    )
    assert second == first
    assert snapshot(root) == before
    assert [(each.kind, each.text.partition(":")[0]) for each in events] == [
        ("reused", "no effective change")
    ]
    forced = catalog.publish(again, channel="testing", evidence=passing(again), force=True)
    assert forced.image == again.id
    assert catalog.show("base", "testing") == forced
    other = catalog.publish(again, channel="beta", evidence=passing(again))
    assert other.image == again.id  # what another channel has is nothing to this one


def test_another_kernel_argument_is_an_effective_change(catalog: Catalog, image: Image) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    again = other_words(image, kernel_args=("console=ttyS0", "debug"))
    assert catalog.publish(again, channel="testing", evidence=passing(again)).image == again.id


def test_a_first_passing_test_is_published_though_nothing_else_changed(
    catalog: Catalog, image: Image
) -> None:
    catalog.publish(image, channel="testing", evidence=None, override="no time")
    again = other_words(image)
    release = catalog.publish(again, channel="testing", evidence=passing(again))
    assert (release.image, release.tested) == (again.id, True)


def test_without_effective_change_what_is_missing_is_mended(
    catalog: Catalog, root: Path, image: Image
) -> None:
    first = catalog.publish(image, channel="testing", evidence=passing(image))
    kernel = first.artefact("kernel")
    assert kernel
    blob(root, kernel.sha256).unlink()
    again = other_words(image)
    assert catalog.publish(again, channel="testing", evidence=passing(again)).image == again.id
    assert broken_promises(root) == []
    (root / "releases/base" / f"{catalog.show('base', 'testing').version}.json").write_text("{}")
    last = catalog.publish(image, channel="testing", evidence=passing(image))
    assert last.version != first.version or last == first
    assert catalog.show("base", "testing") == last


def test_force_makes_a_new_release_of_the_same_blobs(
    catalog: Catalog, root: Path, image: Image
) -> None:
    first = catalog.publish(image, channel="testing", evidence=passing(image))
    second = catalog.publish(image, channel="testing", evidence=passing(image), force=True)
    assert second.version > first.version
    assert second.artefacts == first.artefacts
    assert catalog.show("base", "testing") == second
    assert [each.release for each in catalog.history("base", "testing")] == [
        first.version,
        second.version,
    ]


def test_a_second_channel_gets_the_release_that_is_there(catalog: Catalog, image: Image) -> None:
    first = catalog.publish(image, channel="testing", evidence=passing(image))
    assert catalog.publish(image, channel="stable", evidence=passing(image)) == first
    assert [each.channel for each in catalog.channels("base")] == ["stable", "testing"]


def test_publishing_again_mends_what_is_missing(catalog: Catalog, root: Path, image: Image) -> None:
    release = catalog.publish(image, channel="testing", evidence=passing(image))

    def there() -> set[Path]:
        files = {path for path in root.rglob("*") if path.is_file()}
        return {path for path in files if ".locks" not in path.parts}

    whole = there()
    blob(root, release.artefacts[0].sha256).unlink()
    (root / "boot/base/testing.ipxe").unlink()
    (root / f"boot/base/{release.version}.ipxe").unlink()

    assert catalog.publish(image, channel="testing", evidence=passing(image)) == release
    assert there() == whole
    assert broken_promises(root) == []


def test_a_new_release_takes_the_place_of_one_whose_manifest_was_damaged(
    catalog: Catalog, root: Path, image: Image
) -> None:
    old = catalog.publish(image, channel="testing", evidence=passing(image))
    (root / f"releases/base/{old.version}.json").write_text("{")
    new = catalog.publish(image, channel="testing", evidence=passing(image))
    assert new.version > old.version
    assert catalog.show("base", "testing") == new


def test_force_replaces_a_blob_that_was_tampered_with(
    catalog: Catalog, root: Path, image: Image, tmp_path: Path
) -> None:
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    path = blob(root, release.artefacts[-1].sha256)
    path.write_bytes(b"x" * path.stat().st_size)
    catalog.publish(image, channel="testing", evidence=passing(image), force=True)
    catalog.pull("base", "testing", tmp_path / "out")


# ----- proof ---------------------------------------------------------------------------------


def test_an_untested_image_is_refused_before_anything_is_written(
    catalog: Catalog, root: Path, image: Image
) -> None:
    failed = TestEvidence(image_id=image.id, passed=False, report=b"{}", summary="sshd failed")
    for evidence, why in ((None, "no test of it"), (failed, "sshd failed")):
        with pytest.raises(CatalogError, match=why) as caught:
            catalog.publish(image, channel="testing", evidence=evidence)
        assert caught.value.exit_status == 4
        assert "imagebuilder test base" in caught.value.fix
    assert not root.exists()


def test_an_override_is_recorded_with_who(catalog: Catalog, image: Image) -> None:
    failed = TestEvidence(image_id=image.id, passed=False, report=b"{}", summary="sshd failed")
    release = catalog.publish(
        image, channel="testing", evidence=failed, override="the bench has no sshd", by="ann@desk"
    )
    assert release.override
    assert (release.override.reason, release.override.by) == ("the bench has no sshd", "ann@desk")
    assert release.evidence
    assert not release.tested
    assert not catalog.releases()[0].tested
    assert catalog.history("base", "testing")[0].reason == "the bench has no sshd"


def test_the_first_passing_test_makes_a_new_release_of_an_overridden_one(
    catalog: Catalog, image: Image
) -> None:
    first = catalog.publish(image, channel="testing", evidence=None, override="in a hurry")
    second = catalog.publish(image, channel="testing", evidence=passing(image))
    assert second.version > first.version
    assert second.tested
    # ... and from then on an override changes nothing.
    assert catalog.publish(image, channel="testing", evidence=None, override="again") == second


def test_evidence_of_another_image_is_refused(
    catalog: Catalog, image: Image, make_image: MakeImage
) -> None:
    other = make_image(seed=2)
    with pytest.raises(CatalogError, match="is about image"):
        catalog.publish(image, channel="testing", evidence=passing(other), override="so what")


def test_a_file_that_changed_after_the_build_is_not_published(
    catalog: Catalog, root: Path, image: Image, make_image: MakeImage
) -> None:
    before = make_image(seed=7)
    old = catalog.publish(before, channel="testing", evidence=passing(before))
    size = image.rootfs.stat().st_size
    for data in (b"x" * size, b"x" * (size - 1), b"x" * (size + 1)):
        image.rootfs.write_bytes(data)
        with pytest.raises(CatalogError, match="changed after the image was built"):
            catalog.publish(image, channel="testing", evidence=passing(image))
    image.rootfs.unlink()
    with pytest.raises(CatalogError, match="missing from the image"):
        catalog.publish(image, channel="testing", evidence=passing(image))
    (image.path / "image.json").write_text("{}")
    with pytest.raises(CatalogError, match="cannot be read"):
        catalog.publish(image, channel="testing", evidence=passing(image))
    assert catalog.show("base", "testing") == old
    assert broken_promises(root) == []
    assert list((root / ".tmp").iterdir()) == []


# ----- bad names and places ------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "http://host/x",
        "file:relative",
        "file://build/catalog",
        "file:///a%0Ab",
        "file:///a?b",
        "",
        "a\nb",
        "gs://u:secret@b/x",
    ],
)
def test_a_url_that_names_no_catalog_is_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        Catalog.open(url)
    assert caught.value.exit_status == 2
    assert "s3://" in caught.value.fix or "file:///" in caught.value.fix
    assert "secret" not in str(caught.value)


def test_a_plain_path_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: Image
) -> None:
    monkeypatch.chdir(tmp_path)
    catalog = Catalog.open("some/catalog")
    assert catalog.url == (tmp_path / "some/catalog").as_uri()
    assert not (tmp_path / "some").exists()
    catalog.publish(image, channel="testing", evidence=passing(image))
    monkeypatch.chdir("/")
    assert catalog.show("base", "testing").image == image.id


@pytest.mark.parametrize("bad", ["../x", "a/b", "a\n", "", ".", "..", "A", "-a", "x" * 64, "ä"])
def test_names_that_lead_elsewhere_are_refused(
    catalog: Catalog, image: Image, tmp_path: Path, bad: str
) -> None:
    for attempt in (
        lambda: catalog.publish(image, channel=bad, evidence=passing(image)),
        lambda: catalog.show(bad, "testing"),
        lambda: catalog.show("base", bad),
        lambda: catalog.releases(bad),
        lambda: catalog.channels(bad),
        lambda: catalog.history("base", bad),
        lambda: catalog.pull(bad, "testing", tmp_path / "out"),
    ):
        with pytest.raises((InputError, CatalogError)) as caught:
            attempt()
        assert caught.value.exit_status == (2 if isinstance(caught.value, InputError) else 4)
        assert not (tmp_path / "catalog").exists()


def test_reading_where_no_catalog_is(catalog: Catalog, tmp_path: Path) -> None:
    for attempt in (
        catalog.releases,
        lambda: catalog.show("base", "testing"),
        lambda: catalog.channels("base"),
        lambda: catalog.pull("base", "testing", tmp_path / "out"),
    ):
        with pytest.raises(CatalogError, match="no catalog here"):
            attempt()
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_said(catalog: Catalog, image: Image) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    with pytest.raises(CatalogError, match="no channel 'stable'") as caught:
        catalog.show("base", "stable")
    assert "it has: testing" in caught.value.fix
    with pytest.raises(CatalogError, match="no channel") as caught:
        catalog.show("other", "stable")
    assert "nothing called other" in caught.value.fix
    with pytest.raises(CatalogError, match="no release"):
        catalog.show("base", "20200101T000000Z-0123456789abcdef")


def test_a_folder_that_is_something_else_is_left_alone(
    catalog: Catalog, root: Path, image: Image
) -> None:
    root.mkdir()
    (root / "thesis.tex").write_text("precious")
    with pytest.raises(CatalogError, match=r"not empty: it holds 'thesis\.tex'"):
        catalog.publish(image, channel="testing", evidence=passing(image))


def test_a_catalog_of_a_later_format_is_refused(catalog: Catalog, root: Path, image: Image) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    marker = json.loads((root / "catalog.json").read_text())
    (root / "catalog.json").write_text(json.dumps({**marker, "version": 2}))
    for attempt in (
        catalog.releases,
        lambda: catalog.publish(image, channel="testing", evidence=passing(image)),
    ):
        with pytest.raises(CatalogError, match="that this version of imagebuilder understands"):
            attempt()


# ----- pulling ----------------------------------------------------------------------------------


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


# ----- stopping ---------------------------------------------------------------------------------


def test_cancelling_leaves_the_channel_as_it_was(
    catalog: Catalog, root: Path, make_image: MakeImage, tmp_path: Path
) -> None:
    first, second = make_image(seed=1), make_image(seed=2)
    old = catalog.publish(first, channel="testing", evidence=passing(first))
    cancel = Cancel()

    def stop(event: Event) -> None:
        if event.kind == "progress":
            cancel.set()

    with pytest.raises(Interrupted):
        catalog.publish(
            second, channel="testing", evidence=passing(second), observer=stop, cancel=cancel
        )
    assert catalog.show("base", "testing") == old
    with pytest.raises(Interrupted):
        catalog.pull("base", "testing", tmp_path / "out", observer=stop, cancel=cancel)
    assert not (tmp_path / "out").exists()
    assert broken_promises(root) == []
