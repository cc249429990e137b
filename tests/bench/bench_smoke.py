"""What a smoke test costs beside the same machine started by hand, and several at once.

    python tests/bench/bench_smoke.py IMAGE                 one of each, by turns, three times
    python tests/bench/bench_smoke.py IMAGE --at-once 4     four tests at the same time
    python tests/bench/bench_smoke.py IMAGE --in-a-row 10   ten tests one after the other

IMAGE is a built image.  By hand means: the same command line of QEMU without our instruments, the
same files served, and nobody watching but for the line that says that the target is reached.
Seconds of processors are those of QEMU and all else that each way starts.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.checks import Check, NoFailedUnitsCheck, UnitCheck
from imagebuilder.image import Image
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import boot as boot_module
from imagebuilder.smoke import report_text, smoke_test
from imagebuilder.smoke.boot import boot
from imagebuilder.smoke.machine import TCG_CPU_MODELS
from imagebuilder.smoke.paths import BOOT_PATHS
from imagebuilder.smoke.report import CONSOLE_LOG, QEMU_LOG, SCREENSHOT, Accelerator
from imagebuilder.smoke.stages import MULTI_USER
from imagebuilder.smoke.subject import Subject

ACCELERATOR = Accelerator(used="tcg", why="a benchmark", cpu_model=TCG_CPU_MODELS["v1"])
CHECKS: list[Check] = [
    UnitCheck(unit="multi-user.target"),
    NoFailedUnitsCheck(no_failed_units=True),
]


@dataclass(frozen=True)
class Cost:
    """Seconds of one boot: until the target, and of processors until its end."""

    target: float
    processors: float


def processors() -> float:
    """Return the seconds of processor that this process and all that it waited for have used."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def tested(image: Image, path: str, folder: Path) -> Cost:
    """Boot as a test does."""
    before = processors()
    seen = boot(
        Subject.of_image(image),
        [],
        SmokeOptions(),
        path=BOOT_PATHS[path],
        accelerator=ACCELERATOR,
        logs={name: folder / name for name in (CONSOLE_LOG, QEMU_LOG, SCREENSHOT)},
        on_stage=lambda _stage, _seconds: None,
        cancel=None,
    )
    assert seen.ending == "done", seen
    return Cost(seen.stages[MULTI_USER], processors() - before)


def by_hand(image: Image, path: str, folder: Path) -> Cost:
    """Boot the same machine, and wait for nothing but the target."""
    before = processors()
    costs: list[float] = []

    def run(argv: list[str], *_: object) -> tuple[None, str]:
        instruments = next(n for n, each in enumerate(argv) if each.startswith("socket,id=qmp"))
        argv = argv[: instruments - 1]
        results = Path(next(each for each in argv if "id=results" in each).partition("path=")[2])
        began = time.monotonic()
        with (folder / CONSOLE_LOG).open("wb") as console:
            process = subprocess.Popen(argv, stdout=console, stderr=console)
            while b"reached" not in results.read_bytes():
                assert process.poll() is None
                time.sleep(0.2)
            costs.append(time.monotonic() - began)
            process.terminate()
            process.wait()
        return None, ""

    original = boot_module._run_machine
    boot_module._run_machine = run
    try:
        boot(
            Subject.of_image(image),
            [],
            SmokeOptions(),
            path=BOOT_PATHS[path],
            accelerator=ACCELERATOR,
            logs={name: folder / name for name in (CONSOLE_LOG, QEMU_LOG, SCREENSHOT)},
            on_stage=lambda _stage, _seconds: None,
            cancel=None,
        )
    finally:
        boot_module._run_machine = original
    return Cost(costs[0], processors() - before)


def compare(image: Image, path: str, rounds: int) -> None:
    """Boot both ways by turns, each in a process of its own, and say what they cost."""
    ways: dict[str, list[Cost]] = {"by hand": [], "tested": []}
    for number in range(rounds):
        for way in sorted(ways, reverse=bool(number % 2)):
            argv = [sys.executable, __file__, str(image.path), "--path", path, "--one", way]
            said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
            ways[way].append(Cost(float(said[-2]), float(said[-1])))
            print(f"{way:8} {ways[way][-1]}", flush=True)
    for what in ("target", "processors"):
        hand, test = (
            statistics.median(getattr(each, what) for each in ways[way])
            for way in ("by hand", "tested")
        )
        print(
            f"{what}: by hand {hand:.1f} s, tested {test:.1f} s: {100 * (test / hand - 1):+.1f} %"
        )


def linked(image: Image, folder: Path) -> Image:
    """Return the image at another place, so that tests of it do not share their reports."""
    folder.mkdir()
    for file in image.path.iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file.resolve())
    return Image.open(folder)


def several(image: Image, path: str, number: int, at_once: int, folder: Path) -> bool:
    """Test so many times; say how it went, and return whether all passed."""

    def one(n: int) -> bool:
        report = smoke_test(
            linked(image, folder / str(n)),
            CHECKS,
            SmokeOptions(paths=(path,)),  # type: ignore[arg-type]
            accel="tcg",
            cache_dir=folder / "cache",
        )
        taken = report.boots[0].stages.get(MULTI_USER)
        print(f"test {n}: passed={report.passed}, target after {taken} s", flush=True)
        if not report.passed:
            print(report_text(report))
        return report.passed

    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        passed = list(pool.map(one, range(1, number + 1)))
    print(f"{sum(passed)} of {number} passed in {time.monotonic() - began:.0f} s")
    return all(passed)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--path", default="pxe-bios")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=0)
    parser.add_argument("--in-a-row", type=int, default=0)
    parser.add_argument("--one", choices=("by hand", "tested"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    image = Image.open(given.image.resolve())
    ways: dict[str, Callable[[Image, str, Path], Cost]] = {"by hand": by_hand, "tested": tested}
    with tempfile.TemporaryDirectory(prefix="bench-") as private:
        if given.one:
            cost = ways[given.one](image, given.path, Path(private))
            print(cost.target, cost.processors)
            return 0
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
        if given.at_once or given.in_a_row:
            number = given.at_once or given.in_a_row
            passed = several(image, given.path, number, given.at_once or 1, Path(private))
            return 0 if passed else 1
        compare(image, given.path, given.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
