"""The test of an image over one boot path: one boot, and more where it is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from imagebuilder.checks import Check
from imagebuilder.image import Image
from imagebuilder.progress import Reporter
from imagebuilder.recipe import SmokeOptions, Waiver
from imagebuilder.smoke.accel import hung_verdict, remember
from imagebuilder.smoke.boot import boot
from imagebuilder.smoke.diagnosis import diagnose
from imagebuilder.smoke.machine import TCG_CPU_MODELS
from imagebuilder.smoke.paths import BootPath
from imagebuilder.smoke.report import (
    CONSOLE_LOG,
    QEMU_LOG,
    SCREENSHOT,
    Accelerator,
    BootReport,
)
from imagebuilder.smoke.results import results_of
from imagebuilder.smoke.stages import furthest
from imagebuilder.smoke.watch import Boot

STEP = "smoke"  # what progress calls a test


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTest:
    """What is asked of one boot path.

    Attributes:
        image: what is booted.
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

    image: Image
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

        Args:
            used: what runs the guest's processors.
            may_fall_back: whether a KVM that hangs is replaced by software emulation.
            retries: how often a boot that did not pass is repeated, at most.

        Raises:
            HostError, InputError, Interrupted: as for :func:`imagebuilder.smoke.smoke_test`.
        """
        seen = self._boot(used, 1)
        boots: list[BootReport] = []
        if used.used == "kvm" and may_fall_back and _kvm_is_to_blame(seen):
            remember(self.cache_dir, hung_verdict(used.cpu_model))
            note = (
                f"it hung under KVM after {seen.seconds:.0f} s, so the test was repeated under "
                "software emulation"
            )
            self.reporter.note(STEP, note)
            hung = self._report(used, seen, 1, [note])
            boots.append(hung.model_copy(update={"passed": False, "host_failed": True}))
            used = Accelerator(
                used="tcg",
                why="software emulation, since the image hung under KVM, which had passed a trial",
                cpu_model=TCG_CPU_MODELS[self.cpu_baseline],
            )
            seen = self._boot(used, 2)
        boots.append(self._report(used, seen, len(boots) + 1, []))
        for left in range(retries, 0, -1):
            if boots[-1].passed:
                break
            number = len(boots) + 1
            again = f"{left - 1} more" if left > 1 else "the last time"
            self.reporter.note(STEP, f"{self.path.name} did not pass: boot {number} ({again})")
            boots.append(self._report(used, self._boot(used, number), number, []))
        return tuple(boots)

    def _folder(self, attempt: int) -> Path:
        return self.logs / (self.path.name if attempt == 1 else f"{self.path.name}.{attempt}")

    def _boot(self, used: Accelerator, attempt: int) -> Boot:
        folder = self._folder(attempt)
        folder.mkdir()
        return boot(
            self.image,
            self.checks,
            self.options,
            path=self.path,
            accelerator=used,
            logs={name: folder / name for name in (CONSOLE_LOG, QEMU_LOG, SCREENSHOT)},
            on_stage=lambda stage, seconds: self.reporter.note(
                STEP, f"{stage}: {seconds:.1f} s after power-on"
            ),
            cancel=self.reporter.cancel,
        )

    def _report(
        self, used: Accelerator, seen: Boot, attempt: int, notes: Sequence[str]
    ) -> BootReport:
        results, failure = (
            results_of(self.checks, seen.said, self.waivers, self.today),
            diagnose(seen),
        )
        kernel, to_multi_user = _facts(seen)
        built_with = self.image.facts.kernel_release
        if kernel and kernel != built_with:
            other = f"the kernel in the guest is {kernel}, the image's facts say {built_with}"
            notes = [*notes, other]
        return BootReport(
            path=self.path.name,
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
            logs=self._folder(attempt).name,
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
            to_multi_user = round(_number(each.texts[0]) / 1_000_000, 2)
    return kernel, to_multi_user


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _kvm_is_to_blame(seen: Boot) -> bool:
    """Whether a boot hung or broke in a way that a working KVM would not show."""
    internal = any("KVM internal error" in finding.line for finding in seen.findings)
    aborted = seen.exit_status is not None and seen.exit_status < 0 and seen.exit_status != -9
    return seen.ending == "still" or internal or aborted or "KVM internal error" in seen.qemu_said
