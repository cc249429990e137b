"""Builds that are killed at random moments: the next one succeeds, with the right bytes.

    python tests/bench/stress_kills.py [--kills N] [--seed N] [--recipe NAME]

Builds a recipe once, and once more after each kind of cut, which says how long that takes.  Then,
again and again: takes something out of the cache, so that more or less must be done; starts the
build; kills it with SIGKILL at a moment that is anywhere in the time that such a build takes (one
that was quicker does not count); sees that nothing runs on, is mounted or held by a loop device;
builds it to its end, compares the image with the first one by digests, and sees that cache,
project and TMPDIR have no other folders than after the first build.  Ends with 1 at the first
that differs.

Needs the package mirrors.  The seed is printed: with it the same is done at the same moments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import imagebuilder
from imagebuilder.cache import remove_tree

ROOT = Path(__file__).resolve().parents[2]
CHILD = "stressed"
SETTLING = 20.0  # seconds in which all that a killed build had started must have ended
# What is taken out before a build, and how often: what takes long is rarer.
CUTS = {"image": 5, "initrds": 4, "top layer": 4, "layers": 1, "layers and packages": 1}


def start(project: Path, cache: Path) -> subprocess.Popen[bytes]:
    """Start a build, with a TMPDIR of its own beside the project."""
    return subprocess.Popen(
        [sys.executable, "-m", "imagebuilder.cli", "build", CHILD],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "IMAGEBUILDER_CACHE": str(cache),
            "TMPDIR": str(project.parent / "tmp"),
        },
    )


def build(project: Path, cache: Path) -> tuple[float, dict[str, str]]:
    """Build to the end; return the wall seconds, and the image's digests."""
    began = time.monotonic()
    _, said = (process := start(project, cache)).communicate()
    if process.returncode:
        sys.exit(f"a build after a kill failed:\n{said.decode()}")
    image = imagebuilder.Image.open(project / f"build/{CHILD}/latest")
    image.verify()
    digests = {each.name: each.sha256 for each in image.facts.artefacts}
    return time.monotonic() - began, digests


def cut(project: Path, cache: Path, what: str) -> None:
    """Take something out, so that it must be made again."""
    shutil.rmtree(project / "build", ignore_errors=True)
    if what != "image":
        shutil.rmtree(cache / "initrds", ignore_errors=True)
    # The one on top has the most packages.  Without one below it nothing would be made anew.
    layers = sorted(cache.glob("layers/*/*/layer.json"), key=package_count, reverse=True)
    gone = {"top layer": layers[:1], "layers": layers, "layers and packages": layers}
    for facts in gone.get(what, []):
        remove_tree(facts.parent)
    if what == "layers and packages":
        shutil.rmtree(cache / "debs", ignore_errors=True)


def package_count(facts: Path) -> int:
    """Return how many packages a layer has, by the file beside it that says so."""
    return int(json.loads(facts.read_text())["package_count"])


def left_behind(*folders: Path) -> list[str]:
    """Return the processes that name a folder, and the mounts below it."""
    names = [str(each).encode() for each in folders]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if int(path.parent.name) != os.getpid() and any(name in words for name in names):
            found.append(words.replace(b"\0", b" ").decode(errors="replace")[:120])
    held = Path("/proc/self/mountinfo").read_bytes().splitlines()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # it has just gone
            held.append(path.read_bytes())
    return found + [each.decode() for each in held if any(name in each for name in names)]


def standing(folder: Path) -> dict[str, int]:
    """Return how many files and folders are in each part of the cache, in TMPDIR and in build/.

    What is inside the trees of layers does not count: they are compared by the image's digests.
    Nor do logs: there are those of what was made.
    """
    found: Counter[str] = Counter()
    for top in ("tmp", "project/build", "cache"):
        for path in (folder / top).rglob("*"):
            parts = path.relative_to(folder / top).parts
            if "logs" not in parts and not (parts[0] == "layers" and len(parts) > 3):
                found[f"{top}/{parts[0]}"] += 1
    return dict(sorted(found.items()))


def see_that_nothing_is_left(*folders: Path) -> None:
    """Wait a moment; end this program if something runs on."""
    deadline = time.monotonic() + SETTLING
    while found := left_behind(*folders):
        if time.monotonic() > deadline:
            sys.exit("a killed build left behind:\n" + "\n".join(found))
        time.sleep(0.1)


def main() -> None:
    """Kill, build, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="how many running builds are killed")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--recipe", default="base", help="what the recipe that is built extends")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="imagebuilder-kills-") as folder:
        project, cache = Path(folder) / "project", Path(folder) / "cache"
        (Path(folder) / "tmp").mkdir()
        for name in ("recipes", "kickstarts"):
            shutil.copytree(ROOT / name, project / name)
        (project / f"kickstarts/{CHILD}.ks").write_text(
            "%packages\ntree\n%end\n%post --erroronfail\necho stressed >/etc/stressed\n%end\n"
        )
        (project / f"recipes/{CHILD}.toml").write_text(
            f'extends = "{args.recipe}"\nkickstarts = ["{CHILD}.ks"]\n'
        )
        took, expected = build(project, cache)
        stood = standing(Path(folder))
        usual = {}
        for what in CUTS:
            cut(project, cache, what)
            usual[what], found = build(project, cache)
            if found != expected:
                sys.exit(f"a second build ({what}) gave other bytes")
        print("not killed: " + ", ".join(f"{what} {took:.1f} s" for what, took in usual.items()))
        count: Counter[str] = Counter()
        in_time = 0
        while (n := count.total() + 1) <= args.kills:
            (what,) = chance.choices(list(CUTS), list(CUTS.values()))
            moment = chance.random()
            cut(project, cache, what)
            process = start(project, cache)
            try:
                _, said = process.communicate(timeout=moment * usual[what])
            except subprocess.TimeoutExpired:
                process.kill()
                _, said = process.communicate()
            if process.returncode > 0:
                sys.exit(f"a build failed by itself:\n{said.decode()}")
            count[what] += process.returncode == -signal.SIGKILL
            in_time += process.returncode == 0
            see_that_nothing_is_left(project, cache)
            took, found = build(project, cache)
            differ = [name for name in expected if found.get(name) != expected[name]]
            if differ:
                sys.exit(f"kill {n} ({what}, at {moment:.2f}): {', '.join(differ)} differ")
            if (stands := standing(Path(folder))) != stood:
                sys.exit(f"kill {n} ({what}, at {moment:.2f}) left: {stands} in place of {stood}")
            print(f"{n}: {what} at {moment:.2f}, then built in {took:.1f} s", flush=True)
        told = ", ".join(f"{number} x {what}" for what, number in count.items())
        print(
            f"{args.kills} running builds were killed ({told}), {in_time} had ended before: "
            "all bytes as they should be, nothing left behind"
        )
        remove_tree(cache)


if __name__ == "__main__":
    main()
