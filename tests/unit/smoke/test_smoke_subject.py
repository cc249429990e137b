from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.checks import CommandCheck
from imagebuilder.errors import InputError
from imagebuilder.image import KERNEL, ROOTFS, Image, script_arguments
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import Subject, report_error, smoke_test

SETTINGS = {"base": "http://x/", "extra-args": "console=ttyS0"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {"kernel": tmp_path / "k", "initrd": tmp_path / "i", "rootfs": tmp_path / "r"}
    for name, path in found.items():
        path.write_text(f"a {name}")
    return found


def test_an_image_is_what_it_was(image: Image) -> None:
    subject = Subject.of_image(image)
    assert (subject.recipe, subject.id, subject.smoke_dir) == (
        image.recipe,
        image.id,
        image.smoke_dir,
    )
    assert subject.local(KERNEL) == image.kernel
    assert subject.kernel_release == "6.1.0"
    image.rootfs.write_text("other")
    with pytest.raises(InputError, match="is not what was built"):
        subject.verify()


def test_files_of_others_are_booted_with_their_own_arguments(
    files: dict[str, Path], tmp_path: Path
) -> None:
    subject = Subject.of_files(
        **files, args="root=nfs:{base}tree lsm=none image={rootfs}", output=tmp_path / "out"
    )
    assert script_arguments(subject.text, SETTINGS) == (
        f"root=nfs:http://x/tree lsm=none image=http://x/{ROOTFS} console=ttyS0"
    )
    assert subject.local(ROOTFS) == files["rootfs"]
    live = Subject.of_files(**files, args="quiet", output=tmp_path / "out")
    assert f"root=live:http://x/{ROOTFS} rd.live.image" in script_arguments(live.text, SETTINGS)
    assert live.id != subject.id
    files["rootfs"].write_text("another")
    assert Subject.of_files(**files, args="quiet", output=tmp_path / "out").id != live.id


def test_an_image_without_a_root_file_system_gets_no_root(
    files: dict[str, Path], tmp_path: Path
) -> None:
    del files["rootfs"]
    subject = Subject.of_files(**files, args="quiet", output=tmp_path)
    assert "root=" not in subject.text
    with pytest.raises(InputError, match="no root file system is given") as caught:
        Subject.of_files(**files, args="root={rootfs}", output=tmp_path)
    assert "--rootfs" in caught.value.fix


def test_what_cannot_be_read_or_called_so_is_refused(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no recipe name"):
        Subject.of_files(**files, name="My Image", output=tmp_path)
    with pytest.raises(InputError, match="one line"):
        Subject.of_files(**files, args="a\nb", output=tmp_path)
    files["kernel"].unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Subject.of_files(**files, output=tmp_path)


def test_files_of_others_are_tested_and_the_report_is_where_it_was_asked_for(
    files: dict[str, Path], fake_qemu: Path, tmp_path: Path
) -> None:
    fake_qemu.write_text("echo iPXE\n")
    output = tmp_path / "out"
    subject = Subject.of_files(**files, name="theirs", output=output)
    report = smoke_test(
        subject, [CommandCheck(command="true")], SmokeOptions(), accel="tcg", cache_dir=tmp_path
    )
    assert not report.passed
    assert report.recipe == "theirs"
    assert report.source == f"{files['kernel']}, {files['initrd']}, {files['rootfs']}"
    assert (output / "report.json").exists()
    assert (output / "pxe-bios" / "console.log").exists()
    assert str(output) in str(report_error(report, subject).log)
