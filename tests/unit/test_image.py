from __future__ import annotations

from pathlib import Path

import pytest
from fakes import small_image
from pydantic import ValidationError

from imagebuilder.errors import InputError
from imagebuilder.image import (
    EROFS,
    FACTS,
    ROOTFS,
    Image,
    artefact_names,
    boot_script,
    common_name,
    measure,
    rootfs_in,
    rootfs_of,
)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return small_image(tmp_path).path


def test_a_whole_image(built: Path) -> None:
    image = Image.open(built)
    image.verify()
    assert (image.id, image.recipe) == ("0123456789abcdef", "base")
    assert [path.name for path in (image.kernel, image.initrd, image.rootfs)] == [
        "vmlinuz",
        "initrd.img",
        "rootfs.squashfs",
    ]
    assert image.packages().packages[0].name == "a"


def test_an_image_whose_root_is_an_erofs(built: Path, tmp_path: Path) -> None:
    image = small_image(tmp_path / "other", rootfs=EROFS)
    image.verify()
    assert image.rootfs.name == image.facts.rootfs_name == rootfs_of("erofs") == "rootfs.erofs"
    assert (rootfs_in(image.path), rootfs_in(built)) == (EROFS, ROOTFS)
    assert {each.name for each in image.facts.artefacts} == set(artefact_names(EROFS))
    common = [common_name(name) for name in artefact_names(EROFS)]
    assert common == list(artefact_names(ROOTFS))


def test_a_changed_byte_is_found(built: Path) -> None:
    (built / "rootfs.squashfs").write_text("that is rootfs.squashfs\n"[:-1] + "x")
    with pytest.raises(InputError, match=r"rootfs\.squashfs is not what was built") as caught:
        Image.open(built).verify()
    assert "build -B base" in caught.value.fix


def test_a_missing_file_is_found(built: Path) -> None:
    (built / "vmlinuz").unlink()
    with pytest.raises(InputError, match=r"vmlinuz cannot be read"):
        Image.open(built).verify()


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        Image.open(tmp_path)


@pytest.mark.parametrize("change", [("{", "["), ('"debian-12"', "3"), ('"format":1', '"format":2')])
def test_facts_that_cannot_be_read(built: Path, change: tuple[str, str]) -> None:
    facts = built / FACTS
    facts.write_text(facts.read_text().replace(*change, 1))
    with pytest.raises(InputError, match="cannot be read as an image") as caught:
        Image.open(built)
    assert caught.value.where
    assert caught.value.where.file == str(facts)


def test_an_artefact_has_one_of_the_known_names(built: Path) -> None:
    with pytest.raises(ValidationError):
        measure(built / FACTS)


def test_the_boot_script_names_the_files_and_arguments() -> None:
    script = boot_script(
        title="base 0123",
        base="${cwduri}",
        kernel="vmlinuz",
        initrd="initrd.img",
        rootfs="rootfs.squashfs",
        rootfs_sha256="ab" * 32,
        rootfs_size=4096,
        args=("quiet", "console=ttyS0"),
    )
    lines = script.splitlines()
    assert lines[0] == "#!ipxe"
    kernel = next(line for line in lines if line.startswith("kernel "))
    assert kernel.startswith("kernel ${base}vmlinuz ")
    assert " root=live:${base}rootfs.squashfs " in kernel
    assert f" imagebuilder.rootfs.sha256={'ab' * 32} imagebuilder.rootfs.size=4096 " in kernel
    assert " quiet console=ttyS0 ${extra-args} " in kernel
    assert "isset ${base} || set base ${cwduri}" in lines
    # Whatever fails ends in a label that is there.
    labels = {line[1:] for line in lines if line.startswith(":")}
    assert {line.split()[-1] for line in lines if "goto" in line} == labels
