"""How long a fresh machine takes with a remote cache that others have filled, in one run.

    python tests/bench/bench_remote.py [--runs N]

Prints seconds and ratios; it judges nothing.  The remote cache is on a real S3 server on this
machine.  Each run has a cold build without a remote cache, one that shares what it makes, and
two fresh machines: one to which nothing is new, and one with a line of %post more.
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

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
NAME = "base"

sys.path.insert(0, str(ROOT / "tests"))
import seaweed  # noqa: E402 - it stands with the tests


def build(project: Path, cache: Path, url: str) -> tuple[float, float]:
    """Build the recipe by the command; return the wall seconds, and those of the processors."""
    argv = [sys.executable, "-m", "imagebuilder.cli", "build", NAME]
    env = {
        **os.environ,
        "IMAGEBUILDER_CACHE": str(cache),
        "IMAGEBUILDER_REMOTE_CACHE": url,
        "AWS_ACCESS_KEY_ID": seaweed.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": seaweed.SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before, began = os.times(), time.monotonic()
    subprocess.run(
        argv, cwd=project, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    seconds, after = time.monotonic() - began, os.times()
    used = after.children_user - before.children_user
    return seconds, used + after.children_system - before.children_system


def project(folder: Path) -> Path:
    """Make a project with this repository's recipes."""
    for name in ("recipes", "kickstarts"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1, help="how often each is measured")
    runs = parser.parse_args().runs
    rows: dict[str, list[tuple[float, float]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="imagebuilder-bench-", dir="/var/tmp") as folder,
        seaweed.running(Path(folder) / "weed") as server,
    ):
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=seaweed.ACCESS_KEY,
            aws_secret_access_key=seaweed.SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )
        client.create_bucket(Bucket="cache")
        for n in range(runs):
            work = Path(folder) / str(n)
            url = f"s3://cache/{n}?endpoint={server.endpoint}"
            for name, where in (("cold", "off"), ("sharing", url), ("fresh", url)):
                made = build(project(work / name), work / f"cache-{name}", where)
                rows.setdefault(name, []).append(made)
            changed = project(work / "changed")
            fragment = changed / "kickstarts/base/serial-console.ks"
            fragment.write_text(fragment.read_text() + "\n%post\ntrue\n%end\n")
            rows.setdefault("one line", []).append(build(changed, work / "cache-changed", url))
            shutil.rmtree(work)
    cold = statistics.median(wall for wall, _ in rows["cold"])
    for name, text in (
        ("cold", "empty cache, no remote cache"),
        ("sharing", "the same, and what was made is shared, of cold"),
        ("fresh", "empty cache, warm remote cache, of cold"),
        ("one line", "the same with one line of %post more, of cold"),
    ):
        wall = statistics.median(wall for wall, _ in rows[name])
        used = statistics.median(used for _, used in rows[name])
        print(f"{name:10} {wall:7.2f} s   ratio {wall / cold:5.2f}   CPU {used:6.2f} s   {text}")


if __name__ == "__main__":
    main()
