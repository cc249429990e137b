"""The kernel that is booted, and what an initrd for a live root needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import written

from imagebuilder.command import Result
from imagebuilder.engines.direct import initrd, packages
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import InputError, StepError
from imagebuilder.progress import Reporter


@pytest.mark.parametrize(
    ("releases", "newest"),
    [
        (["6.1.0-9-amd64", "6.1.0-10-amd64"], "6.1.0-10-amd64"),
        (["6.1.0-31-amd64", "6.12.0-1-amd64", "5.10.0-99-amd64"], "6.12.0-1-amd64"),
        (["6.1.9", "6.1.10"], "6.1.10"),
        (["6.1.0-9-cloud-amd64"], "6.1.0-9-cloud-amd64"),
        (["6.1.0-9-amd64", "6.1.0-9-rt-amd64", "6.1.0-10-amd64"], "6.1.0-10-amd64"),
    ],
)
def test_the_newest_kernel(tree: Tree, releases: list[str], newest: str) -> None:
    for each in (*releases, "9.9.9-without-modules"):
        written(tree.root, {f"boot/vmlinuz-{each}": ""})
    for each in releases:
        (tree.root / "usr/lib/modules" / each).mkdir(parents=True)
    assert initrd.kernel_release(tree) == newest


def test_no_kernel(tree: Tree) -> None:
    with pytest.raises(StepError, match="no kernel") as caught:
        initrd.kernel_release(tree)
    assert "linux-image-amd64" in caught.value.fix


class DracutTree(Tree):
    """A tree with a dracut that leaves out nothing, and notes what it is asked."""

    def run(self, argv: Any, **_: Any) -> Any:
        with self.log.open("a") as file:
            file.write(" ".join(argv) + "\n")
        written(self.root, {"run/imagebuilder-initrd.img": "initrd"})
        names = ("livenet", "dmsquash-live", "imagebuilder")
        said = "".join(f"Including module: {n} ***\n" for n in names)
        return Result(argv=tuple(argv), returncode=0, stdout=said, stderr="", seconds=0.0)


@pytest.mark.parametrize(
    ("files", "compress", "listing"),
    [
        (
            ["usr/bin/zstd", "usr/lib/dracut/skipcpio"],
            "--compress zstd",
            "/usr/lib/dracut/skipcpio /run/imagebuilder-initrd.img | zstd -dcq | cpio",
        ),
        ([], "--compress gzip", "cat /run/imagebuilder-initrd.img | gzip -dcq | cpio"),
    ],
)
def test_the_initrd_is_compressed_by_what_the_image_has(
    tmp_path: Path, files: list[str], compress: str, listing: str
) -> None:
    tree = DracutTree(root=tmp_path / "root", log=tmp_path / "log", epoch=0)
    written(tree.root, dict.fromkeys(files, ""))
    initrd.make(tree, "6.1.0", tmp_path / "initrd.img", Reporter(subject="r"))
    made, listed = tree.log.read_text().splitlines()
    assert compress in made
    assert listing in listed
    assert (tmp_path / "initrd.img").read_text() == "initrd"


NEEDED = {
    "boot/vmlinuz-6.1.0": "linux-image-amd64",
    "usr/bin/dracut": "dracut-core",
    "usr/bin/curl": "curl",
    "usr/lib/dracut/modules.d/90dmsquash-live": "dracut-live",
    "usr/lib/dracut/modules.d/35network": "dracut-network",
}


def test_a_tree_that_could_not_boot_is_refused_with_the_package(tree: Tree) -> None:
    for name in NEEDED:
        written(tree.root, {name: ""})
    packages.check_tree(tree)
    for name, package in NEEDED.items():
        (tree.root / name).unlink()
        with pytest.raises(StepError, match="could not boot") as caught:
            packages.check_tree(tree)
        assert caught.value.fix == f"add to %packages: {package}"
        written(tree.root, {name: ""})


def test_a_choice_of_packages_that_could_not_boot_is_refused_before_the_work() -> None:
    names = ["linux-image-amd64", "dracut-core", "dracut-live", "dracut-network", "curl"]
    packages.check_names(names, None)
    packages.check_names(["linux-image-6.1.0-9-cloud-amd64", *names[1:]], None)
    for name in names:
        if name == "dracut-core":
            continue  # others of that name bring it
        with pytest.raises(InputError) as caught:
            packages.check_names([each for each in names if each != name], None)
        assert name in caught.value.fix
