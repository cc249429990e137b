"""What a smoke test costs beside the same machine started by hand, and several at once.

    python tests/bench/bench_smoke.py IMAGE                 both side by side, four pairs
    python tests/bench/bench_smoke.py IMAGE --at-once 4     four tests at the same time
    python tests/bench/bench_smoke.py IMAGE --in-a-row 10   ten tests one after the other

IMAGE is a built image.  By hand means what a person types: QEMU with the same board, processor,
memory and kernel arguments, its ordinary user network, and ``python -m http.server`` in the folder
of the image; without our instruments, bounds, archive in the initramfs and checks.

Both run at the same time and on the same processor, with all that belongs to them, so that both are
as slow as the host makes it; which one is started first changes from pair to pair.  Each ends with
the line of the console that says that the target is reached.  Until then the seconds of processors
are counted: those of the process that serves and watches are told from those of what it started.
Seconds of the clock are of little use: a guest whose rival is done has the processor for itself.

An emulated machine's own seconds vary by a third with what else a host does; what the process that
tests takes does not.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from imagebuilder.checks import Check, NoFailedUnitsCheck, UnitCheck
from imagebuilder.image import BOOT_SCRIPT, Image
from imagebuilder.recipe import BootPathName, SmokeOptions
from imagebuilder.smoke import report_text, smoke_test
from imagebuilder.smoke.boot import boot
from imagebuilder.smoke.firmware import find_uefi
from imagebuilder.smoke.machine import (
    EXTRA_ARGS,
    TCG_CPU_MODELS,
    accelerator_args,
    available_mib,
    translation_mib,
)
from imagebuilder.smoke.network import FIRST_SCRIPT, alone
from imagebuilder.smoke.paths import BOOT_PATHS, QEMU
from imagebuilder.smoke.report import CONSOLE_LOG, QEMU_LOG, SCREENSHOT, Accelerator
from imagebuilder.smoke.stages import MULTI_USER
from imagebuilder.smoke.subject import Subject

# Of one processor, side by side: where two have to share one of the host's, the kernel in the guest
# spins for a lock whose holder does not run, which doubles what a boot takes, or not.
MACHINE = SmokeOptions(cpus=1)
ACCELERATOR = Accelerator(used="tcg", why="a benchmark", cpu_model=TCG_CPU_MODELS["v1"])
CHECKS: list[Check] = [
    UnitCheck(unit="multi-user.target"),
    NoFailedUnitsCheck(no_failed_units=True),
]
# The image's systemd says so by way of the kernel as well: what it writes to the console itself may
# be lost when a getty takes that over.
ARGS = ("systemd.log_target=kmsg", "systemd.log_level=info", "printk.devkmsg=on", "loglevel=7")
REACHED = re.compile(rb"systemd\[1\]: Reached target multi-user\.target")
PATIENCE = 900.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass(frozen=True)
class Cost:
    """What a boot took until the target was reached.

    Attributes:
        clock: seconds since the machine was started.
        own: seconds of processors of the process that serves and watches.
        others: those of all that it started beside QEMU: the server, or relays of the network.
        machine: QEMU's.
    """

    clock: float
    own: float
    others: float
    machine: float

    @property
    def processors(self) -> float:
        return self.own + self.others + self.machine


def of_descendants() -> tuple[float, float]:
    """Return the seconds of processors of all that this process started, ended or not.

    Those of QEMU come last, before them those of all others.

    What a child leaves behind comes to us (PR_SET_CHILD_SUBREAPER), and nobody waits for it: so
    it is there to be counted.
    """
    used: dict[int, float] = {}
    children: dict[int, list[int]] = defaultdict(list)
    machines: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue  # it ended just now
        pid, words = int(path.parent.name), rest.split()
        if "(qemu-system" in name:
            machines.add(pid)
        children[int(words[1])].append(pid)
        used[pid] = sum(int(each) for each in words[11:15]) / TICKS  # proc(5): with its children's
    others, machine, waiting = 0.0, 0.0, [*children[os.getpid()]]
    while waiting:
        pid = waiting.pop()
        if pid in machines:
            machine += used[pid]
        else:
            others += used[pid]
        waiting += children[pid]
    return others, machine


def until_reached(console: Path, began: float, own_before: float) -> Cost:
    """Wait until the console says that the target is reached."""
    tail = b""
    with console.open("rb") as file:
        while not REACHED.search(tail):
            assert time.monotonic() < began + PATIENCE, "the target was not reached"
            time.sleep(0.2)
            tail = tail[-200:] + file.read()  # a line may come in two pieces
    clock = time.monotonic() - began
    return Cost(clock, time.process_time() - own_before, *of_descendants())


def tested(image: Image, path: BootPathName, folder: Path) -> Cost:
    """Boot as a test does."""
    costs: list[Cost] = []
    began, before = time.monotonic(), time.process_time()
    console = folder / CONSOLE_LOG
    console.touch()
    waiter = threading.Thread(
        target=lambda: costs.append(until_reached(console, began, before)), daemon=True
    )
    waiter.start()
    seen = boot(
        Subject.of_image(image),
        CHECKS,
        MACHINE,
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


@contextmanager
def started(argv: list[str], said: Path) -> Iterator[None]:
    """Run a program beside what follows, and end it.

    In a session of its own, as a test runs QEMU: a kernel that shares a processor out among
    sessions (sched(7), autogroups) gives the two ways very different shares otherwise.
    """
    with said.open("wb") as file:
        program = subprocess.Popen(argv, stdout=file, stderr=file, start_new_session=True)
        try:
            yield
        finally:
            program.terminate()
            program.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def typed(path: BootPathName, tftp: Path, console: Path, scratch: Path) -> list[str]:
    """Return the command line of QEMU as a person has it who wants this machine.

    Its room for translated code is that of a test: it decides how long a boot takes.
    """
    board = BOOT_PATHS[path]
    return [
        *(QEMU, "-nodefaults", "-display", "none", "-no-reboot"),
        *board.machine,
        *(find_uefi(secure=False).argv(scratch) if board.uefi else ()),
        *accelerator_args(ACCELERATOR, translation_mib(MACHINE, available_mib())),
        *("-smp", str(MACHINE.cpus), "-m", str(MACHINE.memory_mib)),
        *("-serial", f"file:{console}"),
        *("-netdev", f"user,id=net,tftp={tftp},bootfile={FIRST_SCRIPT}"),
        *("-device", "virtio-net-pci,netdev=net,bootindex=1"),
        *("-device", "virtio-rng-pci"),
        *("-device", "VGA"),  # QEMU's machines have one unless they are told otherwise
    ]


def by_hand(image: Image, path: BootPathName, folder: Path) -> Cost:
    """Boot the same machine, and wait for nothing but the target."""
    began, before = time.monotonic(), time.process_time()
    port, tftp, console = free_port(), folder / "tftp", folder / CONSOLE_LOG
    url = f"http://10.0.2.2:{port}/"  # the host's own loopback, as QEMU's user network has it
    tftp.mkdir()
    (tftp / FIRST_SCRIPT).write_text(
        f"#!ipxe\nset base {url}\nset extra-args {' '.join((*EXTRA_ARGS, *ARGS))}\n"
        f"chain {url}{BOOT_SCRIPT}\n"
    )
    console.touch()
    server = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    machine = typed(path, tftp, console, folder)
    print(shlex.join(machine), file=sys.stderr)
    with (
        started([*server, "--directory", str(image.path)], folder / "http.log"),
        started(machine, folder / QEMU_LOG),
    ):
        return until_reached(console, began, before)


WAYS: dict[str, Callable[[Image, BootPathName, Path], Cost]] = {
    "by hand": by_hand,
    "tested": tested,
}
ALLOWED = sorted(os.sched_getaffinity(0))


def pair(image: Image, path: str, number: int) -> dict[str, Cost]:
    """Boot both ways at once, each in a process of its own, on one processor."""
    running = {}
    processor = ALLOWED[number % len(ALLOWED)]
    for way in sorted(WAYS, reverse=bool(number // len(ALLOWED) % 2)):
        argv = [sys.executable, __file__, str(image.path), "--path", path, "--one", way]
        running[way] = subprocess.Popen(
            [*argv, "--processor", str(processor)], stdout=subprocess.PIPE, text=True
        )
    costs = {}
    for way, process in running.items():
        said, _ = process.communicate()
        assert process.returncode == 0, f"{way} failed"
        costs[way] = Cost(*(float(each) for each in said.split()[-4:]))
        print(f"{way:8} {costs[way]}", flush=True)
    return costs


def compare(image: Image, path: str, rounds: int) -> None:
    """Boot both ways side by side, a pair on each processor at a time, and say what they cost."""

    def on(processor: int) -> list[dict[str, Cost]]:
        return [pair(image, path, n) for n in range(processor, rounds, len(ALLOWED))]

    with ThreadPoolExecutor(len(ALLOWED)) as pool:
        pairs = [each for some in pool.map(on, range(len(ALLOWED))) for each in some]
    for what in ("clock", "processors"):
        hand, test = ([getattr(each[way], what) for each in pairs] for way in WAYS)
        ratios = [b / a - 1 for a, b in zip(hand, test, strict=True)]
        whole = statistics.median(test) / statistics.median(hand) - 1
        print(
            f"{what}: by hand {statistics.median(hand):.1f} s, "
            f"tested {statistics.median(test):.1f} s: {whole:+.1%} "
            f"(pairs {min(ratios):+.1%} to {max(ratios):+.1%})"
        )
    whole_by_hand = statistics.median(each["by hand"].processors for each in pairs)
    for way in WAYS:
        for what in ("own", "others", "machine"):
            spent = statistics.median(getattr(each[way], what) for each in pairs)
            print(f"{way}: {what} {spent:.2f} s, {spent / whole_by_hand:.1%} of all by hand")


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
    parser.add_argument("--path", choices=("pxe-bios", "pxe-uefi"), default="pxe-bios")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=0)
    parser.add_argument("--in-a-row", type=int, default=0)
    parser.add_argument("--one", choices=tuple(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--processor", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    image = Image.open(given.image.resolve())
    with tempfile.TemporaryDirectory(prefix="bench-") as private:
        if given.one:
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            if given.processor is not None:
                os.sched_setaffinity(0, {given.processor})
            print(*astuple(WAYS[given.one](image, given.path, Path(private))))
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
