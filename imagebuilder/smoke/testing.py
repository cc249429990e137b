"""The test of one image, from the question to the report."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from imagebuilder.checks import Check
from imagebuilder.errors import InputError
from imagebuilder.image import KERNEL, Image
from imagebuilder.progress import Cancel, Observer, Reporter, ignore
from imagebuilder.recipe import SmokeOptions, Waiver
from imagebuilder.smoke.accel import AccelChoice, choose
from imagebuilder.smoke.budgets import judge, sizes_of, warnings
from imagebuilder.smoke.guest import runner_script
from imagebuilder.smoke.machine import ARCH, TCG_CPU_MODELS
from imagebuilder.smoke.memory import find_memory
from imagebuilder.smoke.one_path import STEP, PathTest
from imagebuilder.smoke.paths import BOOT_PATHS, find_tools
from imagebuilder.smoke.rack import find_rack_tools, layout_of, needs_rack
from imagebuilder.smoke.report import (
    BootReport,
    Failure,
    MemoryNeed,
    SmokeReport,
    digest_of,
    load_report,
    passed_only_again,
    store_report,
)
from imagebuilder.smoke.subject import Subject, subject_of


def smoke_test(
    tested: Image | Subject,
    checks: Sequence[Check],
    options: SmokeOptions,
    *,
    accel: AccelChoice = "auto",
    cache_dir: Path,
    observer: Observer = ignore,
    cancel: Cancel | None = None,
    cpu_baseline: str = "v1",
    arch: str = ARCH,
    waivers: Sequence[Waiver] = (),
    today: date | None = None,
    retries: int = 0,
    measure_memory: bool = False,
) -> SmokeReport:
    """Boot an image as a machine of the fleet would, and look at the checks in it.

    The report and the logs are written to ``smoke_dir`` of what is tested, whether it passed or
    not.

    Args:
        tested: an image, or what else there is; none of its files is changed.
        checks: what must hold in the guest, looked at in this order.
        options: the machine.
        accel: ``auto`` takes KVM where a trial shows that it works; else software emulation.
        cache_dir: where the verdict on KVM is kept.
        observer: is told of the stages and checks.
        cancel: looked at several times a second.
        cpu_baseline: the x86-64 level that the image's programs need: v1, v2 or v3.
        arch: the image's architecture.
        waivers: of checks that may fail.
        today: the day by which these are judged; None: that of the clock, UTC.
        retries: how often a boot that did not pass is repeated, at most; each is in the report.
        measure_memory: also find out how much memory the image needs, if it passed; that takes
            up to eight more boots, without checks.

    Raises:
        HostError: QEMU or its iPXE ROM is not installed.
        InputError: a check cannot be asked (a NUL character), the baseline is unknown, or the
            image is for another architecture than the machine.
        Interrupted: ``cancel`` was set; the last report stays as it was.
    """
    _refuse(checks, options, cpu_baseline, arch)
    subject = subject_of(tested)
    reporter = Reporter(subject=subject.recipe, observer=observer, cancel=cancel or Cancel())
    paths = [BOOT_PATHS[name] for name in dict.fromkeys(options.paths)]
    titles = "; ".join(path.title for path in paths)
    with reporter.step(STEP, f"boot {subject.id} ({titles})"):
        find_tools(paths)
        if any(needs_rack(options, path.name) for path in paths):
            find_rack_tools()
        started, began = datetime.now(UTC), time.monotonic()
        failure = _not_as_built(subject)
        with _new_logs(subject.smoke_dir) as logs:
            tests = [
                PathTest(
                    subject=subject,
                    checks=checks,
                    options=options,
                    path=path,
                    cache_dir=cache_dir,
                    cpu_baseline=cpu_baseline,
                    reporter=reporter,
                    logs=logs,
                    waivers=waivers,
                    today=today or started.date(),
                )
                for path in paths
            ]
            boots = () if failure else _boot_all(tests, accel, retries)
            came_up = failure is None and all(boot.passed for boot in _last(boots))
            memory = _known_memory(subject)
            if measure_memory and came_up:
                memory = _memory_of(tests[0], boots)
            costs = () if failure else judge(options.budget, subject, _last(boots), memory)
            passed = came_up and not any(each.outcome == "exceeded" for each in costs)
            report = SmokeReport(
                image=subject.id,
                recipe=subject.recipe,
                source=subject.source,
                tested=digest_of(checks, options, waivers),
                started=started.isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - began, 1),
                passed=passed,
                flaky=passed and passed_only_again(boots),
                boots=boots,
                failure=failure,
                budgets=costs,
                memory=memory,
                warnings=warnings(subject),
            )
            store_report(report, subject.smoke_dir)
    return report


def _refuse(checks: Sequence[Check], options: SmokeOptions, cpu_baseline: str, arch: str) -> None:
    """Raise, before anything is started, where it cannot be tested."""
    if arch != ARCH:
        raise InputError(
            f"an image for {arch} cannot be tested: the machine that tests run in is {ARCH}",
            fix="test it on a machine of its own, and publish it with --untested REASON",
        )
    if cpu_baseline not in TCG_CPU_MODELS:
        raise InputError(
            f"unknown x86-64 level {cpu_baseline!r}",
            fix=f"known are: {', '.join(TCG_CPU_MODELS)}",
        )
    runner_script(checks, patience=1, slowness=1)  # raises, and so does the next
    layout_of(options)


def _last(boots: Sequence[BootReport]) -> tuple[BootReport, ...]:
    """Return the last boot of each machine over each path: what a test comes to."""
    return tuple({boot.name: boot for boot in boots}.values())


def _boot_all(
    tests: Sequence[PathTest], accel: AccelChoice, retries: int
) -> tuple[BootReport, ...]:
    """Boot over each path; what is learnt of KVM over one holds for the next."""
    first = tests[0]
    used = choose(
        accel,
        cache_dir=first.cache_dir,
        kernel=first.subject.local(KERNEL),
        cpus=first.options.cpus,
        cpu_baseline=first.cpu_baseline,
        cancel=first.reporter.cancel,
    )
    first.reporter.note(STEP, f"{used.used}: {used.why}")
    boots: list[BootReport] = []
    for test in tests:
        boots += test.run(used, may_fall_back=accel == "auto", retries=retries)
        used = boots[-1].accelerator
    return tuple(boots)


def _memory_of(test: PathTest, boots: Sequence[BootReport]) -> MemoryNeed:
    """Find out how much memory an image needs that came up with what the recipe gives it."""
    used = next(each.accelerator for each in _last(boots) if each.name == test.path.name)

    def comes_up(mib: int) -> bool:
        seen = test.with_memory(mib, used)
        # It may come up and have lost a process on the way.
        short = any("out of memory" in each.meaning for each in seen.console_findings)
        up = seen.passed and not short
        test.reporter.note(STEP, f"with {mib} MiB it {'comes up' if up else 'does not come up'}")
        return up

    # What it is made of lies in memory: with less it cannot come up.
    sizes = sizes_of(test.subject)
    least = sum(sizes.values()) >> 20
    return find_memory(
        comes_up,
        enough=test.options.memory_mib,
        too_little=min(least, test.options.memory_mib),
        path=test.path.name,
    )


def _known_memory(subject: Subject) -> MemoryNeed | None:
    """Return what an earlier test found out: the image is the same."""
    report = load_report(subject)
    return report.memory if report and report.image == subject.id else None


def _not_as_built(subject: Subject) -> Failure | None:
    try:
        subject.verify()
    except InputError as error:
        return Failure(what=error.what, fix=error.fix)
    return None


@contextmanager
def _new_logs(smoke_dir: Path) -> Iterator[Path]:
    """Give a folder for the logs of a test; at its end each takes the place of the last one's."""
    smoke_dir.mkdir(parents=True, exist_ok=True)
    _sweep(smoke_dir)
    folder = smoke_dir / f".{os.getpid()}.new"
    folder.mkdir(exist_ok=True)
    try:
        yield folder
        for old in [each for each in smoke_dir.iterdir() if not each.name.startswith(".")]:
            if old.is_dir():
                shutil.rmtree(old, ignore_errors=True)
        for new in folder.iterdir():
            new.replace(smoke_dir / new.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(smoke_dir: Path) -> None:
    """Remove the half-written logs of tests that were killed."""
    for path in smoke_dir.glob(".*.new"):
        pid = path.name.split(".")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(path, ignore_errors=True)
