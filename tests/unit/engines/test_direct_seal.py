"""What is taken out of a tree at the end, so that it is the same each time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import written
from treekit import EPOCH, untouched

from imagebuilder.engines.direct.seal import clamp_times, seal
from imagebuilder.engines.direct.tree import Tree

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
