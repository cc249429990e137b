"""Of a disk image the kernel is chosen, and dracut is called as its own tree can take it."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import written

from imagebuilder.command import Result
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.engines.livemedia import arguments, initrd
from imagebuilder.errors import StepError


def bzimage(release: str) -> bytes:
    head = bytearray(0x1000)
    head[0x1F1] = 4
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = struct.pack("<H", 0x300)
    head[0x500 : 0x500 + len(release) + 1] = f"{release} ".encode()
    return bytes(head)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    (root / "boot").mkdir(parents=True)
    (root / "usr/lib/modules").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    return Tree(root=root, log=tmp_path / "log", epoch=1)


def give(tree: Tree, name: str, *, said: str = "", modules: str = "") -> None:
    (tree.root / f"boot/vmlinuz-{name}").write_bytes(bzimage(said or name))
    (tree.root / f"usr/lib/modules/{modules or name}").mkdir(exist_ok=True)


def test_the_newest_kernel_is_chosen_or_the_one_that_is_named(tree: Tree) -> None:
    for release in ("5.14.0-9.el9.x86_64", "5.14.0-70.el9.x86_64", "5.14.0-10.el9.x86_64"):
        give(tree, release)
    (tree.root / "boot/vmlinuz-0-rescue-abc").write_bytes(b"")
    (tree.root / "boot/vmlinuz-9").symlink_to("/boot/vmlinuz")
    found = initrd.kernels(tree)
    assert [each.release for each in found] == [
        "5.14.0-70.el9.x86_64",
        "5.14.0-10.el9.x86_64",
        "5.14.0-9.el9.x86_64",
    ]
    assert initrd.choose(found, "").name == "5.14.0-70.el9.x86_64"
    assert initrd.choose(found, "5.14.0-9.el9.x86_64").name == "5.14.0-9.el9.x86_64"
    with pytest.raises(StepError, match=r"no kernel 6\.0") as caught:
        initrd.choose(found, "6.0")
    assert "5.14.0-10.el9.x86_64" in caught.value.excerpt


def test_the_release_is_what_the_kernel_says_if_it_has_modules_of_that(tree: Tree) -> None:
    give(tree, "6.1.x86_64", said="6.1-cloud", modules="6.1-cloud")
    give(tree, "6.2.x86_64", said="6.2-other")
    releases = {each.name: each.release for each in initrd.kernels(tree)}
    assert releases == {"6.1.x86_64": "6.1-cloud", "6.2.x86_64": "6.2.x86_64"}


def test_a_kernel_beside_its_modules_is_found(tree: Tree) -> None:
    written(tree.root, {"usr/lib/modules/6.5/modules.dep": ""})
    (tree.root / "usr/lib/modules/6.5/vmlinuz").write_bytes(bzimage("6.5"))
    assert [each.release for each in initrd.kernels(tree)] == ["6.5"]


def test_a_tree_that_cannot_boot_says_why(tree: Tree) -> None:
    with pytest.raises(StepError, match="no kernel in what was installed"):
        initrd.kernels(tree)
    give(tree, "6.1", modules="6.0")
    with pytest.raises(StepError, match=r"no modules for its kernel 6\.1") as caught:
        initrd.kernels(tree)
    assert "6.0" in caught.value.excerpt
    (tree.root / "boot/vmlinuz-6.1").write_bytes(b"")
    with pytest.raises(StepError, match="is empty"):
        initrd.kernels(tree)


def test_of_our_own_modules_those_that_the_tree_lacks_are_left_out(tree: Tree) -> None:
    ours = arguments.OUR_DRACUT[0]
    written(
        tree.root,
        {f"usr/lib/dracut/modules.d/90{each}/x": "" for each in ("livenet", "dmsquash-live")},
    )
    line = initrd.arguments(tree, "6.1", ours)
    assert line[line.index("--add") + 1] == "livenet dmsquash-live"
    assert line[-1] == "6.1"
    own = initrd.arguments(tree, "6.1", ("--add qemu-net", "--xz"))
    assert own[own.index("--add") + 1] == "qemu-net"
    assert "--xz" in own
    written(tree.root, {"usr/lib/dracut/modules.d/35network-legacy/x": ""})
    legacy = initrd.arguments(tree, "6.1", ours)
    assert legacy[legacy.index("--add") + 1] == "livenet dmsquash-live network-legacy"
    assert legacy[legacy.index("--omit") + 1] == "plymouth systemd-networkd"
    written(tree.root, {"usr/libexec/nm-initrd-generator": ""})
    assert initrd.arguments(tree, "6.1", ours) == line
    written(tree.root, {"boot/config-6.1": "CONFIG_RD_ZSTD=y\n", "usr/bin/zstd": ""})
    quick = initrd.arguments(tree, "6.1", ours)
    assert quick[quick.index("--compress") + 1] == "zstd -T0 -3"
    assert "--compress" not in initrd.arguments(tree, "6.0", ours)
    (tree.root / "usr/lib/dracut/modules.d/90livenet").rename(tree.root / "elsewhere")
    with pytest.raises(StepError, match="lacks its module livenet") as caught:
        initrd.arguments(tree, "6.1", ours)
    assert "dracut-live" in caught.value.fix


@pytest.mark.parametrize(
    ("said", "status", "error"),
    [
        ("dracut: dracut module 'livenet' cannot be found or installed.", 0, "module livenet"),
        ("dracut: dracut module 'xfs2' cannot be found or installed.", 1, "no module xfs2: exit"),
        ("dracut[E]: FAILED: x", 1, "dracut failed: exit status 1"),
    ],
)
def test_what_dracut_leaves_out_is_said(tmp_path: Path, said: str, status: int, error: str) -> None:
    result = Result(argv=("dracut",), returncode=status, stdout=said, stderr="", seconds=1)
    with pytest.raises(StepError, match=error) as caught:
        initrd.check_said(result, tmp_path / "log")
    assert said in caught.value.excerpt
    good = "*** Including module: livenet ***\nmodule 'livenet' depends on 'network'"
    initrd.check_said(replace(result, stdout=good, returncode=0), tmp_path / "log")
