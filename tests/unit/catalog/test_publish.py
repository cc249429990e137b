"""What is published again, and what must be shown for it."""

import shutil
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog, TestEvidence
from imagebuilder.errors import CatalogError
from imagebuilder.image import FACTS, Image, ImageFacts, measure
from imagebuilder.progress import Event

from .conftest import MakeImage, blob, passing, snapshot
from .consistency import broken_promises

# ----- publishing again ---------------------------------------------------------------------------


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


# ----- proof --------------------------------------------------------------------------------------


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
