"""What foreign runs of livemedia-creator left is found, and removed without harm to others.

Each test runs in a mount namespace of its own, with real mounts and loop devices.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# A run that was killed while dracut worked, as SIGTERM leaves it.
_LEFT = """
set -e
cd {folder}
mkdir -p tmp/lmc-work-abc/squashfs_root tmp/lorax.imgutils.xyz host/keep
echo precious >host/keep/file
truncate -s 8M tmp/lmc-work-abc/lmc-disk-1.img
mkfs.ext4 -q -L Anaconda tmp/lmc-work-abc/lmc-disk-1.img
mount -o loop tmp/lmc-work-abc/lmc-disk-1.img tmp/lorax.imgutils.xyz
mkdir -p tmp/lorax.imgutils.xyz/var/tmp tmp/lorax.imgutils.xyz/dev
mount --bind host/keep tmp/lorax.imgutils.xyz/var/tmp
mount -t tmpfs tmpfs tmp/lorax.imgutils.xyz/dev
"""
_SCRIPT = """
import sys
from pathlib import Path
from imagebuilder.engines.livemedia import leftovers

folder = Path(sys.argv[1])
found = leftovers.find([folder / "tmp"])
ours = [each for each in found if str(folder) in each.name or str(folder) in each.text]
for each in ours:
    print(f"{each.kind}|{each.name.removeprefix(str(folder) + '/')}|{each.kept}")
if "remove" in sys.argv:
    for each in leftovers.remove(ours):
        print(f"removed|{each.kind}|{each.kept}")
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs a shell script in a mount namespace, then looks; returns the lines."""

    def make(before: str, *args: str, after: str = "") -> list[str]:
        script = tmp_path / "look.py"
        script.write_text(_SCRIPT)
        look = f"{sys.executable} {script} {tmp_path} {' '.join(args)}"
        text = f"{before.replace('{folder}', str(tmp_path))}\n{look}\n{after}"
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", text],
            text=True,
            capture_output=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return make


def test_all_is_found_and_removed_and_nothing_of_the_host(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    lines = run(_LEFT, "remove", after="losetup --all; cat /proc/self/mounts")
    kinds = [line.split("|")[:2] for line in lines if line.count("|") == 2][:6]
    assert kinds == [
        ["mount", "tmp/lorax.imgutils.xyz/dev"],
        ["mount", "tmp/lorax.imgutils.xyz/var/tmp"],
        ["mount", "tmp/lorax.imgutils.xyz"],
        ["loop device", kinds[3][1]],
        ["folder", "tmp/lmc-work-abc"],
        ["folder", "tmp/lorax.imgutils.xyz"],
    ]
    removed = [line for line in lines if line.startswith("removed|")]
    # The loop device goes with its mount: mount(8) told the kernel so.
    assert [line for line in removed if not line.endswith("|")] in ([], [removed[3]])
    assert str(tmp_path) not in "\n".join(lines[len(kinds) + len(removed) :])
    assert list((tmp_path / "tmp").iterdir()) == []
    assert (tmp_path / "host/keep/file").read_text() == "precious\n"


def test_what_somebody_uses_stays_with_all_that_it_rests_on(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    busy = (
        _LEFT
        + "sleep 300 <tmp/lorax.imgutils.xyz/var/tmp/file >/dev/null 2>&1 & sleeper=$!\nsleep 0.2\n"
    )
    lines = run(busy, "remove", after="kill $sleeper; wait || true; umount -R tmp/*.xyz")
    kept = {line.split("|")[1]: line.split("|")[2] for line in lines if line.count("|") == 2}
    assert "uses it" in kept["tmp/lorax.imgutils.xyz/var/tmp"]
    assert "uses it" in kept["tmp/lorax.imgutils.xyz"]
    assert (tmp_path / "host/keep/file").read_text() == "precious\n"
    assert (tmp_path / "tmp/lmc-work-abc/lmc-disk-1.img").exists()


def test_a_loop_device_of_another_namespace_stays(run: Callable[..., list[str]]) -> None:
    other = _LEFT + (
        "unshare --mount sh -c 'echo >ready; exec sleep 300' >/dev/null 2>&1 & other=$!\n"
        "while [ ! -e ready ]; do sleep 0.05; done\n"
        "umount -R tmp/lorax.imgutils.xyz\n"
    )
    lines = run(other, after="kill $other; wait || true")
    loop = next(line for line in lines if line.startswith("loop device"))
    assert "uses it" in loop


def test_results_and_links_stay(run: Callable[..., list[str]], tmp_path: Path) -> None:
    lines = run(
        "mkdir -p tmp/lmc-work-good tmp/other host; touch tmp/lmc-work-good/PXE_CONFIG host/x\n"
        "ln -s ../host tmp/lmc-work-link; touch tmp/lmc-work-file",
        "remove",
    )
    assert lines == [
        "folder|tmp/lmc-work-good|it has results",
        "removed|folder|it has results",
    ]
    assert (tmp_path / "host/x").exists()


def test_while_one_runs_nothing_is_removed(run: Callable[..., list[str]], tmp_path: Path) -> None:
    runs = (
        "mkdir -p tmp/lmc-work-abc; cp /bin/sleep livemedia-creator\n"
        "./livemedia-creator 300 >/dev/null 2>&1 & one=$!\n"
    )
    lines = run(runs, "remove", after="kill $one; wait || true")
    assert any("may use it" in line for line in lines if line.startswith("folder"))
    assert (tmp_path / "tmp/lmc-work-abc").exists()
