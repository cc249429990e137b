"""Trees come out of archives as they went in, and of hostile archives comes nothing."""

from __future__ import annotations

import base64
import io
import os
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import zstandard

from imagebuilder.engines.direct import layers
from imagebuilder.errors import StepError
from imagebuilder.progress import Cancel
from imagebuilder.remote.manifest import Tree
from imagebuilder.remote.trees import RefusedError, pack, unpack
from imagebuilder.remote.worker import Order, run_pack, run_unpack

ROOT = os.geteuid() == 0
USER = 100_000
# VFS_CAP_REVISION_2 with cap_net_raw, as setcap(8) writes it.
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "etc/empty").mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc/hosts").write_text("localhost\n")
    (root / "usr/bin/tool").write_bytes(os.urandom(70_000))
    (root / "usr/bin/tool").chmod(0o4755)
    os.link(root / "usr/bin/tool", root / "usr/bin/also")
    (root / "etc/link").symlink_to("../usr/bin//tool")
    (root / "etc/gone").symlink_to("/nowhere")
    (root / ("etc/" + "n" * 200)).write_text("a long name")
    (root / os.fsdecode(b"etc/\xff\xfe")).write_text("no UTF-8")
    (root / "etc/secret").mkdir(mode=0o700)
    os.utime(root / "etc/hosts", ns=(0, 1_700_000_000_123_456_789))
    os.utime(root / "etc/link", ns=(0, 1_600_000_000_000_000_001), follow_symlinks=False)
    if ROOT:
        os.chown(root / "etc/hosts", 33, 44)
        os.chown(root / "etc/gone", 5, 6, follow_symlinks=False)
        os.setxattr(root / "usr/bin/tool", "security.capability", CAPABILITY)
    os.utime(root / "etc", ns=(0, 1_500_000_000_000_000_000))
    return root


def described(root: Path) -> dict[str, object]:
    """Say all of a tree that an archive is to keep."""
    found: dict[str, object] = {}
    inodes: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        name, facts = str(path.relative_to(root)), path.lstat()
        what: object = None
        if stat.S_ISLNK(facts.st_mode):
            what = os.readlink(path)
        elif stat.S_ISREG(facts.st_mode):
            what = inodes.setdefault(facts.st_ino, name), path.read_bytes()
        marks = {
            each: os.getxattr(path, each, follow_symlinks=False)
            for each in os.listxattr(path, follow_symlinks=False)
        }
        owner = (facts.st_uid, facts.st_gid)
        found[name] = (facts.st_mode, owner, facts.st_mtime_ns, marks, what)
    return found


def test_a_tree_comes_out_as_it_went_in(tree: Path, tmp_path: Path) -> None:
    before = described(tree)
    packed = run_pack(Order(tree=tree, archive=tmp_path / "archive"), Cancel())
    assert packed.size == (tmp_path / "archive").stat().st_size
    (tmp_path / "out").mkdir()
    order = Order(tree=tmp_path / "out", archive=tmp_path / "archive", limits=packed.tree)
    run_unpack(order, Cancel())
    assert described(tmp_path / "out") == before


def test_the_same_tree_gives_the_same_archive(tree: Path, tmp_path: Path) -> None:
    made = [
        run_pack(Order(tree=tree, archive=tmp_path / f"archive-{n}"), Cancel()) for n in range(2)
    ]
    assert made[0] == made[1]


def test_a_secret_is_not_packed_wherever_it_stands(tree: Path, tmp_path: Path) -> None:
    # Over the edge of two pieces that are read at a time.
    (tree / "usr/data").write_bytes(b"x" * ((16 << 10) - 3) + b"geheim" + b"y" * 100)
    order = Order(tree=tree, archive=tmp_path / "archive", forbidden=("geheim",))
    with pytest.raises(StepError, match="usr/data has a secret in it"):
        run_pack(order, Cancel())
    (tree / "usr/data").unlink()
    (tree / "usr/link").symlink_to("/x/geheim")
    with pytest.raises(RefusedError, match="usr/link has a secret"):
        pack(tree, io.BytesIO(), forbidden=("geheim",))


def test_a_url_with_a_password_is_not_packed(tree: Path) -> None:
    (tree / "etc/hosts").write_text('Acquire::http::Proxy "http://me:geheim@proxy:3128";\n')
    with pytest.raises(RefusedError, match="etc/hosts has a URL with a password"):
        pack(tree, io.BytesIO(), checked=("etc",))
    assert pack(tree, io.BytesIO(), checked=("usr",)).entries > 5


def test_what_cannot_be_kept_is_not_packed(tree: Path) -> None:
    os.mkfifo(tree / "etc/pipe")
    with pytest.raises(RefusedError, match="etc/pipe is neither"):
        pack(tree, io.BytesIO())


def as_user(*args: str, stdin: str = "") -> str:
    """Run Python where this user is root, and the other ids are subordinate ones.

    sandbox.enclose does that for an ordinary user; these ids need not stand in /etc/subuid.
    """
    script = 'read ready && exec setpriv --reuid=0 --regid=0 --clear-groups "$@"'
    process = subprocess.Popen(
        [
            "unshare",
            "--user",
            "--keep-caps",
            "--",
            "sh",
            "-c",
            script,
            "sh",
            sys.executable,
            "-P",
            *args,
        ],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    place = Path(f"/proc/{process.pid}")
    deadline = time.monotonic() + 20
    while (place / "ns/user").readlink() == Path("/proc/self/ns/user").readlink():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for name in ("uid_map", "gid_map"):
        (place / name).write_text(f"0 0 1\n1 {USER + 1} 65535\n")
    out, err = process.communicate(f"\n{stdin}", timeout=60)
    assert process.returncode == 0, out + err
    return out.strip()


@pytest.mark.skipif(not ROOT, reason="other ids are given by root")
def test_an_ordinary_user_gets_the_same_tree(tree: Path, tmp_path: Path) -> None:
    """His files have subordinate ids; where images are made they have those of the image."""
    packed = run_pack(Order(tree=tree, archive=tmp_path / "archive"), Cancel())
    order = Order(tree=tmp_path / "out", archive=tmp_path / "archive", limits=packed.tree)
    order.tree.mkdir()
    as_user("-m", "imagebuilder.remote.worker", stdin=order.model_dump_json())
    assert (order.tree / "etc/hosts").stat().st_uid == USER + 33
    look = "import sys, pathlib; from imagebuilder.engines.direct.layers import listing; "
    look += "print(listing(pathlib.Path(sys.argv[1])))"
    assert as_user("-c", look, str(order.tree)) == layers.listing(tree)
    # The kernel notes in whose namespace a capability holds: from inside it is as it was.
    look = "import os, sys; print(os.getxattr(sys.argv[1], 'security.capability').hex())"
    assert as_user("-c", look, str(order.tree / "usr/bin/tool")) == CAPABILITY.hex()


def entry(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = kind, 0o755, os.geteuid(), os.getegid()
    for key, value in more.items():
        setattr(info, key, value)
    return info


def archive_of(*entries: tarfile.TarInfo, data: bytes = b"") -> io.BytesIO:
    """Write an archive of entries, each file with the same bytes; the first folder is the tree."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry(".", tarfile.DIRTYPE))
        for each in entries:
            if each.isreg():
                each.size = len(data)
            tar.addfile(each, io.BytesIO(data) if each.isreg() else None)
    return io.BytesIO(zstandard.compress(plain.getvalue()))


FOLDER = entry("a", tarfile.DIRTYPE)

HOSTILE: dict[str, tuple[tuple[tarfile.TarInfo, ...], str]] = {
    "absolute": ((entry("/escaped"),), "no place"),
    "upwards": ((entry("../escaped"),), "no place"),
    "upwards from a folder": ((FOLDER, entry("a/../../escaped")), "no place"),
    "the tree itself": ((entry("a/.", tarfile.DIRTYPE),), "no place"),
    "no folder": ((entry("b/file"),), "no place"),
    "through a link": (
        (entry("a", tarfile.SYMTYPE, linkname="/tmp"), entry("a/escaped")),
        "no place",
    ),
    "in the place of a link": (
        (entry("a", tarfile.SYMTYPE, linkname="../escaped"), entry("a")),
        "twice",
    ),
    "a file twice": ((entry("a"), entry("a")), "twice"),
    "a folder in the place of a link": (
        (entry("a", tarfile.SYMTYPE, linkname=".."), entry("a", tarfile.DIRTYPE)),
        "twice",
    ),
    "a hard link out of it": (
        (entry("a", tarfile.LNKTYPE, linkname="../outside"),),
        "link to what is not in it",
    ),
    "a hard link to a link": (
        (
            entry("a", tarfile.SYMTYPE, linkname="/etc/passwd"),
            entry("b", tarfile.LNKTYPE, linkname="a"),
        ),
        "link to what is not in it",
    ),
    "a device": ((entry("a", tarfile.CHRTYPE, devmajor=1, devminor=3),), "neither a file"),
    "a block device": ((entry("a", tarfile.BLKTYPE, devmajor=8),), "neither a file"),
    "a pipe": ((entry("a", tarfile.FIFOTYPE),), "neither a file"),
    "a mark of an overlay": (
        (
            entry(
                "a",
                pax_headers={
                    "LIBARCHIVE.xattr.trusted.overlay.opaque": base64.b64encode(b"y").decode()
                },
            ),
        ),
        "attribute",
    ),
    "an attribute that is none": (
        (entry("a", pax_headers={"LIBARCHIVE.xattr.user.x": "%"}),),
        "attribute",
    ),
    "a time": ((entry("a", pax_headers={"mtime": "1e400"}),), "time"),
    "an owner": ((entry("a", pax_headers={"uid": str(1 << 40)}),), "owner"),
    "many": (tuple(entry(f"f{n}") for n in range(9)), "more in it than 8"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused(name: str, tmp_path: Path) -> None:
    entries, why = HOSTILE[name]
    (tmp_path / "outside").write_text("mine")
    into = tmp_path / "out"
    into.mkdir()
    with pytest.raises(RefusedError, match=why):
        unpack(archive_of(*entries), into, size=1 << 20, entries=8)
    assert not (tmp_path / "escaped").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "outside"]


def test_the_worker_sees_nothing_beside_the_folder(tmp_path: Path) -> None:
    """Whatever an archive says, the folder is the root of all that its reader sees."""
    (tmp_path / "archive").write_bytes(archive_of(*HOSTILE["upwards"][0]).getvalue())
    into = tmp_path / "out"
    into.mkdir()
    order = Order(tree=into, archive=tmp_path / "archive", limits=Tree(size=100, entries=8))
    with pytest.raises(StepError, match="no place"):
        run_unpack(order, Cancel())
    order = Order(tree=into, archive=Path("/dev/null"), limits=Tree(size=100, entries=8))
    with pytest.raises(StepError, match="cannot be read"):
        run_unpack(order, Cancel())


def test_no_more_bytes_are_taken_than_are_named(tmp_path: Path) -> None:
    archive = archive_of(entry("a"), data=b"\0" * (4 << 20))
    assert len(archive.getvalue()) < 2000  # a bomb
    with pytest.raises(RefusedError, match="more than is named"):
        unpack(archive, tmp_path, size=1 << 20, entries=8)
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 1 << 20


def test_headers_count_as_well(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry(".", tarfile.DIRTYPE, pax_headers={"comment": "x" * (1 << 20)}))
    with pytest.raises(RefusedError, match="more than is named"):
        unpack(io.BytesIO(zstandard.compress(plain.getvalue())), tmp_path, size=0, entries=8)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_an_archive_that_is_cut_short_is_refused(part: float, tree: Path, tmp_path: Path) -> None:
    whole = io.BytesIO()
    packed = pack(tree, whole)
    data = whole.getvalue()[: int(part * len(whole.getvalue()))]
    into = tmp_path / "out"
    into.mkdir()
    with pytest.raises(RefusedError):
        unpack(io.BytesIO(data), into, size=packed.size, entries=packed.entries)


def test_noise_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"noise" * 100, zstandard.compress(os.urandom(5000))):
        with pytest.raises(RefusedError, match=r"cannot be read|no tree"):
            unpack(io.BytesIO(data), tmp_path, size=1 << 20, entries=8)
