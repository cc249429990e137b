"""Publishers that are killed, that run into each other, and disks that are full."""

import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog
from imagebuilder.errors import CatalogError
from imagebuilder.image import Image

from .conftest import MakeImage, image_at, passing
from .consistency import broken_promises


def in_child(work: Callable[[], object]) -> int:
    """Run something in a fork of this process; return its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def die_at(n: int) -> None:
    """Kill this process with SIGKILL at its n-th call that touches a file from now on."""
    seen = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock"):
            seen += 1
            if seen == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def test_a_publisher_that_is_killed_anywhere_leaves_the_old_or_the_new_release(
    catalog: Catalog, root: Path, make_image: MakeImage, tmp_path: Path
) -> None:
    old_image = make_image(seed=0)
    catalog.publish(old_image, channel="testing", evidence=passing(old_image))
    n, killed = 1, 0
    moved: list[bool] = []
    while True:
        image = make_image(seed=n)
        before = catalog.show("base", "testing")

        def publish(image: Image = image, n: int = n) -> None:
            die_at(n)
            catalog.publish(image, channel="testing", evidence=passing(image))

        status = in_child(publish)
        assert broken_promises(root) == [], f"killed at call {n}"
        now = catalog.show("base", "testing")
        assert now == before or now.image == image.id
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            break
        killed += 1
        moved.append(now != before)
        # Whoever comes next is not hindered, and mends what was left undone.
        if n % 5 == 1:
            again = catalog.publish(image, channel="testing", evidence=passing(image))
            assert again.version in (root / "boot/base/testing.ipxe").read_text()
            assert broken_promises(root) == []
        n += 2
    assert killed > 40
    assert True in moved
    assert False in moved
    Image.open(catalog.pull("base", "testing", tmp_path / "out")).verify()


def test_a_first_publisher_that_is_killed_anywhere_hinders_nobody(
    tmp_path: Path, image: Image
) -> None:
    n = 1
    while True:
        root = tmp_path / f"catalog-{n}"
        catalog = Catalog.open(str(root))

        def publish(catalog: Catalog = catalog, n: int = n) -> None:
            die_at(n)
            catalog.publish(image, channel="testing", evidence=passing(image))

        if not os.WIFSIGNALED(in_child(publish)):
            break
        if root.exists():
            assert broken_promises(root) == []
        if n % 16 == 1:
            catalog.publish(image, channel="testing", evidence=passing(image))
            assert broken_promises(root) == []
        n += 3
    assert n > 60


def test_a_pull_that_is_killed_anywhere_leaves_the_old_or_the_new_folder(
    catalog: Catalog, make_image: MakeImage, tmp_path: Path
) -> None:
    images = [make_image(seed=n) for n in (1, 2)]
    releases = [
        catalog.publish(each, channel="testing", evidence=passing(each)).version for each in images
    ]
    out = tmp_path / "out"
    catalog.pull("base", releases[0], out)
    n = 1
    while True:
        other = releases[Image.open(out).id == images[0].id]

        def pull(n: int = n, other: str = other) -> None:
            die_at(n)
            catalog.pull("base", other, out)

        status = in_child(pull)
        found = Image.open(out)
        found.verify()
        assert found.id in [each.id for each in images]
        if not os.WIFSIGNALED(status):
            break
        n += 1
    assert n > 15
    assert [p.name for p in tmp_path.iterdir() if ".pull-" in p.name] == []


def test_sixteen_publishers_of_one_channel_lose_nothing(
    catalog: Catalog, root: Path, tmp_path: Path
) -> None:
    images = [image_at(tmp_path / "build", seed=n) for n in range(16)]
    pids = []
    for image in images:
        pid = os.fork()
        if pid == 0:
            try:
                catalog.publish(image, channel="testing", evidence=passing(image))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    while pids:
        done, status = os.waitpid(-1, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            pids.remove(done)
        elif root.exists():
            assert broken_promises(root) == []

    assert {each.image for each in catalog.releases()} == {each.id for each in images}
    history = catalog.history("base", "testing")
    assert [each.generation for each in history] == list(range(1, 17))
    assert {each.release for each in history} == {each.version for each in catalog.releases()}
    assert history[-1].release in (root / "boot/base/testing.ipxe").read_text()
    assert broken_promises(root) == []


def test_two_publishers_of_the_same_image_make_whole_releases(
    catalog: Catalog, root: Path, image: Image
) -> None:
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                catalog.publish(image, channel="testing", evidence=passing(image), force=True)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    # Those of the same second are the same release: nothing in them differs.
    assert 1 <= len(catalog.releases()) <= 4
    named = {each.release for each in catalog.history("base", "testing")}
    assert named == {each.version for each in catalog.releases()}
    assert broken_promises(root) == []


def test_a_long_history_moves_into_pages(
    catalog: Catalog, root: Path, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagebuilder.catalog import channels

    monkeypatch.setattr(channels, "_ROOM", 4)
    monkeypatch.setattr(channels, "_PAGE", 2)
    for _ in range(11):
        catalog.publish(image, channel="testing", evidence=passing(image), force=True)
    pointer = catalog.channel("base", "testing")
    assert len(pointer.history) <= 4
    history = catalog.history("base", "testing")
    assert [each.generation for each in history] == list(range(1, 12))
    assert [each.release for each in history] == [each.version for each in catalog.releases()]
    page = sorted((root / "history/base/testing").iterdir())[1]
    page.unlink()
    with pytest.raises(CatalogError, match="gap"):
        catalog.history("base", "testing")


def test_a_full_disk(tmp_path: Path) -> None:
    """A small file system in memory, mounted where nobody else sees it, fills up."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import ctypes, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from catalog.conftest import image_at, passing
from catalog.consistency import broken_promises
from imagebuilder.catalog import Catalog
from imagebuilder.errors import CatalogError, HostError

work = Path(sys.argv[1])
mount = work / "small"
mount.mkdir()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"tmpfs", bytes(mount), b"tmpfs", 0, b"size=500k"):
    sys.exit(77)
catalog = Catalog.open(str(mount / "catalog"))
first = image_at(work, seed=1, size=20000)
old = catalog.publish(first, channel="testing", evidence=passing(first))
second = image_at(work, seed=2, size=150000)
try:
    catalog.publish(second, channel="testing", evidence=passing(second))
except CatalogError as error:
    assert "No space left" in error.what, error
    assert "make room" in error.fix, error
    assert str(mount) in str(error.where), error
else:
    raise SystemExit("fits?")
assert catalog.show("base", "testing") == old
assert broken_promises(mount / "catalog") == []
assert list((mount / "catalog/.tmp").iterdir()) == []
try:
    catalog.pull("base", "testing", mount / "out1")
    catalog.pull("base", "testing", mount / "out2")
except HostError as error:
    assert "No space left" in error.what, error
else:
    raise SystemExit("fits?")
assert [each.name for each in mount.iterdir() if each.name.startswith(".")] == []
third = image_at(work, seed=3, size=1000)
catalog.publish(third, channel="testing", evidence=passing(third))
"""
    )
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--mount", sys.executable, script, tmp_path, Path(__file__).parents[1]],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if (done.returncode == 77 or "unshare:" in done.stderr) and os.environ.get("CI") != "true":
        pytest.skip("no private mounts here")
    assert done.returncode == 0, done.stderr


def test_a_limit_on_file_sizes(catalog: Catalog, root: Path, make_image: MakeImage) -> None:
    first, second = make_image(seed=1), make_image(seed=2, size=300_000)
    old = catalog.publish(first, channel="testing", evidence=passing(first))

    def publish() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(CatalogError, match="File too large"):
            catalog.publish(second, channel="testing", evidence=passing(second))

    assert in_child(publish) == 0
    assert catalog.show("base", "testing") == old
    assert broken_promises(root) == []


def test_a_folder_that_cannot_be_written(catalog: Catalog, root: Path, image: Image) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from catalog.conftest import image_at, passing
from imagebuilder.catalog import Catalog
from imagebuilder.errors import CatalogError
import imagebuilder.smoke  # loaded late otherwise, from where that user may not read
image = image_at(Path({str(root.parent / "other")!r}), seed=9)
catalog = Catalog.open({str(root)!r})
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    catalog.publish(image, channel="testing", evidence=passing(image))
except CatalogError as error:
    assert "Permission denied" in error.what, error
    assert "let this user write there" in error.fix, error
else:
    raise SystemExit("could write")
assert len(catalog.releases()) == 1
"""
    for path in (root.parent, *root.parent.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
        )
    finally:
        for path in (root, *root.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
    assert done.returncode == 0, done.stderr


def test_a_stale_script_never_replaces_a_newer_one(
    catalog: Catalog, root: Path, make_image: MakeImage
) -> None:
    from imagebuilder.catalog import channels
    from imagebuilder.progress import Cancel

    first, second = make_image(seed=1), make_image(seed=2)
    old = catalog.publish(first, channel="testing", evidence=passing(first))
    old_pointer = catalog.channel("base", "testing")
    catalog.publish(second, channel="testing", evidence=passing(second))
    text = (root / "boot/base/testing.ipxe").read_text()
    channels.publish_script(catalog.store, old_pointer, old, Cancel())
    assert (root / "boot/base/testing.ipxe").read_text() == text
    assert json.loads((root / "channels/base/testing.json").read_text())["generation"] == 2
