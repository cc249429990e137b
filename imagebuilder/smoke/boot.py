"""One boot of an image in a virtual machine, watched until it is clear what came of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.checks import Check
from imagebuilder.command import redact, run
from imagebuilder.errors import StepError
from imagebuilder.progress import Cancel
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke.confinement import confined
from imagebuilder.smoke.console import Console
from imagebuilder.smoke.guest import guest_archive, runner_script, scripts_of
from imagebuilder.smoke.instruments import Instruments
from imagebuilder.smoke.machine import SLOWNESS, available_mib, qemu_argv, translation_mib
from imagebuilder.smoke.network import ALONE, Place
from imagebuilder.smoke.paths import BootPath
from imagebuilder.smoke.prepared import prepare
from imagebuilder.smoke.report import CONSOLE_LOG, QEMU_LOG, SCREENSHOT, Accelerator
from imagebuilder.smoke.server import serve
from imagebuilder.smoke.stages import KERNEL_STARTED
from imagebuilder.smoke.starvation import Starvation
from imagebuilder.smoke.subject import Subject
from imagebuilder.smoke.watch import Boot, OnStage, Watch

_CHECK_MARGIN = 20.0  # seconds beyond their own limits that all checks together may take
# A machine that waits for the host has more time by the clock; so much, if nobody counts that.
_BUSIEST = 8.0
_LOOK_SECONDS = 0.1  # from one look at a machine to the next; each costs a third of a millisecond
_FOLDER_LIMIT = 80  # bytes; a socket's path may have 107 (unix(7))


def boot(
    subject: Subject,
    checks: Sequence[Check],
    options: SmokeOptions,
    *,
    path: BootPath,
    accelerator: Accelerator,
    logs: Mapping[str, Path],
    on_stage: OnStage,
    cancel: Cancel | None,
    place: Place = ALONE,
) -> Boot:
    """Boot a machine and let the runner in it look at the checks.

    Args:
        subject: what is booted.
        checks: what the runner looks at.
        options: the machine's size and time.
        path: how it boots.
        accelerator: what runs its processors.
        logs: where the logs go, by their names.
        on_stage: called when the boot reaches a stage.
        cancel: looked at several times a second.
        place: its network, and the machines beside it.

    Raises:
        HostError: a program is missing.
        InputError: a check holds a character that no shell can hold.
        Interrupted: ``cancel`` was set.
    """
    limits = _limits(checks, options, accelerator)
    carried = _carried(checks, limits, place, accelerator, alone=options.machines == 1)
    with short_folder() as scratch:
        wiring = place.wire(scratch)
        files = prepare(subject, path, wiring, carried, scratch)
        results = scratch / "results"
        results.touch()
        argv = qemu_argv(
            path,
            accelerator,
            options,
            wiring=wiring,
            results=results,
            scratch=scratch,
            loaded=files.loaded,
        )
        watch: Watch
        with Console(logs[CONSOLE_LOG], lambda: watch.clock()) as console:
            watch = Watch(
                console,
                results,
                (limits.boot, limits.checks),
                accelerator.used,
                from_network=path.from_network,
                alone=options.machines == 1,
            )
            watch.on_stage = on_stage
            with (
                serve(wiring.server, files.served, watch.transferred),
                Instruments(scratch, watch) as instruments,
            ):
                pid_file = scratch / "pid"
                machine = confined(
                    [*argv, *instruments.argv(), "-pidfile", str(pid_file)],
                    memory_mib=options.memory_mib,
                    translation_mib=translation_mib(options, available_mib()),
                    cpus=options.cpus,
                    spawns=wiring.spawns,
                )
                look = _looking(watch, instruments, Starvation(pid_file), place, logs[SCREENSHOT])
                watch.power_on()
                status, qemu_said = _run_machine(
                    machine, watch, look, limits.by_the_clock, logs[QEMU_LOG], cancel
                )
            watch.over()  # what came at the very end
    return _seen(watch, path, status, qemu_said, logs[SCREENSHOT])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """Seconds that a boot may take, and all checks together."""

    boot: float
    checks: float

    @property
    def by_the_clock(self) -> float:
        """How long QEMU may run; the watch should have ended it before."""
        return (self.boot + self.checks + 60.0) * _BUSIEST


def _limits(checks: Sequence[Check], options: SmokeOptions, accelerator: Accelerator) -> _Limits:
    slowness = SLOWNESS[accelerator.used]
    of_checks = sum(check.patience for check in checks) + _CHECK_MARGIN
    return _Limits(boot=options.boot_timeout * slowness, checks=of_checks * slowness)


def _carried(
    checks: Sequence[Check],
    limits: _Limits,
    place: Place,
    accelerator: Accelerator,
    *,
    alone: bool,
) -> bytes:
    """Return the archive that brings the runner into the guest, with what it looks at."""
    slowness = SLOWNESS[accelerator.used]
    script = runner_script(
        checks,
        patience=limits.boot,
        slowness=slowness,
        environment=place.environment,
        alone=alone,
    )
    return guest_archive(script, scripts=scripts_of(checks), slowness=slowness)


def _looking(
    watch: Watch, instruments: Instruments, starvation: Starvation, place: Place, picture: Path
) -> Callable[[], bool]:
    """Return what looks at a running machine, and says whether it is to be ended."""
    looked = -_LOOK_SECONDS

    def look() -> bool:
        nonlocal looked
        if watch.clock() < looked + _LOOK_SECONDS:
            return False  # it is asked with each piece of a line on the console
        looked = watch.clock()
        starvation.look(watch.clock())
        watch.spent(starvation.waited, starvation.idle)
        instruments.look()
        if not watch.over() or (watch.ending == "done" and place.stays()):
            return False
        if watch.went_wrong:
            instruments.screenshot(picture)
            if KERNEL_STARTED not in watch.stages:
                watch.screen = instruments.screen_text()
                watch.console.take_screen(watch.screen)
        return True

    return look


def _seen(watch: Watch, path: BootPath, status: int | None, qemu_said: str, picture: Path) -> Boot:
    """Return what was seen of a boot that is over."""
    console = watch.console
    return Boot(
        ending=watch.ending or "exited",
        stages=dict(sorted(watch.stages.items(), key=lambda item: item[1])),
        transfers=tuple(watch.transfers.values()),
        packets=tuple(watch.packets),
        events=tuple(watch.events),
        said=tuple(watch.said),
        findings=tuple(console.findings),
        fatal=console.fatal,
        fatal_follows=console.fatal_follows,
        handed_over=console.handed_over,
        waits_for=console.waits_for,
        screen=watch.screen,
        excerpt=console.excerpt(),
        exit_status=status,
        qemu_said=qemu_said,
        reached_login=bool(console.came_up),
        seconds=watch.clock(),
        path=path,
        starved=watch.starved,
        idle=watch.idle,
        screenshot=picture if picture.exists() else None,
    )


@contextmanager
def short_folder() -> Iterator[Path]:
    """Give a private folder whose path leaves room for a socket's (unix(7)), and remove it."""
    folder = tempfile.gettempdir()
    where = folder if len(os.fsencode(folder)) <= _FOLDER_LIMIT else "/tmp"  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="imagebuilder-", dir=where) as private:
        yield Path(private)


def _run_machine(
    argv: list[str],
    watch: Watch,
    look: Callable[[], bool],
    limit: float,
    log: Path,
    cancel: Cancel | None,
) -> tuple[int | None, str]:
    """Run QEMU until the test is over; return its exit status, if its own, and its words."""
    words: list[str] = []
    with log.open("w", encoding="utf-8", errors="replace") as file:
        file.write(" ".join(argv) + "\n")

        def hear(line: str) -> None:
            words.append(line)
            file.write(line + "\n")
            file.flush()

        try:
            result = run(
                argv,
                timeout=limit,
                cancel=cancel,
                on_line=watch.console.take,
                on_error_line=hear,
                until=look,
                check=False,
                what="QEMU",
                grace=1.0,
                returns=True,
            )
        except StepError:
            watch.ending = watch.ending or "timeout"  # the watch should have ended it before
            return None, "\n".join(words[-5:])
        stopped = bool(watch.ending)
        file.write("ended by the test\n" if stopped else f"exit status {result.returncode}\n")
    return (None if stopped else result.returncode), redact("\n".join(words[-5:]))
