"""A report as a person reads it, and as the error that ends a command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from imagebuilder.errors import CheckError
from imagebuilder.image import Image
from imagebuilder.smoke.report import (
    CONSOLE_LOG,
    BootReport,
    CheckResult,
    Failure,
    Outcome,
    SmokeReport,
)
from imagebuilder.smoke.subject import Subject

_NOT_PASSED: tuple[Outcome, ...] = ("failed", "waived", "skipped", "not-run")
_OUTPUT_LINES = 8  # of a failed check's output; the report has more


def report_error(report: SmokeReport, image: Image | Subject) -> CheckError:
    """Return the error that stands for a failed report: it names what failed first."""
    if report.failure:
        return _broken(report, report.failure, image, None)
    failed = [boot for boot in report.last_boots if not boot.passed]
    for boot in failed:
        if boot.failure:
            return _broken(report, boot.failure, image, boot)
    found = [(boot, check) for boot in failed for check in boot.failed_checks]
    if not found and report.exceeded:
        costs = "; ".join(each.message for each in report.exceeded)
        return CheckError(
            f"{report.recipe} exceeds its budget: {costs}",
            fix="imagebuilder diff says what grew; the budget is [smoke.budget] of the recipe",
        )
    several = len(report.last_boots) > 1
    names = ", ".join(
        f"{check.title} ({boot.name})" if several else check.title for boot, check in found
    )
    return CheckError(
        f"{report.recipe}: {len(found)} of {len(report.checks)} checks failed: {names}",
        excerpt="\n".join(line for _, check in found for line in _check_lines(check)),
        fix=f"the report: {image.smoke_dir}",
        log=_console(image, failed[0]) if failed else None,
    )


def _broken(
    report: SmokeReport, failure: Failure, image: Image | Subject, boot: BootReport | None
) -> CheckError:
    over = f" ({boot.name})" if boot and len(report.last_boots) > 1 else ""
    return CheckError(
        f"{report.recipe}{over}: {failure.what}{_how_far(boot)}",
        fix=failure.fix,
        excerpt=failure.excerpt,
        log=_console(image, boot) if boot else None,
    )


def _how_far(boot: BootReport | None) -> str:
    if boot is None:
        return ""
    seconds = boot.stages.get(boot.stage)
    when = f", {seconds:.0f} s after power-on" if seconds is not None else ""
    return f" (it came as far as: {boot.stage}{when})"


def _console(image: Image | Subject, boot: BootReport) -> Path | None:
    log = image.smoke_dir / boot.logs / CONSOLE_LOG
    return log if log.exists() else None


def report_text(report: SmokeReport) -> str:
    """Return the report for people, without a newline at its end."""
    passed = "passed" if report.passed else "FAILED"
    again = ", but not at once: it is flaky" if report.flaky else ""
    lines = [
        f"{report.recipe} {report.image}: {passed}{again} after {report.seconds:.0f} s",
        *_failure_lines(report.failure),
    ]
    for boot in report.boots:
        lines += _boot_lines(boot)
    lines += (f"  {each.outcome:7}  budget: {each.message}" for each in report.budgets)
    if report.memory:
        need = report.memory
        lines.append(
            f"  memory               {need.mib} MiB are enough to come up, {need.too_little_mib} "
            f"MiB are not ({need.path}, {need.boots} boots)"
        )
    lines += (f"  warning: {each}" for each in report.warnings)
    if report.last_boots:
        lines.append(f"  {summary_of(report)}")
    return "\n".join(lines)


def summary_of(report: SmokeReport) -> str:
    """Return what came of the checks, in one line: 12 of 14 checks passed, 1 waived…"""
    counts = Counter(check.outcome for check in report.checks)
    rest = [f", {counts[each]} {each}" for each in _NOT_PASSED if counts[each]]
    flaky = "; flaky" if report.flaky else ""
    return f"{counts['passed']} of {len(report.checks)} checks passed{''.join(rest)}{flaky}"


def _boot_lines(boot: BootReport) -> list[str]:
    again = f", attempt {boot.attempt}" if boot.attempt > 1 else ""
    used = boot.accelerator
    lines = [
        f"  boot path            {boot.name}{again}: {'passed' if boot.passed else 'FAILED'}",
        *_failure_lines(boot.failure),
        f"  accelerator          {used.used} ({used.cpu_model}): {used.why}",
    ]
    if boot.kernel:
        lines.append(f"  kernel               {boot.kernel}")
    if boot.seconds_to_multi_user is not None:
        lines.append(f"  multi-user.target    {boot.seconds_to_multi_user:.1f} s after the kernel")
    lines += [f"  {seconds:7.1f} s  {stage}" for stage, seconds in boot.stages.items()]
    if not boot.passed:
        lines.append(f"  it came as far as    {boot.stage}")
    if boot.memory_peak_mib is not None:
        lines.append(f"  most memory in use   {boot.memory_peak_mib:.0f} MiB")
    if boot.screenshot:
        lines.append(f"  its screen           {boot.logs}/{boot.screenshot}")
    lines += _all_checks(boot.checks)
    for finding in boot.console_findings:
        lines.append(f"  {finding.severity:5} on the console: {finding.meaning}")
        lines.append(f"           | {finding.line}")
    return [*lines, *(f"  note: {note}" for note in boot.notes)]


def _all_checks(checks: Sequence[CheckResult]) -> list[str]:
    if not checks:
        return ["  no checks are declared: that it boots is all that was tested"]
    lines: list[str] = []
    for check in checks:
        group = f"[{check.group}] " if check.group else ""
        tries = f", {check.tries} tries" if check.tries > 1 else ""
        lines.append(f"  {check.outcome:7}  {group}{check.title} ({check.seconds:.1f} s{tries})")
        if check.outcome == "waived" and check.waiver:
            lines.append(f"           until {check.waiver.until}: {check.waiver.reason}")
        if check.has_idle_waiver and check.waiver:
            lines.append(f"           its waiver can go: {check.waiver.reason}")
        if check.outcome != "passed":
            lines.append(f"           {check.message}")
            lines += [f"           | {line}" for line in check.output.splitlines()[-_OUTPUT_LINES:]]
    return lines


def _check_lines(check: CheckResult) -> list[str]:
    said = [f"  {line}" for line in check.output.splitlines()[-_OUTPUT_LINES:]]
    return [f"{check.title}: {check.message}", *said]


def _failure_lines(failure: Failure | None) -> list[str]:
    if failure is None:
        return []
    lines = [f"  {failure.what}", *(f"  | {line}" for line in failure.excerpt.splitlines())]
    return [*lines, f"  {failure.fix}"] if failure.fix else lines
