from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePrograms, written

from imagebuilder.command import Result
from imagebuilder.engines import squashfs
from imagebuilder.engines.direct import initrd, packages
from imagebuilder.engines.direct.seal import clamp_times, seal
from imagebuilder.engines.direct.tree import Tree, environment, tree_size
from imagebuilder.errors import InputError, StepError
from imagebuilder.progress import Event, Reporter
from imagebuilder.recipe import ImageOptions

EPOCH = 1_700_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    root.mkdir()
    return Tree(root=root, log=tmp_path / "log", epoch=EPOCH)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder of the host that nothing in the tree may reach."""
    folder = tmp_path / "host"
    written(folder, {"file": "the host's", "sub/deep": "the host's"})
    return folder


def untouched(host: Path) -> bool:
    files = {str(path.relative_to(host)) for path in host.rglob("*") if path.is_file()}
    return files == {"file", "sub/deep"} and (host / "file").read_text() == "the host's"


# ----- paths --------------------------------------------------------------------------------------


def test_absolute_links_stay_in_the_tree(tree: Tree, host: Path) -> None:
    (tree.root / "etc").symlink_to(host)
    assert tree.path("/etc/file") == tree.root.joinpath(*host.parts[1:], "file")
    assert tree.read("/etc/file") == ""
    assert not tree.exists("/etc/file")
    tree.write("/etc/file", "the tree's")
    tree.link("/etc/link", "x")
    tree.remove("/etc/nosuch")
    assert tree.read("/etc/file") == "the tree's"
    assert untouched(host)


@pytest.mark.parametrize("target", ["../../../../..", "/../..", "a/../../../.."])
def test_dots_do_not_lead_out(tree: Tree, target: str) -> None:
    (tree.root / "a").mkdir()
    (tree.root / "up").symlink_to(target)
    assert tree.path("/up/x") == tree.root / "x"
    assert tree.path("../../x") == tree.root / "x"


def test_relative_links_through_other_links(tree: Tree) -> None:
    written(tree.root, {"usr/lib/systemd/x": "found"})
    (tree.root / "lib").symlink_to("usr/lib")
    (tree.root / "usr/lib/link").symlink_to("/lib/systemd")
    (tree.root / "etc").mkdir()
    (tree.root / "etc/x").symlink_to("../lib/link/x")
    assert tree.read("/lib/link/x") == "found"
    assert tree.exists("/etc/x")
    assert tree.exists("etc/x")
    (tree.root / "usr/lib/systemd/x").unlink()
    assert not tree.exists("/etc/x")


def test_links_in_a_circle_end(tree: Tree) -> None:
    (tree.root / "a").symlink_to("b")
    (tree.root / "b").symlink_to("/a")
    assert not tree.exists("/a")
    assert not tree.exists("/a/x")
    with pytest.raises(OSError, match="symbolic links"):
        tree.path("/a/x")


def test_files_replace_whatever_stands_there(tree: Tree, host: Path) -> None:
    (tree.root / "resolv.conf").symlink_to(host / "file")
    tree.write("/resolv.conf", "new", mode=0o600)
    assert not (tree.root / "resolv.conf").is_symlink()
    assert (tree.root / "resolv.conf").stat().st_mode & 0o777 == 0o600
    tree.link("/resolv.conf", "/elsewhere")
    tree.link("/deep/er/link", "x")
    assert (tree.root / "resolv.conf").readlink() == Path("/elsewhere")
    tree.remove("/resolv.conf")
    assert not (tree.root / "resolv.conf").is_symlink()
    assert untouched(host)


def test_glob_stays_in_the_tree(tree: Tree, host: Path) -> None:
    written(tree.root, {"boot/vmlinuz-2": "", "boot/vmlinuz-1": "", "boot/x": "", "boot/.y": ""})
    (tree.root / "boot/vmlinuz-3").symlink_to("/nowhere")
    assert [path.name for path in tree.glob("boot/vmlinuz-*")] == [
        "vmlinuz-1",
        "vmlinuz-2",
        "vmlinuz-3",
    ]
    assert [path.name for path in tree.glob("boot/.y")] == [".y"]
    assert tree.glob("nosuch/*") == []
    assert tree.glob("boot/x/*") == []
    (tree.root / "tmp").symlink_to(host)
    assert tree.glob("tmp/*") == []


def test_installed(tree: Tree) -> None:
    written(
        tree.root, {"var/lib/dpkg/info/bash.list": "", "var/lib/dpkg/info/libc6:amd64.list": ""}
    )
    assert tree.installed("bash")
    assert tree.installed("libc6")
    assert not tree.installed("ba")


def test_programs_in_the_image_get_nothing_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("LD_PRELOAD", "x")
    monkeypatch.setenv("https_proxy", "http://proxy")
    made = environment(7)
    assert made["SOURCE_DATE_EPOCH"] == "7"
    assert made["https_proxy"] == "http://proxy"
    assert not {"SECRET_TOKEN", "LD_PRELOAD"} & set(made)


def test_size_counts_files_with_several_names_once(tree: Tree) -> None:
    (tree.root / "sub").mkdir()
    (tree.root / "sub/a").write_bytes(b"x" * 1000)
    os.link(tree.root / "sub/a", tree.root / "b")
    (tree.root / "c").write_bytes(b"x" * 10)
    (tree.root / "loop").symlink_to(".")
    assert tree_size(tree.root) in range(1010, 1020)


# ----- seal ---------------------------------------------------------------------------------------


OWN = {
    "etc/ssh/ssh_host_rsa_key": "secret",
    "etc/ssh/ssh_host_rsa_key.pub": "public",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n",
    "var/lib/systemd/random-seed": "x",
    "var/lib/systemd/credential.secret": "x",
    "etc/iscsi/initiatorname.iscsi": "x",
    "etc/openvswitch/conf.db": "x",
    "etc/hostname": "the-builder\n",
    "etc/resolv.conf": "nameserver 10.0.0.1\n",
    "etc/shadow-": "root:x",
    "etc/.pwd.lock": "",
    "boot/initrd.img-6.1.0-1-amd64": "x",
    "var/log/dpkg.log": "x",
    "var/log/apt/history.log": "x",
    "var/log/journal/0123/system.journal": "x",
    "var/lib/apt/lists/mirror_InRelease": "x",
    "var/lib/apt/lists/partial/x": "x",
    "var/cache/apt/archives/bash.deb": "x",
    "var/cache/apt/pkgcache.bin": "x",
    "var/tmp/left/over": "x",
    "root/.bash_history": "x",
}
KEPT = {
    "etc/ssh/sshd_config": "Port 22\n",
    "etc/apt/sources.list": "deb http://me:geheim@mirror.example/debian bookworm main\n",
    "etc/apt/sources.list.d/x.list": "deb https://geheim@h/x ./\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "boot/vmlinuz-6.1.0-1-amd64": "x",
    "var/lib/dpkg/status": "x",
}


def sealed(tree: Tree, *, has_hostname: bool = False) -> Tree:
    written(tree.root, {**OWN, **KEPT})
    seal(tree, has_hostname=has_hostname)
    return tree


def test_what_belongs_to_one_machine_or_to_the_build_is_taken_out(tree: Tree) -> None:
    sealed(tree)
    left = {name for name in OWN if (tree.root / name).exists()}
    assert left == {"etc/machine-id"}
    assert (tree.root / "etc/machine-id").read_bytes() == b""
    assert {name for name in KEPT if not (tree.root / name).exists()} == set()
    # Folders that programs expect stay.
    for folder in ("var/log/apt", "var/lib/apt/lists", "etc/ssh", "var/tmp"):
        assert (tree.root / folder).is_dir()


def test_sources_keep_no_credentials(tree: Tree) -> None:
    sealed(tree)
    assert tree.read("etc/apt/sources.list") == "deb http://mirror.example/debian bookworm main\n"
    assert tree.read("etc/apt/sources.list.d/x.list") == "deb https://h/x ./\n"


def test_the_host_name_of_a_kickstart_stays(tree: Tree) -> None:
    assert sealed(tree, has_hostname=True).read("etc/hostname") == "the-builder\n"


def test_names_are_resolved_by_what_is_installed(tree: Tree) -> None:
    written(tree.root, {"usr/lib/systemd/systemd-resolved": ""})
    sealed(tree)
    assert "stub-resolv.conf" in str((tree.root / "etc/resolv.conf").readlink())


def test_a_link_for_resolv_conf_that_a_recipe_made_stays(tree: Tree) -> None:
    (tree.root / "etc").mkdir()
    (tree.root / "etc/resolv.conf").symlink_to("/run/mine")
    seal(tree, has_hostname=False)
    assert (tree.root / "etc/resolv.conf").readlink() == Path("/run/mine")


KEYS = "etc/systemd/system/ssh-host-keys.service"


def test_ssh_host_keys_are_made_at_boot(tree: Tree) -> None:
    written(tree.root, {"usr/bin/ssh-keygen": "", "lib/systemd/system/ssh.service": ""})
    assert "ssh-keygen -A" in sealed(tree).read(KEYS)
    for each in ("ssh.service", "ssh.socket"):
        link = tree.root / f"etc/systemd/system/{each}.requires/ssh-host-keys.service"
        assert link.exists()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"usr/bin/ssh-keygen": ""},
        {
            "usr/bin/ssh-keygen": "",
            "lib/systemd/system/ssh.service": "",
            "usr/lib/systemd/system/sshd-keygen@.service": "ExecStart=/usr/bin/ssh-keygen -A",
        },
        {
            "usr/bin/ssh-keygen": "",
            "lib/systemd/system/ssh.service": "",
            "etc/systemd/system/own.service": "ExecStart=/bin/sh -c 'ssh-keygen -A'",
        },
    ],
)
def test_no_unit_is_made_without_a_server_or_with_one_that_makes_keys(
    tree: Tree, files: dict[str, str]
) -> None:
    written(tree.root, files)
    assert not sealed(tree).exists(f"/{KEYS}")


def test_all_times_are_clamped(tree: Tree) -> None:
    written(tree.root, {"old": "", "new/file": ""})
    os.utime(tree.root / "old", (1000, 1000))
    (tree.root / "link").symlink_to("/nowhere")
    sealed(tree)
    times = {path: path.lstat().st_mtime for path in (tree.root, *tree.root.rglob("*"))}
    assert max(times.values()) <= EPOCH
    assert times[tree.root / "old"] == 1000
    assert times[tree.root / "new"] == EPOCH
    assert times[tree.root / "link"] == EPOCH


def test_the_same_tree_is_sealed_to_the_same_tree(tree: Tree, tmp_path: Path) -> None:
    def facts(root: Path) -> dict[str, tuple[float, int]]:
        return {
            str(path.relative_to(root)): (path.lstat().st_mtime, path.lstat().st_mode)
            for path in root.rglob("*")
        }

    first = facts(sealed(tree).root)
    (tmp_path / "again").mkdir()
    other = sealed(Tree(root=tmp_path / "again", log=tree.log, epoch=EPOCH))
    assert facts(other.root) == first
    seal(other, has_hostname=False)
    assert facts(other.root) == first


@pytest.mark.parametrize("name", ["var/tmp", "var/log", "var/lib/dhcp", "etc/ssh", "etc/apt"])
def test_a_link_in_the_tree_never_costs_the_host_a_file(tree: Tree, host: Path, name: str) -> None:
    written(host, {"ssh_host_x": "", "sources.list": "deb http://a@b/ x main"})
    folder = tree.root / name
    folder.parent.mkdir(parents=True)
    folder.symlink_to(host)
    seal(tree, has_hostname=False)
    assert (host / "ssh_host_x").exists()
    assert (host / "sources.list").read_text() == "deb http://a@b/ x main"
    for left in ("ssh_host_x", "sources.list"):
        (host / left).unlink()
    assert untouched(host)


def test_clamping_follows_no_link(tmp_path: Path, host: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(host)
    before = (host / "file").stat().st_mtime_ns
    clamp_times(root, 1000)
    assert (host / "file").stat().st_mtime_ns == before
    assert host.stat().st_mtime > 1000


# ----- the kernel and what a live root needs ------------------------------------------------------


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


# ----- the root file system -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, "-comp zstd -Xcompression-level 3"),
        ({"compression_level": 19}, "-comp zstd -Xcompression-level 19"),
        ({"compression": "gzip"}, "-comp gzip"),
        ({"compression": "gzip", "compression_level": 1}, "-comp gzip -Xcompression-level 1"),
        ({"compression": "xz"}, "-comp xz"),
        ({"compression": "lz4"}, "-comp lz4"),
    ],
)
def test_arguments_of_mksquashfs(options: dict[str, str], arguments: str) -> None:
    made = ImageOptions.model_validate(options)
    assert " ".join(squashfs.arguments(made)) == arguments


@pytest.fixture
def packed(tmp_path: Path, fake_programs: FakePrograms) -> Callable[[], list[Event]]:
    def make() -> list[Event]:
        events: list[Event] = []
        squashfs.make(
            tmp_path,
            tmp_path / "out",
            ImageOptions(),
            EPOCH,
            tmp_path / "log",
            Reporter(subject="r", observer=events.append),
        )
        return events

    return make


def test_how_the_root_is_packed(
    packed: Callable[[], list[Event]], fake_programs: FakePrograms
) -> None:
    fake_programs.write("mksquashfs", "exit 0")
    packed()
    (call,) = fake_programs.calls()
    assert f" -mkfs-time {EPOCH} " in call
    assert " -noappend " in call
    assert call.endswith("-wildcards -e dev/*")


def test_a_packer_that_fails_is_a_failure(
    packed: Callable[[], list[Event]], fake_programs: FakePrograms
) -> None:
    fake_programs.write("mksquashfs", "echo no room >&2; exit 1")
    with pytest.raises(StepError, match="packing the root file system") as caught:
        packed()
    assert "no room" in caught.value.excerpt
