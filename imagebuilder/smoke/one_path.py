"""The test of an image over one boot path: one boot, and more where it is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from imagebuilder.checks import Check
from imagebuilder.progress import Reporter
from imagebuilder.recipe import SmokeOptions, Waiver
from imagebuilder.smoke.accel import hung_verdict, remember
from imagebuilder.smoke.boot import boot, short_folder
from imagebuilder.smoke.chain import read_chain, read_samples
from imagebuilder.smoke.diagnosis import diagnose
from imagebuilder.smoke.guest import number
from imagebuilder.smoke.machine import SLOWNESS, TCG_CPU_MODELS
from imagebuilder.smoke.network import Place, alone
from imagebuilder.smoke.paths import BootPath
from imagebuilder.smoke.rack import Rack, boot_together, layout_of, needs_rack
from imagebuilder.smoke.report import (
    CONSOLE_LOG,
    QEMU_LOG,
    RACK_LOG,
    SCREENSHOT,
    TIMELINE,
    Accelerator,
    BootReport,
)
from imagebuilder.smoke.results import results_of
from imagebuilder.smoke.stages import furthest
from imagebuilder.smoke.subject import Subject
from imagebuilder.smoke.timeline import timeline_svg
from imagebuilder.smoke.watch import Boot

_KVM_ALONE = (
    "KVM may be to blame: with --accel auto the test would have been repeated under software "
    "emulation"
)
_STARVED_SECONDS = _IDLE_SECONDS = 30.0  # from when on the reader should know
STEP = "smoke"  # what progress calls a test


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of machines that ran at once, and of the network between them."""

    boots: tuple[Boot, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTest:
    """What is asked of one boot path.

    Attributes:
        subject: what is booted.
        checks: what must hold in the guest.
        options: the machine.
        path: how it gets its kernel.
        cache_dir: where the verdict on KVM is kept.
        cpu_baseline: the x86-64 level that the image's programs need.
        reporter: is told of the stages.
        logs: the folder in which this path's folder of logs is made.
        waivers: of checks that may fail.
        today: the day by which these are judged.
    """

    subject: Subject
    checks: Sequence[Check]
    options: SmokeOptions
    path: BootPath
    cache_dir: Path
    cpu_baseline: str
    reporter: Reporter
    logs: Path
    waivers: Sequence[Waiver]
    today: date

    def run(
        self, used: Accelerator, *, may_fall_back: bool, retries: int = 0
    ) -> tuple[BootReport, ...]:
        """Boot the image and look at the checks, again if need be; return each boot's report.

        Several machines are booted at once, and again together.

        Args:
            used: what runs the guests' processors.
            may_fall_back: whether a KVM that hangs is replaced by software emulation.
            retries: how often a boot that did not pass is repeated, at most.

        Raises:
            HostError, InputError, Interrupted: as for :func:`imagebuilder.smoke.smoke_test`.
        """
        seen = self._boot(used, 1)
        boots: list[BootReport] = []
        attempt = 1
        by_kvm = used.used == "kvm"
        hung = [each for each in seen.boots if by_kvm and _kvm_is_to_blame(each)]
        if may_fall_back and hung:
            remember(self.cache_dir, hung_verdict(used.cpu_model))
            note = (
                f"it hung under KVM after {hung[0].seconds:.0f} s, so the test was repeated under "
                "software emulation"
            )
            self.reporter.note(STEP, note)
            boots += (
                each.model_copy(update={"passed": False, "host_failed": True})
                for each in self._reports(used, seen, attempt, [note])
            )
            used = Accelerator(
                used="tcg",
                why="software emulation, since the image hung under KVM, which had passed a trial",
                cpu_model=TCG_CPU_MODELS[self.cpu_baseline],
            )
            attempt += 1
            seen = self._boot(used, attempt)
        last = self._reports(used, seen, attempt, [_KVM_ALONE] if hung and not boots else [])
        for left in range(retries, 0, -1):
            if all(each.passed for each in last):
                break
            boots += last
            attempt += 1
            again = f"{left - 1} more" if left > 1 else "the last time"
            self.reporter.note(STEP, f"{self.path.name} did not pass: boot {attempt} ({again})")
            last = self._reports(used, self._boot(used, attempt), attempt, [])
        return (*boots, *last)

    def with_memory(self, mib: int, used: Accelerator) -> BootReport:
        """Boot the image once in a machine with so much memory, and look at no checks."""
        smaller = replace(
            self,
            options=self.options.model_copy(update={"memory_mib": mib, "machines": 1}),
            checks=(),
            logs=self.logs / f"memory-{mib}",
        )
        smaller.logs.mkdir()
        return smaller._reports(used, smaller._boot(used, 1), 1, [])[0]

    def _folder(self, attempt: int, machine: int = 1) -> Path:
        name = self.path.name if machine == 1 else f"{self.path.name}-machine{machine}"
        return self.logs / (name if attempt == 1 else f"{name}.{attempt}")

    def _boot(self, used: Accelerator, attempt: int) -> Seen:
        layout = layout_of(self.options)
        if not needs_rack(self.options, self.path.name):
            machine = layout.machines[0]
            place = alone(self.path.bootfile, machine.cards[0].mac, machine.args)
            return Seen(boots=(self._boot_one(used, attempt, place),))
        log = self._folder(attempt) / RACK_LOG
        log.parent.mkdir()
        with (
            short_folder() as folder,
            Rack(
                layout,
                folder,
                log,
                over_http=self.path.over_http,
                bootfile=self.path.bootfile,
                cancel=self.reporter.cancel,
            ) as rack,
        ):
            boots = boot_together(
                [rack.place(machine.number) for machine in layout.machines],
                lambda place: self._boot_one(used, attempt, place),
            )
            return Seen(boots=boots, notes=rack.notes)

    def _boot_one(self, used: Accelerator, attempt: int, place: Place) -> Boot:
        folder = self._folder(attempt, place.number)
        folder.mkdir(exist_ok=True)
        who = f"machine {place.number}, " if self.options.machines > 1 else ""
        return boot(
            self.subject,
            self.checks,
            self.options,
            path=self.path,
            accelerator=used,
            logs={name: folder / name for name in (CONSOLE_LOG, QEMU_LOG, SCREENSHOT)},
            on_stage=lambda stage, seconds: self.reporter.note(
                STEP, f"{who}{stage}: {seconds:.1f} s after power-on"
            ),
            cancel=self.reporter.cancel,
            place=place,
        )

    def _reports(
        self, used: Accelerator, seen: Seen, attempt: int, notes: Sequence[str]
    ) -> tuple[BootReport, ...]:
        return tuple(
            self._report(used, each, attempt, number, [*notes, *seen.notes])
            for number, each in enumerate(seen.boots, 1)
        )

    def _report(
        self, used: Accelerator, seen: Boot, attempt: int, machine: int, notes: Sequence[str]
    ) -> BootReport:
        results, failure = (
            results_of(self.checks, seen.said, self.waivers, self.today),
            diagnose(seen),
        )
        kernel, to_multi_user = _facts(seen)
        built_with = self.subject.kernel_release
        if kernel and built_with and kernel != built_with:
            other = f"the kernel in the guest is {kernel}, the image's facts say {built_with}"
            notes = [*notes, other]
        samples = read_samples(seen.said)
        picture = timeline_svg(
            f"{self.subject.recipe} {self.subject.id}: {self.path.name} ({used.used})",
            stages=seen.stages,
            seconds=seen.seconds,
            chain=read_chain(seen.said),
            samples=samples,
            failure=failure.what if failure else "",
        )
        (self._folder(attempt, machine) / TIMELINE).write_bytes(picture)
        if seen.starved >= _STARVED_SECONDS:
            notes = [
                *notes,
                f"it waited {seen.starved:.0f} s for the host's processors, which were busy; "
                "these do not count against its time",
            ]
        if seen.ending == "timeout" and seen.idle * (SLOWNESS[used.used] - 1) >= _IDLE_SECONDS:
            notes = [
                *notes,
                f"it was idle for {seen.idle:.0f} s: emulation makes no clock slower, so these "
                f"count {SLOWNESS[used.used]:.0f} times against its time",
            ]
        return BootReport(
            path=self.path.name,
            machine=machine,
            attempt=attempt,
            passed=failure is None and not any(each.counts_against for each in results),
            seconds=round(seen.seconds, 1),
            accelerator=used,
            kernel=kernel,
            stages=seen.stages,
            stage=furthest(seen.stages),
            seconds_to_multi_user=to_multi_user,
            checks=results,
            console_findings=seen.findings,
            failure=failure,
            logs=self._folder(attempt, machine).name,
            timeline=TIMELINE,
            memory_peak_mib=max(
                (round(each.total - each.available) for each in samples), default=None
            ),
            screenshot=seen.screenshot.name if seen.screenshot else "",
            notes=tuple(notes),
        )


def _facts(seen: Boot) -> tuple[str, float | None]:
    """Return the kernel's release and the seconds to multi-user.target, as the guest said."""
    kernel, to_multi_user = "", None
    for each in seen.said:
        if each.word == "hello":
            kernel = each.texts[1]
        elif each.word == "reached":
            to_multi_user = round(number(each.texts[0]) / 1_000_000, 2)
    return kernel, to_multi_user


def _kvm_is_to_blame(seen: Boot) -> bool:
    """Whether a boot hung or broke in a way that a working KVM would not show."""
    internal = any("KVM internal error" in finding.line for finding in seen.findings)
    aborted = seen.exit_status is not None and seen.exit_status < 0 and seen.exit_status != -9
    # A KVM that cannot go on stops the machine, which QEMU's monitor tells.
    hung = seen.ending in ("still", "stopped")
    return hung or internal or aborted or "KVM internal error" in seen.qemu_said
