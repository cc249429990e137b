"""One boot of an image in a virtual machine, watched until it is clear what came of it."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.checks import Check
from imagebuilder.command import redact, run
from imagebuilder.errors import StepError
from imagebuilder.image import BOOT_SCRIPT, INITRD, KERNEL, ROOTFS, Image, script_arguments
from imagebuilder.progress import Cancel
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke.console import Console
from imagebuilder.smoke.guest import Said, guest_archive, parse, runner_script
from imagebuilder.smoke.machine import EXTRA_ARGS, FILES_URL, Loaded, first_script, qemu_argv
from imagebuilder.smoke.paths import BootPath
from imagebuilder.smoke.report import CONSOLE_LOG, QEMU_LOG, Accelerator, ConsoleFinding
from imagebuilder.smoke.server import Transfer, serve

SLOWNESS = {"kvm": 1.0, "tcg": 5.0}  # by what time limits are multiplied (SmokeOptions)

_ARCHIVE = "smoke.cpio"
_AFTERMATH_SECONDS = 2.0  # what is said after a fatal line belongs to it: a trace of calls
_STILL_SECONDS = 60.0  # without a line, a transfer or a result, under KVM: it hangs
_CHECK_MARGIN = 20.0  # seconds beyond their own limits that all checks together may take
_FOLDER_LIMIT = 80  # bytes; a socket's path may have 107 (unix(7))
_RESULTS_LIMIT = 4 << 20  # bytes that the guest may say

# Stages, in their order; keys of SmokeReport.stages.
FETCHED = {
    BOOT_SCRIPT: "boot script fetched",
    KERNEL: "kernel fetched",
    INITRD: "initrd fetched",
    ROOTFS: "rootfs fetched",
}
KERNEL_STARTED = "kernel started"
SYSTEMD_STARTED = "systemd of the image started"
MULTI_USER = "multi-user.target"
CHECKS_DONE = "checks done"

OnStage = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What was seen of one boot: plain facts, no judgement.

    Attributes:
        ending: why it was ended: ``done`` (the runner said all), ``fatal`` (a line of the
            console), ``missing`` (a file was asked for that the image has not), ``exited`` (the
            machine ended by itself), ``timeout``, ``still`` (nothing moved for long),
            ``settled`` (the boot is over, its target not reached), ``flood`` (the guest wrote
            without end).
        stages: what was reached, in seconds since power-on.
        transfers: what the guest asked for.
        said: what the runner said.
        findings: telling lines of the console.
        fatal: the line that ended it.
        excerpt: the last lines of the console.
        exit_status: QEMU's; None if it was ended from here.
        qemu_said: the last lines that QEMU itself said.
        reached_login: whether the console asked for a login, or told of multi-user.target.
        limit: seconds that the boot had.
        seconds: how long the machine ran.
        path: how it was booted.
    """

    ending: str
    stages: dict[str, float]
    transfers: tuple[Transfer, ...]
    said: tuple[Said, ...]
    findings: tuple[ConsoleFinding, ...]
    fatal: ConsoleFinding | None
    excerpt: str
    exit_status: int | None
    qemu_said: str
    reached_login: bool
    limit: float
    seconds: float
    path: BootPath


class _Watch:
    """Takes in what a running guest does, from several threads, and says when to end it."""

    def __init__(
        self, console: Console, results: Path, limits: tuple[float, float], accelerator: str
    ) -> None:
        self.console = console
        self.stages: dict[str, float] = {}
        self.transfers: dict[int, Transfer] = {}
        self.said: list[Said] = []
        self.ending = ""
        self.on_stage: OnStage = lambda _stage, _seconds: None
        self._results = results
        self._boot_limit, self._check_limit = limits
        self._accelerator = accelerator
        self._began = time.monotonic()
        self._read = 0
        self._rest = b""
        self._moved = 0.0
        self._lock = threading.Lock()

    def clock(self) -> float:
        return time.monotonic() - self._began

    def power_on(self) -> None:
        self._began = time.monotonic()

    def stage(self, name: str, seconds: float | None = None) -> None:
        if name in self.stages:
            return
        self.stages[name] = round(self.clock() if seconds is None else seconds, 1)
        self.on_stage(name, self.stages[name])

    def transferred(self, transfer: Transfer) -> None:
        """Note how far a transfer is; called from the threads of the server."""
        with self._lock:
            self.transfers[transfer.number] = transfer

    def over(self) -> bool:
        """Look at everything that came since the last time; return whether the test is over."""
        self._look_at_transfers()
        self._look_at_results()
        if self.console.kernel_started is not None:
            self.stage(KERNEL_STARTED, self.console.kernel_started)
        self.ending = self.ending or self._judge()
        return bool(self.ending)

    def _look_at_transfers(self) -> None:
        with self._lock:
            transfers = list(self.transfers.values())
        for each in transfers:
            if each.whole and each.name in FETCHED:
                self.stage(FETCHED[each.name], each.ended - self._began)
            self._moved = max(self._moved, each.ended - self._began)
        if any(each.status == 404 and each.name in FETCHED for each in transfers):
            self.ending = self.ending or "missing"

    def _look_at_results(self) -> None:
        with self._results.open("rb") as file:
            file.seek(self._read)
            data = file.read(_RESULTS_LIMIT)
        if not data:
            return
        self._moved = self.clock()
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            said = parse(line.decode("utf-8", errors="replace"))
            if said:
                self._hear(said)
        if self._read > _RESULTS_LIMIT:
            self.ending = self.ending or "flood"

    def _hear(self, said: Said) -> None:
        self.said.append(said)
        if said.word == "hello":
            self.stage(SYSTEMD_STARTED)
        elif said.word == "reached":
            self.stage(MULTI_USER)
        elif said.word == "settled":
            self.ending = self.ending or "settled"
        elif said.word == "end":
            self.stage(CHECKS_DONE)
            self.ending = self.ending or "done"

    def _judge(self) -> str:
        now = self.clock()
        if self.console.fatal and now >= self.console.fatal.seconds + _AFTERMATH_SECONDS:
            return "fatal"
        if self.console.flooded:
            return "flood"
        reached = self.stages.get(MULTI_USER)
        if reached is None and now > self._boot_limit:
            return "timeout"
        if reached is not None and now > reached + self._check_limit:
            return "timeout"
        moved = max(self._moved, self.console.last_line)
        if reached is None and self._accelerator == "kvm" and now > moved + _STILL_SECONDS:
            return "still"
        return ""


def boot(
    image: Image,
    checks: Sequence[Check],
    options: SmokeOptions,
    *,
    path: BootPath,
    accelerator: Accelerator,
    logs: Mapping[str, Path],
    on_stage: OnStage,
    cancel: Cancel | None,
) -> Boot:
    """Boot an image and let the runner in it look at the checks.

    Args:
        image: what is booted.
        checks: what the runner looks at.
        options: the machine's size and time.
        path: how it boots.
        accelerator: what runs its processors.
        logs: where the logs go, by their names.
        on_stage: called when the boot reaches a stage.
        cancel: looked at several times a second.

    Raises:
        HostError: a program is missing.
        InputError: a check holds a character that no shell can hold.
        Interrupted: ``cancel`` was set.
    """
    slowness = SLOWNESS[accelerator.used]
    boot_limit = options.boot_timeout * slowness
    check_limit = sum(check.timeout for check in checks) * slowness + _CHECK_MARGIN * slowness
    script = runner_script(checks, patience=boot_limit, slowness=slowness)
    with tempfile.TemporaryDirectory(prefix="imagebuilder-", dir=_short_folder()) as private:
        scratch = Path(private)
        tftp, results, archive = scratch / "tftp", scratch / "results", scratch / _ARCHIVE
        tftp.mkdir()
        (tftp / "boot.ipxe").write_text(first_script(_ARCHIVE))
        archive.write_bytes(guest_archive(script, slowness=slowness))
        results.touch()
        files = {name: image.path / name for name in FETCHED} | {_ARCHIVE: archive}
        argv = qemu_argv(
            path,
            accelerator,
            options,
            tftp=tftp,
            socket=scratch / "http",
            results=results,
            loaded=None if path.from_network else _load(image, archive, scratch / INITRD),
        )
        watch: _Watch
        with Console(logs[CONSOLE_LOG], lambda: watch.clock()) as console:
            watch = _Watch(console, results, (boot_limit, check_limit), accelerator.used)
            watch.on_stage = on_stage
            with serve(scratch / "http", files, watch.transferred):
                watch.power_on()
                status, qemu_said = _run_machine(
                    argv, watch, boot_limit + check_limit + 60.0, logs[QEMU_LOG], cancel
                )
            watch.over()  # what came at the very end
    return Boot(
        ending=watch.ending or "exited",
        stages=dict(sorted(watch.stages.items(), key=lambda item: item[1])),
        transfers=tuple(watch.transfers.values()),
        said=tuple(watch.said),
        findings=tuple(console.findings),
        fatal=console.fatal,
        excerpt=console.excerpt(),
        exit_status=status,
        qemu_said=qemu_said,
        reached_login=console.has("login:") or console.has("multi-user.target"),
        limit=boot_limit,
        seconds=watch.clock(),
        path=path,
    )


def _load(image: Image, archive: Path, initrd: Path) -> Loaded:
    """Put together what the boot script would load, for a machine that has no boot loader."""
    with initrd.open("wb") as file:
        for part in (image.initrd, archive):
            file.write(bytes(-file.tell() % 4))  # the kernel looks for an archive at such places
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
    settings = {"base": FILES_URL, "extra-args": " ".join(EXTRA_ARGS)}
    args = script_arguments((image.path / BOOT_SCRIPT).read_text(), settings)
    return Loaded(kernel=image.kernel, initrd=initrd, args=args)


def _short_folder() -> str:
    """Return the folder for temporary files, or one whose path leaves room for a socket's."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) <= _FOLDER_LIMIT else "/tmp"  # noqa: S108


def _run_machine(
    argv: list[str], watch: _Watch, limit: float, log: Path, cancel: Cancel | None
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
                until=watch.over,
                check=False,
                what="QEMU",
                grace=1.0,
            )
        except StepError:
            watch.ending = watch.ending or "timeout"  # the watch should have ended it before
            return None, "\n".join(words[-5:])
        stopped = bool(watch.ending)
        file.write("ended by the test\n" if stopped else f"exit status {result.returncode}\n")
    return (None if stopped else result.returncode), redact("\n".join(words[-5:]))
