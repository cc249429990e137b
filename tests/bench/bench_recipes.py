"""How the cost of recipes grows with their number: CPU seconds beyond the interpreter's start.

    python tests/bench/bench_recipes.py [--counts 10,100,1000] [--runs N]

Makes projects whose recipes share a base of 16 fragments and have a few params of their own, and
lets a new process resolve and compose all of them; another process that loads the same modules
and opens the project is the reference.  Prints seconds, and what a recipe costs among many
against what it costs among few, of the same run; it judges nothing.

Then the commands ``list`` and ``plan --all`` themselves, in projects whose recipes extend the
``hypervisor`` that we ship; the reference is an interpreter that does nothing.  ``anew`` is
without what is remembered of the project, ``again`` is with nothing changed since.  The first
plan asks the package mirrors, and is not counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from imagebuilder.options import Options

FRAGMENTS = 16
STEPS = ("load", "list", "resolve", "compose")

FRAGMENT = """\
# fragment {n}: one concern, with a script of some length
%packages --exclude-weakdeps
package-{n}-a
package-{n}-b
-package-{n}-c
%end
services --enabled=unit-{n}.service
%post --erroronfail
set -eu
cat >/etc/concern-{n}.conf <<'EOF'
{lines}
EOF
%end
"""

OWN = """\
network --device=eth0 --bootproto=dhcp --hostname={{ hostname }}
%post --erroronfail
echo "bridge {{ bridge }}" >/etc/bridge
%end
"""

BASE = """\
distro = "debian-12"
abstract = true
kickstarts = [{names}]

[params]
bridge = "br0"

[[checks]]
unit = "sshd.service"
"""

RECIPE = """\
summary = "Machine {n}"
extends = "base"

[params]
hostname = "node{n}.example.org"
bridge = "br{few}"

[kernel]
args = ["intel_iommu=on", "rack={few}"]

[[checks]]
command = "hostname | grep node{n}"
"""

SHIPPED = """\
distro = "debian-12"
extends = "imagebuilder/hypervisor"
abstract = true
kickstarts = ["own.ks"]
"""

WORKER = """\
import json, sys, time
import imagebuilder
from imagebuilder.kickstart import compose
from imagebuilder.project import Project

step, root = sys.argv[1:]
project = Project.open(root)
if step != "load":
    names = project.names()
    if step != "list":
        for name in names:
            resolved = project.resolve(name)
            if step == "compose":
                compose(resolved)
print(json.dumps(time.process_time()))
"""


def make_shipped(root: Path, count: int) -> None:
    """Write a project with that many recipes that extend ours."""
    for name in ("recipes", "kickstarts"):
        (root / name).mkdir(parents=True)
    (root / "kickstarts/own.ks").write_text(OWN)
    (root / "recipes/base.toml").write_text(SHIPPED)
    for n in range(count):
        (root / f"recipes/node{n:04}.toml").write_text(RECIPE.format(n=n, few=n % 7))


def command_seconds(root: Path, *command: str) -> float:
    """Return the CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=root)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(folder: Path, counts: list[int], runs: int) -> None:
    """Measure ``list`` and ``plan``, and print."""
    imagebuilder = [sys.executable, "-m", "imagebuilder.cli"]
    for count in counts:
        make_shipped(folder / str(count), count)
    command_seconds(folder / str(counts[0]), *imagebuilder, "plan", "node0000")
    time.sleep(2.1)
    verbs = {"list": ["list"], "plan": ["plan", "--all"]}
    head = " ".join(f"{verb + how:>10}" for verb in verbs for how in (" anew", " again"))
    print(f"{'recipes':>8} {head}   CPU s beyond the interpreter's start")
    for count in counts:
        root = folder / str(count)
        start = statistics.median(
            command_seconds(root, sys.executable, "-c", "pass") for _ in range(runs)
        )
        cells = []
        for verb in verbs.values():
            anew = []
            for _ in range(runs):
                forget()
                anew.append(command_seconds(root, *imagebuilder, *verb))
            again = [command_seconds(root, *imagebuilder, *verb) for _ in range(runs)]
            cells += [statistics.median(each) - start for each in (anew, again)]
        print(f"{count:8} " + " ".join(f"{each:10.3f}" for each in cells))


def forget() -> None:
    """Remove what is remembered of all projects."""
    shutil.rmtree(Options.make().cache_dir / "plans", ignore_errors=True)


def make(root: Path, count: int) -> None:
    """Write a project with that many recipes."""
    (root / "recipes").mkdir()
    (root / "kickstarts").mkdir()
    lines = "\n".join(f"setting-{n} = value of some length {n}" for n in range(30))
    for n in range(FRAGMENTS):
        (root / f"kickstarts/f{n}.ks").write_text(FRAGMENT.format(n=n, lines=lines))
    (root / "kickstarts/own.ks").write_text(OWN)
    names = ", ".join(f'"f{n}.ks"' for n in range(FRAGMENTS)) + ', "own.ks"'
    (root / "recipes/base.toml").write_text(BASE.format(names=names))
    for n in range(count):
        (root / f"recipes/node{n:04}.toml").write_text(RECIPE.format(n=n, few=n % 7))


def seconds(step: str, root: Path) -> float:
    """Return the CPU seconds of a new process that does a step, and all before it."""
    argv = [sys.executable, "-c", WORKER, step, str(root)]
    result = subprocess.run(argv, check=True, capture_output=True, text=True)
    return float(json.loads(result.stdout))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="10,100,1000", help="how many recipes, by commas")
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured")
    args = parser.parse_args()
    counts = [int(each) for each in args.counts.split(",")]
    spent: dict[tuple[int, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            root = Path(folder) / str(count)
            root.mkdir()
            make(root, count)
        time.sleep(2.1)  # what was written just now is read again each time
        for count in counts:
            root = Path(folder) / str(count)
            for step in STEPS:
                runs = [seconds(step, root) for _ in range(args.runs)]
                spent[count, step] = statistics.median(runs)
    print(f"{'recipes':>8} {'list':>8} {'resolve':>8} {'compose':>8}   CPU s beyond the start")
    for count in counts:
        start = spent[count, "load"]
        row = [spent[count, step] - start for step in STEPS[1:]]
        print(f"{count:8} " + " ".join(f"{each:8.3f}" for each in row))
    few, many = counts[0], counts[-1]
    each = {
        count: (spent[count, "compose"] - spent[count, "load"]) / count for count in (few, many)
    }
    print(
        f"a recipe among {many}: {each[many] * 1e3:.2f} ms; among {few}: {each[few] * 1e3:.2f} ms"
    )
    print(f"ratio {each[many] / each[few]:.2f}")
    with tempfile.TemporaryDirectory() as shipped:
        commands(Path(shipped), counts, args.runs)


if __name__ == "__main__":
    main()
