"""How long builds take, against the same tools run by hand in sequence, in one run.

    python tests/bench/bench_build.py [--runs N] [--only NAME...]

Prints seconds, ratios, and what is wanted of each; it judges nothing.  Needs root (the
reference runs mmdebstrap, dracut and mksquashfs plainly) and the package mirrors.  All is
measured alternately, round by round, so that a machine that changes its speed changes all.
Nothing is removed before the end of a round: ext4 looks for other numbers than those of files
that were removed in the last five minutes, and so makes new ones several times as slowly.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imagebuilder
from imagebuilder.engines.direct import initrd
from imagebuilder.engines.direct.resolve import wanted
from imagebuilder.engines.direct.sources import find_sources

ROOT = Path(__file__).resolve().parents[2]
NAME = "base"
FRAGMENT = "kickstarts/base/serial-console.ks"
ADDED = ("less", "jq", "tree", "rsync", "tmux")  # one package each for five recipes of one parent
FIVE = tuple(f"five-{each}" for each in ADDED)

BY_HAND = """
set -e
mmdebstrap --mode=root --variant=minbase --include="$PACKAGES" "$SUITE" "$W/root" - <"$W/sources"
kernel=$(ls "$W/root/lib/modules")
mount --bind /proc "$W/root/proc"
chroot "$W/root" dracut --no-hostonly --reproducible --add "$ADD" --omit "$OMIT" \
    --compress "zstd -T0 -3" --force /boot/live.img "$kernel"
umount "$W/root/proc"
mv "$W/root/boot/live.img" "$W/initrd.img"
cp "$W/root/boot/vmlinuz-$kernel" "$W/vmlinuz"
mksquashfs "$W/root" "$W/rootfs.squashfs" -comp zstd -Xcompression-level 3 -noappend -quiet \
    -no-progress
"""

# What is measured, what it is compared with, what is wanted, and what it is.
ROWS = (
    ("by hand", "by hand", "", "mmdebstrap, dracut, mksquashfs by hand, in sequence"),
    ("cold", "by hand", "0.7", "imagebuilder build, empty cache"),
    ("warm debs", "by hand", "0.5", "the same, index and files of packages in the cache"),
    ("one line", "cold", "0.08", "one line of %post changed"),
    ("one package", "cold", "0.35", "one package more in a fragment of the recipe (tree)"),
    ("in the initrd", "cold", "0.35", "the same with one that dracut takes (less)"),
    ("child", "cold", "0.35", "a recipe that adds one package to its parent, which is there"),
    ("unchanged", "", "0.4 s", "nothing changed"),
    ("five", "five cold", "0.4", "five recipes that add a package each to one parent, -j2, cold"),
    ("five alike", "five cold", "0.4", "five recipes that add a script each to one parent, -j2"),
)


def timed(argv: list[str], **kwargs: object) -> float:
    """Run a command to its end; return its wall seconds."""
    began = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **kwargs)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{argv}\n{done.stderr.decode()[-4000:]}")
    return time.monotonic() - began


def by_hand(work: Path, project: imagebuilder.Project) -> float:
    """Make the artefacts of the recipe by hand; return the wall seconds."""
    plan = imagebuilder.plan_image(project, NAME)
    sources = find_sources(plan.resolved, plan.kickstart)
    (work / "sources").write_text(sources.text)
    env = {
        **os.environ,
        "W": str(work),
        "PACKAGES": ",".join(wanted(plan.kickstart)[0]),
        "SUITE": plan.resolved.distro.suite,
        "ADD": " ".join(each for each in initrd._ADD if each != initrd._MODULE),
        "OMIT": " ".join(initrd._OMIT),
    }
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", BY_HAND]
    return timed(argv, env=env)


def build(project: Path, cache: Path, *words: str) -> float:
    """Build by the command; return the wall seconds."""
    argv = [sys.executable, "-m", "imagebuilder.cli", "build", *(words or (NAME,))]
    return timed(argv, cwd=project, env={**os.environ, "IMAGEBUILDER_CACHE": str(cache)})


def make_project(folder: Path) -> Path:
    """Copy the recipes, and add those that have one parent."""
    for name in ("recipes", "kickstarts"):
        shutil.copytree(ROOT / name, folder / name)
    for name, package in zip(FIVE, ADDED, strict=True):
        extend(folder, name, f"%packages\n{package}\n%end\n")
        extend(folder, f"alike-{package}", f"%post\necho {package} >/etc/alike\n%end\n")
    return folder


def extend(project: Path, name: str, fragment: str) -> None:
    """Write a recipe that extends the one that is measured by a fragment."""
    (project / f"kickstarts/{name}.ks").write_text(fragment)
    (project / f"recipes/{name}.toml").write_text(
        f'extends = "{NAME}"\nkickstarts = ["{name}.ks"]\n'
    )


def put_aside(*folders: Path) -> None:
    """Take folders out of the way, without removing what is in them."""
    for folder in folders:
        if folder.exists():
            folder.rename(folder.with_name(f"{folder.name}-{time.monotonic_ns()}"))


def forget_results(cache: Path) -> None:
    """Leave the index and the files of packages in a cache, and nothing else."""
    put_aside(*(cache / name for name in ("layers", "initrds", "plans", "work")))


def measure(work: Path, only: set[str], rows: dict[str, list[float]]) -> None:
    """Measure all once."""

    def add(name: str, seconds: float) -> None:
        rows.setdefault(name, []).append(seconds)
        print(f"  {name}: {seconds:.2f} s", file=sys.stderr, flush=True)

    def is_wanted(*names: str) -> bool:
        return not only or not only.isdisjoint(names)

    root, cache = make_project(work / "project"), work / "cache"
    if is_wanted("by hand"):
        (work / "hand").mkdir()
        add("by hand", by_hand(work / "hand", imagebuilder.Project.open(root)))
    add("cold", build(root, cache))
    for _ in range(3):
        add("unchanged", build(root, cache))
    fragment = root / FRAGMENT
    before = fragment.read_text()
    if is_wanted("one line"):
        fragment.write_text(f"{before}\n%post\ntrue\n%end\n")
        add("one line", build(root, cache))
    for name, package in (("one package", "tree"), ("in the initrd", "less")):
        if is_wanted(name):
            fragment.write_text(f"{before}\n%packages\n{package}\n%end\n")
            add(name, build(root, cache))
    fragment.write_text(before)
    if is_wanted("child"):
        add("child", build(root, cache, FIVE[-1]))
    if is_wanted("warm debs"):
        forget_results(cache)
        put_aside(root / "build")
        add("warm debs", build(root, cache))
    for kind, label in (("five", "five"), ("alike", "five alike")):
        if is_wanted(label):
            put_aside(cache, root / "build")
            add(label, build(root, cache, "-j2", *(f"{kind}-{each}" for each in ADDED)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1, help="how often each is measured")
    parser.add_argument("--only", nargs="+", default=[], help="these rows, and what they rest on")
    args = parser.parse_args()
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="imagebuilder-bench-") as folder:
        for n in range(args.runs):
            measure(Path(folder) / str(n), set(args.only), rows)
            shutil.rmtree(Path(folder) / str(n))
    medians = {name: statistics.median(seconds) for name, seconds in rows.items()}
    medians["five cold"] = 5 * medians["cold"]
    for name, reference, wish, text in ROWS:
        if name not in medians:
            continue
        ratio = f"{medians[name] / medians[reference]:5.2f}" if reference in medians else "     "
        of = f" of {reference}" if reference in medians else ""
        print(f"{name:12} {medians[name]:7.2f} s  {ratio}{of:13}  at most {wish or '-':6} {text}")


if __name__ == "__main__":
    main()
