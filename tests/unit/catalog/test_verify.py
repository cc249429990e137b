"""verify finds every kind of damage, and nothing where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog, Release
from imagebuilder.errors import CatalogError
from imagebuilder.image import Image

from .conftest import passing


def test_a_whole_catalog_has_no_findings(catalog: Catalog, two: list[Release]) -> None:
    catalog.promote("base", "testing", to="stable")
    catalog.rollback("base", "testing")
    found = catalog.verify()
    assert found.ok
    assert found.findings == ()
    assert (found.releases, found.channels) == (2, 2)
    named = {each.sha256: each.size for release in two for each in release.artefacts}
    assert (found.blobs, found.bytes) == (len(named), sum(named.values()))


def test_no_catalog(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="no catalog here"):
        catalog.verify()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a blob is gone": ("BLOB", Path.unlink, "is missing"),
    "a blob is short": ("BLOB", lambda p: p.write_bytes(p.read_bytes()[:-1]), "bytes, not"),
    "a blob is wrong": ("BLOB", flip, "other bytes"),
    "a manifest is gone": ("releases/base/VERSION.json", Path.unlink, "is in the index"),
    "a manifest is garbage": ("releases/base/VERSION.json", lambda p: p.write_text("{"), "is no"),
    "a manifest was changed": (
        "releases/base/VERSION.json",
        lambda p: p.write_text(p.read_text().replace("quiet", "debug")),
        "not the manifest",
    ),
    "the index is garbage": ("index.json", lambda p: p.write_text("[]"), "is no index"),
    "the pointer is garbage": ("channels/base/testing.json", lambda p: p.write_text("x"), "is no"),
    "the script is gone": ("boot/base/testing.ipxe", Path.unlink, "is missing"),
    "the script is another": ("boot/base/testing.ipxe", flip, "does not boot"),
    "the root script is gone": ("root.ipxe", Path.unlink, "cannot tell where the catalog is"),
    "a release's script is gone": ("boot/base/VERSION.ipxe", Path.unlink, "is missing"),
    "a release's script is another": (
        "boot/base/VERSION.ipxe",
        lambda p: p.write_text("#!ipxe\nshell\n"),
        "does not boot its release",
    ),
    "a foreign pointer": (
        "channels/base/testing.json",
        lambda p: (p.with_name("A B.json").write_text("x"), p.with_name("A.json").write_text("x")),
        "is no",
    ),
}


@pytest.mark.parametrize(("what", "damage", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found(
    catalog: Catalog,
    root: Path,
    two: list[Release],
    what: str,
    damage: Callable[[Path], object],
    said: str,
) -> None:
    rootfs = two[1].artefact("rootfs")
    assert rootfs
    blob = f"blobs/sha256/{rootfs.sha256[:2]}/{rootfs.sha256}"
    damage(root / what.replace("BLOB", blob).replace("VERSION", two[1].version))
    found = catalog.verify()
    assert not found.ok
    assert any(said in each.what for each in found.findings if each.kind == "broken")
    if said == "other bytes":
        assert catalog.verify(contents=False).ok


def test_publishing_again_writes_the_scripts_that_are_gone(
    catalog: Catalog, root: Path, tmp_path: Path, two: list[Release]
) -> None:
    gone = [root / "root.ipxe", root / f"boot/base/{two[1].version}.ipxe"]
    before = [path.read_bytes() for path in gone]
    for path in gone:
        path.unlink()
    image = Image.open(tmp_path / "build/base" / two[1].image)
    catalog.publish(image, channel="testing", evidence=passing(image))
    assert [path.read_bytes() for path in gone] == before
    assert catalog.verify().findings == ()


def test_what_a_dead_publisher_left_is_harmless(
    catalog: Catalog, root: Path, two: list[Release]
) -> None:
    (root / "blobs/sha256/00").mkdir(exist_ok=True)
    (root / "blobs/sha256/00" / ("00" * 32)).write_text("orphan")
    name = "20200101T000000Z-" + two[0].image
    manifest = (root / f"releases/base/{two[0].version}.json").read_text()
    (root / f"releases/base/{name}.json").write_text(manifest.replace(two[0].version, name))
    found = catalog.verify()
    assert found.ok
    assert [each.kind for each in found.findings] == ["left"] * 3  # it has no script as well
