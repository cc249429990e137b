"""What a smoke test costs beside the same machine started by hand, and several at once.

    python tests/bench/bench_smoke.py IMAGE                 one of each, by turns, four times
    python tests/bench/bench_smoke.py IMAGE --at-once 4     four tests at the same time
    python tests/bench/bench_smoke.py IMAGE --in-a-row 10   ten tests one after the other

IMAGE is a built image.  By hand means: the same machine without our instruments, bounds, archive
in the initramfs and checks; its console goes to a file, and the same files are served.  Both ways
end with the line of the console that says that the target is reached, which one and the same
function waits for.  Until then the seconds of processors are counted: those of the process that
serves and watches, and those of all that it started.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from imagebuilder.checks import Check, NoFailedUnitsCheck, UnitCheck
from imagebuilder.image import Image
from imagebuilder.recipe import BootPathName, SmokeOptions
from imagebuilder.smoke import report_text, smoke_test
from imagebuilder.smoke.boot import boot, short_folder
from imagebuilder.smoke.machine import TCG_CPU_MODELS, extra_args, qemu_argv
from imagebuilder.smoke.network import FIRST_SCRIPT, alone
from imagebuilder.smoke.paths import BOOT_PATHS
from imagebuilder.smoke.report import CONSOLE_LOG, QEMU_LOG, SCREENSHOT, Accelerator
from imagebuilder.smoke.server import serve
from imagebuilder.smoke.stages import MULTI_USER
from imagebuilder.smoke.subject import Subject

ACCELERATOR = Accelerator(used="tcg", why="a benchmark", cpu_model=TCG_CPU_MODELS["v1"])
CHECKS: list[Check] = [
    UnitCheck(unit="multi-user.target"),
    NoFailedUnitsCheck(no_failed_units=True),
]
# The image's systemd says so by way of the kernel as well: what it writes to the console itself may
# be lost when a getty takes that over.
ARGS = ("systemd.log_target=kmsg", "systemd.log_level=info", "printk.devkmsg=on", "loglevel=7")
REACHED = re.compile(r"systemd\[1\]: Reached target multi-user\.target")
PATIENCE = 900.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass(frozen=True)
class Cost:
    """What a boot took until the target was reached.

    Attributes:
        clock: seconds since the machine was started.
        own: seconds of processors of the process that serves and watches.
        machine: those of all that it started: QEMU, and the relays of its network.
    """

    clock: float
    own: float
    machine: float

    @property
    def processors(self) -> float:
        return self.own + self.machine


def of_descendants() -> float:
    """Return the seconds of processors of all that this process started, ended or not.

    What a child leaves behind comes to us (PR_SET_CHILD_SUBREAPER), and nobody waits for it: so
    it is there to be counted.
    """
    used: dict[int, float] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended just now
        pid = int(path.parent.name)
        children[int(words[1])].append(pid)
        used[pid] = sum(int(each) for each in words[11:15]) / TICKS  # proc(5): with its children's
    total, waiting = 0.0, [*children[os.getpid()]]
    while waiting:
        pid = waiting.pop()
        total += used[pid]
        waiting += children[pid]
    return total


def until_reached(console: Path, began: float, own_before: float) -> Cost:
    """Wait until the console says that the target is reached."""
    while not (console.exists() and REACHED.search(console.read_text(errors="replace"))):
        assert time.monotonic() < began + PATIENCE, "the target was not reached"
        time.sleep(0.2)
    clock = time.monotonic() - began
    return Cost(clock, time.process_time() - own_before, of_descendants())


def tested(image: Image, path: BootPathName, folder: Path) -> Cost:
    """Boot as a test does."""
    costs: list[Cost] = []
    began, before = time.monotonic(), time.process_time()
    console = folder / CONSOLE_LOG
    waiter = threading.Thread(target=lambda: costs.append(until_reached(console, began, before)))
    waiter.start()
    seen = boot(
        Subject.of_image(image),
        CHECKS,
        SmokeOptions(),
        path=BOOT_PATHS[path],
        accelerator=ACCELERATOR,
        logs={name: folder / name for name in (CONSOLE_LOG, QEMU_LOG, SCREENSHOT)},
        on_stage=lambda _stage, _seconds: None,
        cancel=None,
        place=alone(args=ARGS),
    )
    waiter.join()
    assert seen.ending == "done", seen
    return costs[0]


def by_hand(image: Image, path: BootPathName, folder: Path) -> Cost:
    """Boot the same machine, and wait for nothing but the target."""
    subject = Subject.of_image(image)
    began, before = time.monotonic(), time.process_time()
    with short_folder() as scratch, (folder / CONSOLE_LOG).open("wb") as console:
        wiring = alone(args=ARGS).wire(scratch)
        (wiring.tftp / FIRST_SCRIPT).write_text(
            f"#!ipxe\nset base {wiring.files_url}\nset extra-args {' '.join(extra_args(wiring))}\n"
            f"chain {wiring.files_url}{subject.script}\n"
        )
        argv = qemu_argv(
            BOOT_PATHS[path],
            ACCELERATOR,
            SmokeOptions(),
            wiring=wiring,
            results=scratch / "results",
            scratch=scratch,
        )
        with serve(wiring.server, subject.files, lambda _transfer: None):
            machine = subprocess.Popen(argv, stdout=console, stderr=console)
            try:
                return until_reached(folder / CONSOLE_LOG, began, before)
            finally:
                machine.terminate()
                machine.wait()


def compare(image: Image, path: str, rounds: int) -> None:
    """Boot both ways by turns, each in a process of its own, and say what they cost."""
    ways: dict[str, list[Cost]] = {"by hand": [], "tested": []}
    for number in range(rounds):
        for way in sorted(ways, reverse=bool(number % 2)):
            argv = [sys.executable, __file__, str(image.path), "--path", path, "--one", way]
            said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
            ways[way].append(Cost(*(float(each) for each in said[-3:])))
            print(f"{way:8} {ways[way][-1]}", flush=True)
    for what in ("clock", "own", "machine", "processors"):
        hand, test = ([getattr(each, what) for each in ways[way]] for way in ("by hand", "tested"))
        whole = hand if what == "clock" else [each.processors for each in ways["by hand"]]
        more = [100 * (b - a) / c for a, b, c in zip(hand, test, whole, strict=True)]
        print(
            f"{what}: by hand {statistics.median(hand):.1f} s, "
            f"tested {statistics.median(test):.1f} s; pair by pair "
            f"{statistics.median(more):+.1f} % ({min(more):+.1f} to {max(more):+.1f})"
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
    parser.add_argument("--path", choices=BOOT_PATHS, default="pxe-bios")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=0)
    parser.add_argument("--in-a-row", type=int, default=0)
    parser.add_argument("--one", choices=("by hand", "tested"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    image = Image.open(given.image.resolve())
    ways: dict[str, Callable[[Image, BootPathName, Path], Cost]] = {
        "by hand": by_hand,
        "tested": tested,
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as private:
        if given.one:
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            print(*astuple(ways[given.one](image, given.path, Path(private))))
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
