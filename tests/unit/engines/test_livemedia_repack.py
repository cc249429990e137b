"""What is packed again keeps what it had; tried with real file systems, in namespaces."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuilder import sandbox
from imagebuilder.engines.livemedia import repack
from imagebuilder.errors import StepError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")

_LABEL = b"system_u:object_r:etc_t:s0\0"
# Opens what is given, seals it, copies a file in, packs it; as the worker does.
_SCRIPT = """
import sys
from pathlib import Path
from imagebuilder import sandbox
from imagebuilder.engines import squashfs
from imagebuilder.engines.direct import files
from imagebuilder.engines.livemedia import repack
from imagebuilder.errors import Location
from imagebuilder.progress import Reporter
from imagebuilder.recipe import ImageOptions
where = Location(file="r").to_dict()
copy = files.Copy(path="/etc/new", kind="text", mode=0o644, owner="root", text="new", where=where)
for each in sys.argv[1:]:
    work = Path(each)
    image, log = work / "image", work / "log"
    open_it = repack.open_disk if work.name == "disk" else repack.open_squashfs
    tree = open_it(image, work, log, 1)
    repack.seal(tree)
    files.copy_all(tree, (copy,))
    squashfs.make(tree.root, work / "packed", ImageOptions(), 1, log, Reporter(subject="r"))
"""


def setup_tree(root: Path) -> None:
    for name in ("etc", "usr/bin", "usr/sbin", "root", "dev"):
        (root / name).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/machine-id").write_text("0123456789abcdef\n")
    (root / "etc/fstab").write_text("/dev/sda1 / ext4 defaults 0 0\n")
    (root / "root/anaconda-ks.cfg").write_text("rootpw --plaintext secret\n")
    (root / "usr/bin/ping").write_text("ping")
    (root / "usr/bin/ping").chmod(0o4755)
    # cap_net_raw=ep: vfs_cap_data of <linux/capability.h>, revision 2, effective.
    os.setxattr(
        root / "usr/bin/ping",
        "security.capability",
        bytes.fromhex("0100000200200000000000000000000000000000"),
    )
    os.setxattr(root / "usr/bin/ping", "security.selinux", b"system_u:object_r:ping_exec_t:s0\0")
    os.setxattr(root / "etc/machine-id", "security.selinux", _LABEL)
    os.setxattr(root / "usr/bin/ping", "user.note", b"kept")


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def disk_of(root: Path, disk: Path) -> Path:
    disk.parent.mkdir(parents=True)
    run("mkfs.ext4", "-q", "-d", str(root), str(disk), "16M")
    return disk


def squashfs_of(root: Path, packed: Path) -> None:
    packed.parent.mkdir()
    run("mksquashfs", str(root), str(packed), "-quiet", "-no-progress")


def test_capabilities_labels_and_modes_are_kept(host_tools: None, tmp_path: Path) -> None:
    root = tmp_path / "root"
    setup_tree(root)
    disk = disk_of(root, tmp_path / "disk/image")
    repack.check_disk(disk, tmp_path / "log")
    (tmp_path / "outer/LiveOS").mkdir(parents=True)
    (tmp_path / "outer/LiveOS/rootfs.img").hardlink_to(disk)
    squashfs_of(tmp_path / "outer", tmp_path / "nested/image")
    squashfs_of(root, tmp_path / "plain/image")
    before = hashlib.sha256(disk.read_bytes()).digest()
    folders = [tmp_path / name for name in ("disk", "nested", "plain")]
    argv = [sys.executable, "-c", _SCRIPT, *map(str, folders)]
    done = subprocess.run(sandbox.enclose(argv), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for folder in folders:
        out = folder / "out"
        run("unsquashfs", "-quiet", "-no-progress", "-d", str(out), str(folder / "packed"))
        ping = out / "usr/bin/ping"
        assert ping.stat().st_mode & 0o7777 == 0o4755
        for name in ("security.capability", "security.selinux", "user.note"):
            assert os.getxattr(ping, name) == os.getxattr(root / "usr/bin/ping", name)
        # What is one machine's own is empty, and has its label still.
        assert (out / "etc/machine-id").read_bytes() == b""
        assert os.getxattr(out / "etc/machine-id", "security.selinux") == _LABEL
        assert (out / "etc/fstab").read_bytes() == b""
        assert not (out / "root/anaconda-ks.cfg").exists()
        assert (out / "etc/new").read_text() == "new"
    # What was left is as it was, and may be packed once more.
    assert hashlib.sha256(disk.read_bytes()).digest() == before
    assert not sandbox.traces(tmp_path)


def test_a_damaged_file_system_is_refused(host_tools: None, tmp_path: Path) -> None:
    root = tmp_path / "root"
    setup_tree(root)
    disk = disk_of(root, tmp_path / "disk/image")
    with disk.open("r+b") as file:
        file.truncate(1 << 20)
    with pytest.raises(StepError, match="the installed file system is damaged"):
        repack.check_disk(disk, tmp_path / "log")
