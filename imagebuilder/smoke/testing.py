"""The test of one image, from the question to the report."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from imagebuilder.checks import Check
from imagebuilder.errors import InputError
from imagebuilder.image import Image
from imagebuilder.progress import Cancel, Observer, Reporter, ignore
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke.accel import AccelChoice, choose, hung_verdict, remember
from imagebuilder.smoke.boot import Boot, boot
from imagebuilder.smoke.diagnosis import diagnose
from imagebuilder.smoke.guest import runner_script, wanted
from imagebuilder.smoke.machine import ARCH, BOOT_PATHS, TCG_CPU_MODELS, BootPath, find_tools
from imagebuilder.smoke.report import (
    CONSOLE_LOG,
    QEMU_LOG,
    Accelerator,
    CheckResult,
    Failure,
    SmokeReport,
    digest_of,
    store_report,
)

_STEP = "smoke"
_TITLE_LIMIT = 100


def smoke_test(
    image: Image,
    checks: Sequence[Check],
    options: SmokeOptions,
    *,
    accel: AccelChoice = "auto",
    cache_dir: Path,
    observer: Observer = ignore,
    cancel: Cancel | None = None,
    cpu_baseline: str = "v1",
    arch: str = ARCH,
) -> SmokeReport:
    """Boot an image as a machine of the fleet would, and look at the checks in it.

    The report and the logs are written to ``image.smoke_dir``, whether it passed or not.

    Args:
        image: what is tested; none of its files is changed.
        checks: what must hold in the guest, looked at in this order.
        options: the machine.
        accel: ``auto`` takes KVM where a trial shows that it works; else software emulation.
        cache_dir: where the verdict on KVM is kept.
        observer: is told of the stages and checks.
        cancel: looked at several times a second.
        cpu_baseline: the x86-64 level that the image's programs need: v1, v2 or v3.
        arch: the image's architecture.

    Raises:
        HostError: QEMU or its iPXE ROM is not installed.
        InputError: a check cannot be asked (a NUL character), the baseline is unknown, or the
            image is for another architecture than the machine.
        Interrupted: ``cancel`` was set; the last report stays as it was.
    """
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
    runner_script(checks, patience=1, slowness=1)  # raises, before anything is started
    reporter = Reporter(subject=image.recipe, observer=observer, cancel=cancel or Cancel())
    path = BOOT_PATHS["pxe-bios"]
    with reporter.step(_STEP, f"boot {image.id} ({path.title})"):
        find_tools(path)
        test = _Test(image=image, checks=checks, options=options, path=path, reporter=reporter)
        report = test.run(accel, cache_dir, cpu_baseline)
        store_report(report, image.smoke_dir)
    return report


class _Test:
    def __init__(
        self,
        *,
        image: Image,
        checks: Sequence[Check],
        options: SmokeOptions,
        path: BootPath,
        reporter: Reporter,
    ) -> None:
        self._image = image
        self._checks = checks
        self._options = options
        self._path = path
        self._reporter = reporter
        self._notes: list[str] = []
        self._started = datetime.now(UTC)
        self._began = time.monotonic()

    def run(self, choice: AccelChoice, cache_dir: Path, baseline: str) -> SmokeReport:
        """Test the image; return the report."""
        try:
            self._image.verify()
        except InputError as error:
            return self._report(None, None, Failure(what=error.what, fix=error.fix))
        used = choose(
            choice,
            cache_dir=cache_dir,
            kernel=self._image.kernel,
            cpus=self._options.cpus,
            cpu_baseline=baseline,
            cancel=self._reporter.cancel,
        )
        self._reporter.note(_STEP, f"{used.used}: {used.why}")
        seen = self._boot(used)
        if used.used == "kvm" and choice == "auto" and _kvm_is_to_blame(seen):
            remember(cache_dir, hung_verdict(used.cpu_model))
            self._notes.append(
                f"a first boot under KVM hung after {seen.seconds:.0f} s, so the test was "
                "repeated under software emulation"
            )
            used = Accelerator(
                used="tcg",
                why="software emulation, since the image hung under KVM, which had passed a trial",
                cpu_model=TCG_CPU_MODELS[baseline],
            )
            self._reporter.note(_STEP, self._notes[-1])
            seen = self._boot(used)
        return self._report(used, seen, diagnose(seen))

    def _boot(self, used: Accelerator) -> Boot:
        """Boot once; the logs of an earlier test are replaced at the end, whole."""
        folder = self._image.smoke_dir
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        partial = f".{os.getpid()}."
        names = (CONSOLE_LOG, QEMU_LOG)
        try:
            seen = boot(
                self._image,
                self._checks,
                self._options,
                path=self._path,
                accelerator=used,
                logs={name: folder / f"{partial}{name}" for name in names},
                on_stage=lambda stage, seconds: self._reporter.note(
                    _STEP, f"{stage}: {seconds:.1f} s after power-on"
                ),
                cancel=self._reporter.cancel,
            )
            for name in names:
                (folder / f"{partial}{name}").replace(folder / name)
        finally:
            for name in names:
                (folder / f"{partial}{name}").unlink(missing_ok=True)
        return seen

    def _report(
        self, used: Accelerator | None, seen: Boot | None, failure: Failure | None
    ) -> SmokeReport:
        results = self._results(seen)
        kernel, to_multi_user = _facts(seen)
        notes = list(self._notes)
        built_with = self._image.facts.kernel_release
        if kernel and kernel != built_with:
            notes.append(f"the kernel in the guest is {kernel}, the image's facts say {built_with}")
        return SmokeReport(
            image=self._image.id,
            recipe=self._image.recipe,
            tested=digest_of(self._checks, self._options),
            started=self._started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._began, 1),
            passed=failure is None and all(each.outcome == "passed" for each in results),
            boot_path=self._path.name,
            accelerator=used,
            kernel=kernel,
            stages=seen.stages if seen else {},
            seconds_to_multi_user=to_multi_user,
            checks=results,
            console_findings=seen.findings if seen else (),
            failure=failure,
            notes=tuple(notes),
        )

    def _results(self, seen: Boot | None) -> tuple[CheckResult, ...]:
        said = {
            each.texts[0]: each.texts
            for each in (seen.said if seen else ())
            if each.word == "check"
        }
        return tuple(
            _result(check, said.get(str(number))) for number, check in enumerate(self._checks, 1)
        )


def _sweep(folder: Path) -> None:
    """Remove the half-written logs of tests that were killed."""
    for path in folder.glob(".*.log"):
        pid = path.name.split(".")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            path.unlink(missing_ok=True)


def _title(check: Check) -> str:
    """Return what the report calls a check: one line, at most 100 characters."""
    title = " ".join(check.title.split())
    return title if len(title) <= _TITLE_LIMIT else title[: _TITLE_LIMIT - 1] + "…"


def _result(check: Check, texts: tuple[str, ...] | None) -> CheckResult:
    if texts is None:
        message = f"wanted {wanted(check)}; the test ended before an answer"
        return CheckResult(title=_title(check), kind=check.kind, outcome="not-run", message=message)
    _, outcome, seconds, found, output = texts
    return CheckResult(
        title=_title(check),
        kind=check.kind,
        outcome="passed" if outcome == "passed" else "failed",
        seconds=_number(seconds),
        message=f"wanted {wanted(check)}; {found}",
        output=output,
    )


def _facts(seen: Boot | None) -> tuple[str, float | None]:
    """Return the kernel's release and the seconds to multi-user.target, as the guest said."""
    kernel, to_multi_user = "", None
    for each in seen.said if seen else ():
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
