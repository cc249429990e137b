"""One boot of an image in a virtual machine, watched until it is clear what came of it."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagebuilder.checks import Check
from imagebuilder.command import redact, run
from imagebuilder.errors import StepError
from imagebuilder.image import BOOT_SCRIPT, INITRD, KERNEL, script_arguments
from imagebuilder.progress import Cancel
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke.confinement import confined
from imagebuilder.smoke.console import Console
from imagebuilder.smoke.firmware import find_ipxe
from imagebuilder.smoke.guest import guest_archive, runner_script, scripts_of
from imagebuilder.smoke.instruments import Instruments
from imagebuilder.smoke.machine import (
    SLOWNESS,
    Loaded,
    available_mib,
    extra_args,
    first_script,
    qemu_argv,
    translation_mib,
)
from imagebuilder.smoke.network import ALONE, EFI_BINARY, FIRST_SCRIPT, START, Place, Wiring
from imagebuilder.smoke.paths import BootPath
from imagebuilder.smoke.report import CONSOLE_LOG, QEMU_LOG, SCREENSHOT, Accelerator
from imagebuilder.smoke.secure import put
from imagebuilder.smoke.server import serve
from imagebuilder.smoke.sources import Served, copy
from imagebuilder.smoke.stages import KERNEL_STARTED
from imagebuilder.smoke.starvation import Starvation
from imagebuilder.smoke.subject import Subject
from imagebuilder.smoke.watch import Boot, OnStage, Watch

_ARCHIVE = "smoke.cpio"
_CHECK_MARGIN = 20.0  # seconds beyond their own limits that all checks together may take
# A machine that waits for the host has more time by the clock; so much, if nobody counts that.
_BUSIEST = 8.0
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
    slowness = SLOWNESS[accelerator.used]
    boot_limit = options.boot_timeout * slowness
    check_limit = sum(check.patience for check in checks) * slowness + _CHECK_MARGIN * slowness
    alone = options.machines == 1
    script = runner_script(
        checks,
        patience=boot_limit,
        slowness=slowness,
        environment=place.environment,
        alone=alone,
    )
    with short_folder() as scratch:
        results, archive = scratch / "results", scratch / _ARCHIVE
        wiring = place.wire(scratch)
        start = wiring.tftp / FIRST_SCRIPT
        start.write_text(first_script(wiring, subject.script, _ARCHIVE))
        # Compressed, since a kernel looks for one that is not at multiples of four bytes only,
        # and on UEFI it puts the archives together without regard to that.
        carried = guest_archive(script, scripts=scripts_of(checks), slowness=slowness)
        archive.write_bytes(gzip.compress(carried, mtime=0))
        results.touch()
        files = {**subject.files, _ARCHIVE: Served(name=_ARCHIVE, source=archive)}
        if subject.text:
            script_file = scratch / "script"
            script_file.write_text(subject.text)
            files[subject.script] = Served(name=BOOT_SCRIPT, source=script_file)
        if path.over_http:
            files[START] = Served(name=START, source=start)
            files[EFI_BINARY] = Served(name=EFI_BINARY, source=find_ipxe())
        loaded = None
        if path.secure or not path.from_network:
            loaded = _load(files, subject, archive, wiring, scratch)
        if loaded and path.secure:
            put(wiring.tftp, loaded.kernel, loaded.initrd, loaded.args)
        argv = qemu_argv(
            path,
            accelerator,
            options,
            wiring=wiring,
            results=results,
            scratch=scratch,
            loaded=None if path.from_network else loaded,
        )
        watch: Watch
        with Console(logs[CONSOLE_LOG], lambda: watch.clock()) as console:
            watch = Watch(
                console,
                results,
                (boot_limit, check_limit),
                accelerator.used,
                from_network=path.from_network,
                alone=alone,
            )
            watch.on_stage = on_stage
            with (
                serve(wiring.server, files, watch.transferred),
                Instruments(scratch, watch) as instruments,
            ):
                pid_file = scratch / "pid"
                whole = confined(
                    [*argv, *instruments.argv(), "-pidfile", str(pid_file)],
                    memory_mib=options.memory_mib,
                    translation_mib=translation_mib(options, available_mib()),
                    cpus=options.cpus,
                    spawns=wiring.spawns,
                )
                starvation = Starvation(pid_file)

                def look() -> bool:
                    starvation.look(watch.clock())
                    watch.spent(starvation.waited, starvation.idle)
                    instruments.look()
                    return watch.over() and not (watch.ending == "done" and place.stays())

                watch.power_on()
                status, qemu_said = _run_machine(
                    whole,
                    watch,
                    instruments,
                    look,
                    (boot_limit + check_limit + 60.0) * _BUSIEST,
                    logs,
                    cancel,
                )
            watch.over()  # what came at the very end
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
        screenshot=logs[SCREENSHOT] if logs[SCREENSHOT].exists() else None,
    )


def _load(
    files: Mapping[str, Served], subject: Subject, archive: Path, wiring: Wiring, scratch: Path
) -> Loaded:
    """Put together what the boot script would load, for a machine that does not run it."""
    initrd, script = scratch / INITRD, scratch / "script"
    copy(subject.served(INITRD), initrd)
    with initrd.open("ab") as file, archive.open("rb") as source:
        shutil.copyfileobj(source, file)
    if not subject.text:
        copy(files[subject.script], script)
    kernel = subject.local(KERNEL)
    if kernel is None:
        kernel = scratch / KERNEL
        copy(subject.served(KERNEL), kernel)
    settings = {"base": wiring.files_url, "extra-args": " ".join(extra_args(wiring))}
    args = script_arguments(script.read_text(), settings)
    return Loaded(kernel=kernel, initrd=initrd, args=args)


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
    instruments: Instruments,
    look: Callable[[], bool],
    limit: float,
    logs: Mapping[str, Path],
    cancel: Cancel | None,
) -> tuple[int | None, str]:
    """Run QEMU until the test is over; return its exit status, if its own, and its words."""
    words: list[str] = []

    def over() -> bool:
        if not look():
            return False
        if watch.went_wrong:
            instruments.screenshot(logs[SCREENSHOT])
            if KERNEL_STARTED not in watch.stages:
                watch.screen = instruments.screen_text()
                watch.console.take_screen(watch.screen)
        return True

    with logs[QEMU_LOG].open("w", encoding="utf-8", errors="replace") as file:
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
                until=over,
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
