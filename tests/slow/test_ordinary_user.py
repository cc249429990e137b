"""An ordinary user with subordinate ids builds the same bytes as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import copy_project

import imagebuilder
from imagebuilder.image import sha256_of

pytestmark = pytest.mark.slow

UID = 54321
CHILD = "observer"
RECIPE = 'extends = "base"\npackages = ["tcpdump", "jq"]\n'


def readable_python() -> str:
    """Return a Python of this version that every user can run."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        result = subprocess.run(
            [
                "setpriv",
                f"--reuid={UID}",
                f"--regid={UID}",
                "--clear-groups",
                "env",
                python,
                "-c",
                "",
            ],
            check=False,
            capture_output=True,
        )
        if result.returncode == 0:
            return python
    pytest.fail("no Python of this version can be run by ordinary users")


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is played by root")
def test_ordinary_user_builds_the_same_bytes(
    base_image: imagebuilder.Image, base_project: imagebuilder.Project, cache_dir: Path
) -> None:
    """Root builds a recipe on its parent's layer; the user, who has none, builds it all.

    One of its packages makes a user, another brings libraries.  The user has a host of another
    name, with a single processor, another umask, time zone and language, and variables that some
    programs mind.
    """
    recipe = base_project.root / f"recipes/{CHILD}.toml"
    recipe.write_text(RECIPE)
    image = imagebuilder.build_image(
        base_project, CHILD, imagebuilder.Options.make(cache_dir=cache_dir)
    )
    # What every image needs to boot, the rest of base, and what this one adds.
    assert len(list(cache_dir.glob("layers/*/*/layer.json"))) >= 3
    home = Path("/var/tmp") / f"imagebuilder-test-{os.getpid()}"
    home.mkdir(mode=0o755)
    try:
        _build_as_user(image, home)
    finally:
        # Files of subordinate ids are root's to remove here.
        shutil.rmtree(home)


def _difference(one: imagebuilder.Image, other: imagebuilder.Image, work: Path) -> str:
    """Say which files of two root file systems differ."""
    found: list[dict[str, str]] = []
    for n, image in enumerate((one, other)):
        tree = work / f"tree-{n}"
        subprocess.run(
            ["unsquashfs", "-q", "-n", "-d", str(tree), str(image.rootfs)],
            check=False,
            capture_output=True,
        )
        files = {}
        for path in sorted(tree.rglob("*")):
            facts = path.lstat()
            files[str(path.relative_to(tree))] = (
                f"{facts.st_mode:o} {facts.st_uid}/{facts.st_gid} {facts.st_mtime_ns} "
                + (str(path.readlink()) if path.is_symlink() else "")
                + (sha256_of(path) if path.is_file() and not path.is_symlink() else "")
            )
        found.append(files)
    names = sorted(found[0].keys() | found[1].keys())
    return "\n".join(
        f"{name}: {found[0].get(name)} / {found[1].get(name)}"
        for name in names
        if found[0].get(name) != found[1].get(name)
    )


def _build_as_user(expected: imagebuilder.Image, home: Path) -> None:
    (copy_project(home) / f"recipes/{CHILD}.toml").write_text(RECIPE)
    library = home / "lib"
    site = Path(imagebuilder.__file__).parent.parent
    shutil.copytree(site / "imagebuilder", library / "imagebuilder")
    for path in Path(sys.prefix).glob("lib/python*/site-packages"):
        shutil.copytree(path, library, dirs_exist_ok=True, symlinks=True)
    for path in (home, *home.rglob("*")):
        os.chown(path, UID, UID, follow_symlinks=False)
    for name, text in (
        ("passwd", f"tester:x:{UID}:{UID}::{home}:/bin/sh\n"),
        ("group", f"tester:x:{UID}:\n"),
        ("subuid", "tester:600000:65536\n"),
        ("subgid", "tester:600000:65536\n"),
    ):
        there = Path("/etc") / name
        (home / name).write_text((there.read_text() if there.exists() else "") + text)
    # The user is known in a mount namespace of this test only.  subuid and subgid may not exist.
    script = """
set -e
for name in passwd group subuid subgid; do
    if [ -e /etc/$name ]; then mount --bind "$1/$name" /etc/$name; else made=1; fi
done
test -z "$made" || { mkdir "$1/etc" && cp -a /etc/. "$1/etc" && cp "$1/subuid" "$1/subgid" \
"$1/etc" && cp "$1/passwd" "$1/group" "$1/etc" && mount --bind "$1/etc" /etc; }
cd "$1"
hostname elsewhere.example
umask 077
exec taskset --cpu-list "$5" setpriv --reuid="$2" --regid="$2" --clear-groups env -i \
PATH="$PATH" HOME="$1" PYTHONPATH="$1/lib" TZ=Asia/Tokyo LANG=de_DE.UTF-8 LC_ALL=tr_TR.UTF-8 \
DEBCONF_NONINTERACTIVE_SEEN=false PERL_HASH_SEED=7 XZ_OPT=-9 ZSTD_CLEVEL=9 TAPE=/dev/null \
"$3" -m imagebuilder.cli build "$4"
"""
    result = subprocess.run(
        [
            *("unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", script),
            *("sh", str(home), str(UID), readable_python(), CHILD),
            str(min(os.sched_getaffinity(0))),
        ],
        text=True,
        capture_output=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    image = imagebuilder.Image.open(home / f"build/{CHILD}/latest")
    image.verify()
    assert image.id == expected.id
    assert image.facts.artefacts == expected.facts.artefacts, _difference(expected, image, home)
    assert image.path.stat().st_uid == UID
