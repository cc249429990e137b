"""What dracut really asks the kernel for, beside what is said of it.

An initrd is used again if nothing has changed that dracut may ask for, as its scripts say.  Here
dracut runs for real, with every system call that names a file written down: each of these paths
must be one of which a change would have been noticed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

import imagebuilder
from imagebuilder.comparison.members import of_initrd
from imagebuilder.engines.direct import dracut_asks, initrd
from imagebuilder.engines.direct.initrd_reuse import Kept, may_matter
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.image import INITRD
from imagebuilder.progress import Cancel

pytestmark = pytest.mark.slow

# In a mount namespace of its own, on an overlay whose changes stay in memory.
RUN = """
set -eu
lower=$1 modules=$2 out=$3
shift 3
mount -t tmpfs none /mnt
mkdir /mnt/root /mnt/upper /mnt/work
mount -t overlay -o "lowerdir=$lower,upperdir=/mnt/upper,workdir=/mnt/work$MARKS" none /mnt/root
cd /mnt/root
mkdir -p usr/lib/dracut/modules.d/95imagebuilder
cp "$modules"/*.sh usr/lib/dracut/modules.d/95imagebuilder/
chmod 755 usr/lib/dracut/modules.d/95imagebuilder/*.sh
mount --rbind /dev dev
mount -t proc none proc
mount --rbind /sys sys
mount -t tmpfs none run
exec strace -f --seccomp-bpf -qq -s 4096 -e trace=%file -o "$out" chroot . "$@"
"""
CALL = re.compile(r'\d+ +(?:<\.\.\. )?\w+\([^"]*"((?:[^"\\]|\\.)*)"')
# Not of the image: what the kernel shows, and where dracut puts its own work.
OUTSIDE = ("/proc", "/sys", "/dev", "/run", "/tmp", "/nowhere")
# What curl's libraries look for in the home of a user, ldconfig in the initrd (it has that as its
# root), zstd for its own input and output, and the linker, whose cache follows from the libraries.
NOTHING = re.compile(r"etc/ld\.so\.cache|root/\.?ldaprc|var/cache/ldconfig.*|\*std(in|out)\*.*")
# Listed to find names that stand in the scripts as patterns (fsck*, libnss_*), and not for all.
SEARCHED = re.compile(r"(usr/)?(sbin|lib(64)?(/x86_64-linux-gnu)?(/tls)?(/x86_64)?)?$")


@pytest.fixture(scope="module")
def layer(base_image: imagebuilder.Image, cache_dir: Path) -> Path:
    """The package layer that the image is on."""
    (step,) = (each for each in base_image.facts.steps if each.name == "packages")
    return next(cache_dir.glob(f"layers/*/{step.id}/tree"))


@pytest.fixture(scope="module")
def calls(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The system calls of a run of dracut that name a file."""
    trace = tmp_path_factory.mktemp("trace") / "trace"
    tree = Tree(root=layer, log=trace.with_name("log"), epoch=0)
    is_root = os.geteuid() == 0
    user = [] if is_root else ["--user", "--map-auto", "--map-root-user"]
    argv = ["unshare", *user, "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", RUN, "sh"]
    modules = Path(initrd.__file__).with_name("dracut")
    dracut = initrd.arguments(tree, initrd.kernel_release(tree))
    subprocess.run(
        [*argv, str(layer), str(modules), str(trace), *dracut],
        cwd="/",
        check=True,
        capture_output=True,
        timeout=600,
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/nowhere",
            "MARKS": "" if is_root else ",userxattr",
        },
    )
    return trace.read_text(errors="replace").splitlines()


@pytest.fixture
def kept(base_image: imagebuilder.Image, layer: Path, tmp_path: Path) -> Kept:
    """What is noted of the initrd of the image."""
    taken = {each.strip("./") for each in of_initrd(base_image.path / INITRD, tmp_path, Cancel())}
    assert {"init", "usr/bin/bash"} <= taken
    return Kept(
        sha256="", changes={}, taken=frozenset(taken), libraries=dracut_asks.libraries(layer)
    )


def paths(calls: Iterable[str]) -> set[str]:
    """Return the paths in the image that calls name."""
    named = {found[1] for line in calls if (found := CALL.match(line))}
    return {each for each in named if each.startswith("/") and not each.startswith(OUTSIDE)}


def inside(path: str) -> str:
    """Return a path as layers have it: relative, with /usr merged."""
    plain = os.path.normpath(path).lstrip("/")
    return f"usr/{plain}" if re.match(r"(bin|sbin|lib|lib32|lib64)(/|$)", plain) else plain


def test_each_path_that_dracut_asks_for_is_one_that_counts(
    layer: Path, calls: list[str], kept: Kept
) -> None:
    asks = dracut_asks.read(layer)
    asked = paths(calls)
    assert len(asked) > 1000  # it was a whole run
    assert {"/usr/lib/dracut/dracut-install", "/etc/dracut.conf"} <= asked
    unseen = {inside(each) for each in asked - {"/"}}
    unseen = {each for each in unseen if not may_matter(each, kept, asks)}
    assert {each for each in unseen if not NOTHING.fullmatch(each)} == set()


def test_in_folders_that_dracut_lists_a_new_file_counts(
    layer: Path, calls: list[str], kept: Kept
) -> None:
    asks = dracut_asks.read(layer)
    listed = {inside(each) for each in paths(line for line in calls if "O_DIRECTORY" in line)}
    assert {"etc/dracut.conf.d", "usr/lib/modprobe.d"} <= listed
    unseen = {each for each in listed if not may_matter(f"{each}/new-file", kept, asks)}
    assert {each for each in unseen - {"."} if not SEARCHED.match(each)} == set()


def test_what_a_common_tool_brings_does_not_count(layer: Path, kept: Kept) -> None:
    asks = dracut_asks.read(layer)
    brought = (
        "usr/bin/htop",
        "usr/share/applications/htop.desktop",
        "usr/bin/tmux",
        "usr/lib/x86_64-linux-gnu/libutempter.so.0",
        "usr/lib/systemd/system/rsync.service",
        "etc/init.d/rsync",
        "etc/default/rsync",
        "usr/bin/jq",
    )
    assert [each for each in brought if may_matter(each, kept, asks)] == []
    assert may_matter("usr/bin/less", kept, asks)  # dracut takes it if it is there
