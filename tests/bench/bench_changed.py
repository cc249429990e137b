"""What ``changed`` costs in a large project: CPU seconds for each commit of a history.

    python tests/bench/bench_changed.py [--recipes 1000] [--fragments 300] [--commits 500]

Makes a repository and a history of it from a seed, and asks after each commit what it affects,
in a process of its own.  The reference is an interpreter that loads the same modules and opens
the project.  With ``--check`` each answer is compared with that of rendering all recipes of
both sides, which takes several seconds a commit.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "unit" / "changes"))
from brute import affected, images
from history import History

from imagebuilder.project import Project

_START = "import imagebuilder.changes; from imagebuilder.project import Project; Project.open('.')"


def cpu(root: Path, *argv: str) -> tuple[float, str]:
    """Return the CPU seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, cwd=root, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", type=int, default=1000)
    parser.add_argument("--fragments", type=int, default=300)
    parser.add_argument("--commits", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="compare with rendering everything")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        history = History(root, args.recipes, args.fragments, args.seed)
        start = statistics.median(cpu(root, sys.executable, "-c", _START)[0] for _ in range(3))
        print(f"reference (the modules, the project opened): {start:.2f} s", flush=True)
        before: dict[str, Any] = images(Project.open(root)) if args.check else {}
        spent: list[tuple[float, int, str]] = []
        wrong = 0
        for n in range(1, args.commits + 1):
            kind = history.step()
            verb = ("-m", "imagebuilder.cli", "changed", "--since", "HEAD~1", "--json")
            seconds, said = cpu(root, sys.executable, *verb)
            found = json.loads(said.splitlines()[-1])["changed"]
            spent.append((seconds, len(found["images"]), kind))
            if n % 25 == 0:
                print(f"{n} of {args.commits} commits", file=sys.stderr, flush=True)
            if args.check:
                after = images(Project.open(root))
                wanted, removed = affected(before, after)
                same = {each["name"] for each in found["images"]} == wanted
                wrong += not (same and set(found["removed"]) == removed)
                before = after
        each = sorted(seconds - start for seconds, _, _ in spent)
        print(f"{len(each)} commits, CPU s beyond that: median {statistics.median(each):.2f}, "
              f"90 % {each[int(len(each) * 0.9)]:.2f}, most {each[-1]:.2f}")  # fmt: skip
        for seconds, count, kind in sorted(spent, reverse=True)[:5]:
            print(f"  {seconds - start:6.2f} s  {count:5} images  {kind}")
        if args.check:
            print(f"wrong: {wrong} of {len(each)}")


if __name__ == "__main__":
    main()
