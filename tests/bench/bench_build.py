"""How long builds take, against the same tools run by hand in sequence, in one run.

    python tests/bench/bench_build.py [--runs N]

Prints seconds and ratios; it judges nothing.  Needs root (the reference runs mmdebstrap, dracut
and mksquashfs plainly) and the package mirrors.  Runs of the two alternate, so that a machine
that changes its speed changes both.
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


def timed(argv: list[str], **kwargs: object) -> float:
    """Run a command to its end; return its wall seconds."""
    began = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **kwargs)  # type: ignore[call-overload]
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
        "ADD": " ".join(initrd._ADD),
        "OMIT": " ".join(initrd._OMIT),
    }
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", BY_HAND]
    return timed(argv, env=env)


def build(project: Path, cache: Path) -> float:
    """Build the recipe by the command; return the wall seconds."""
    argv = [sys.executable, "-m", "imagebuilder.cli", "build", NAME]
    return timed(argv, cwd=project, env={**os.environ, "IMAGEBUILDER_CACHE": str(cache)})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1, help="how often each is measured")
    runs = parser.parse_args().runs
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="imagebuilder-bench-") as folder:
        for n in range(runs):
            work = Path(folder) / str(n)
            for name in ("recipes", "kickstarts"):
                shutil.copytree(ROOT / name, work / "project" / name)
            (work / "hand").mkdir()
            project = imagebuilder.Project.open(work / "project")
            rows.setdefault("by hand", []).append(by_hand(work / "hand", project))
            rows.setdefault("cold", []).append(build(project.root, work / "cache"))
            fragment = project.root / "kickstarts/base/serial-console.ks"
            for _ in range(3):
                rows.setdefault("unchanged", []).append(build(project.root, work / "cache"))
            fragment.write_text(fragment.read_text() + "\n%post\ntrue\n%end\n")
            rows.setdefault("one line", []).append(build(project.root, work / "cache"))
            shutil.rmtree(work)
    hand, cold = (statistics.median(rows[name]) for name in ("by hand", "cold"))
    for name, reference, text in (
        ("by hand", hand, "mmdebstrap, dracut, mksquashfs by hand, in sequence"),
        ("cold", hand, "imagebuilder build, empty cache, of by hand"),
        ("one line", cold, "one line of %post changed, of cold"),
        ("unchanged", cold, "nothing changed, of cold"),
    ):
        median = statistics.median(rows[name])
        print(f"{name:10} {median:7.2f} s   ratio {median / reference:5.2f}   {text}")


if __name__ == "__main__":
    main()
