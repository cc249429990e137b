"""Which releases have a package."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog, Release
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, InputError

from .conftest import image_at, passing

LISTS = [
    {"openssl": "3.0.9-1", "bash": "5.2.15-2+b7"},
    {"openssl": "3.0.15-1~deb12u1", "bash": "5.2.15-2+b7"},
    {"openssl": "3.0.15-1", "zsh": "5.9-4"},
]


@pytest.fixture
def three(catalog: Catalog, tmp_path: Path) -> list[Release]:
    images = [image_at(tmp_path / "b", seed=n, packages=each) for n, each in enumerate(LISTS)]
    found = [catalog.publish(each, channel="testing", evidence=passing(each)) for each in images]
    catalog.promote("base", found[0].version, to="stable")
    other = image_at(tmp_path / "b", "other", packages=LISTS[0])
    catalog.publish(other, channel="testing", evidence=passing(other))
    return found


def test_search(catalog: Catalog, three: list[Release]) -> None:
    def found(*args: str, **more: object) -> list[str]:
        matches = catalog.search(*args, **more)  # type: ignore[arg-type]
        return [f"{each.release.name} {each.package.version}" for each in matches]

    assert found("openssl", below="3.0.15-1") == [
        "base 3.0.9-1",
        "base 3.0.15-1~deb12u1",
        "other 3.0.9-1",
    ]
    assert found("openssl", below="3.0.9-1") == []
    assert found("openssl", name="other") == ["other 3.0.9-1"]
    assert found("zsh") == ["base 5.9-4"]
    assert found("src-zsh") == []
    assert found("src-zsh", source=True) == ["base 5.9-4"]
    assert found("nix") == []
    assert catalog.search("bash")[0].channels == ("stable",)
    with pytest.raises(InputError, match="no version"):
        catalog.search("bash", below="a b")


@pytest.mark.parametrize("distro", ["rocky-9", "of-another-tool-1"])
def test_a_distro_whose_versions_have_another_order(
    catalog: Catalog, tmp_path: Path, distro: str
) -> None:
    image = image_at(tmp_path / "b", packages={"bash": "5"}, distro=distro)
    catalog.publish(image, channel="testing", evidence=passing(image))
    assert len(catalog.search("bash")) == 1
    with pytest.raises(CatalogError, match=r"cannot be compared|is not known here"):
        catalog.search("bash", below="6")


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_damaged_lists_are_errors(
    catalog: Catalog, root: Path, three: list[Release], how: str
) -> None:
    artefact = three[1].artefact("packages")
    assert artefact
    path = root / "blobs/sha256" / artefact.sha256[:2] / artefact.sha256
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"x" * artefact.size)
    with pytest.raises(CatalogError) as caught:
        catalog.search("bash")
    assert artefact.sha256 in str(caught.value)


def test_as_it_is_typed(
    root: Path, three: list[Release], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*argv: str) -> tuple[int, Sequence[str]]:
        status = main(["catalog", *argv, "--catalog", str(root)])
        return status, capsys.readouterr().out.splitlines()

    status, lines = run("search", "openssl", "--below", "3.0.10", "--recipe", "base")
    assert status == 0
    assert [each.split() for each in lines] == [
        ["base", three[0].version, "openssl", "3.0.9-1", "stable"]
    ]
    assert run("search", "openssl", "--below", "!")[0] == 2
