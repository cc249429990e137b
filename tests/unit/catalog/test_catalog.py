"""The catalog as its users see it: publish, list, show; names and places."""

import json
import os
import re
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog
from imagebuilder.errors import CatalogError, InputError, Interrupted
from imagebuilder.image import Image
from imagebuilder.progress import Cancel, Event

from .conftest import MakeImage, passing
from .consistency import broken_promises

# ----- the round trip -----------------------------------------------------------------------------


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


# ----- bad names and places -----------------------------------------------------------------------


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


# ----- stopping -----------------------------------------------------------------------------------


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
