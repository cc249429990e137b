"""SmokeReport: what a test of an image found, for programs, for people and as an error."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder.checks import Check
from imagebuilder.errors import CheckError
from imagebuilder.image import Image, ImageId
from imagebuilder.names import RecipeName
from imagebuilder.recipe import SmokeOptions

REPORT, CONSOLE_LOG, QEMU_LOG = "report.json", "console.log", "qemu.log"

# Part of the digest of what was tested: raise it when a test comes to mean something else.
_METHOD = 1

_OUTPUT_LINES = 8  # of a failed check's output, shown to people; the report has more


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Accelerator(_Model):
    """What ran the guest's processor."""

    used: Literal["kvm", "tcg"] = Field(description="kvm, or tcg: software emulation")
    why: str = Field(description="why this one, in words")
    cpu_model: str = Field(description="what QEMU's -cpu was given")


class CheckResult(_Model):
    """What came of one check."""

    title: str
    kind: str = Field(description="unit, command, file, port or no_failed_units")
    outcome: Literal["passed", "failed", "not-run"]
    seconds: float = Field(default=0.0, description="from its first look to its last")
    message: str = Field(default="", description="what was wanted and what was found")
    output: str = Field(default="", description="the end of what the command, or systemctl, said")


class ConsoleFinding(_Model):
    """A line of the console that tells of trouble."""

    line: str
    meaning: str
    severity: Literal["fatal", "warn"]
    seconds: float = Field(description="since power-on")
    fix: str = Field(default="", description="what the reader can do about it")


class Failure(_Model):
    """Why the boot or the test as a whole failed."""

    what: str = Field(description="one sentence")
    fix: str = ""
    excerpt: str = Field(
        default="", description="the end of the console, or what systemd waits for"
    )


class SmokeReport(_Model):
    """``smoke/report.json``."""

    format: Literal[1] = 1
    image: ImageId
    recipe: RecipeName
    tested: str = Field(description="a digest of the checks, the options and the way of testing")
    started: str = Field(description="RFC 3339, UTC")
    seconds: float = Field(description="of the whole test")
    passed: bool
    boot_path: str = Field(description="how the guest got its kernel: pxe-bios")
    accelerator: Accelerator | None = Field(description="None: no guest was started")
    kernel: str = Field(default="", description="what uname -r said in the guest")
    stages: dict[str, float] = Field(
        default_factory=dict, description="how far the boot came: seconds since power-on"
    )
    seconds_to_multi_user: float | None = Field(
        default=None,
        description="from the start of the kernel to multi-user.target, by the guest's own clock",
    )
    checks: tuple[CheckResult, ...] = ()
    console_findings: tuple[ConsoleFinding, ...] = ()
    failure: Failure | None = None
    notes: tuple[str, ...] = ()


def digest_of(checks: Sequence[Check], options: SmokeOptions) -> str:
    """Return a digest of what a test looks at: same digest, same question."""
    question = {
        "method": _METHOD,
        "checks": [check.model_dump(mode="json") for check in checks],
        "options": options.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def load_report(image: Image) -> SmokeReport | None:
    """Return the report of the image's last test; None if there is none that can be read."""
    try:
        return SmokeReport.model_validate_json((image.smoke_dir / REPORT).read_bytes())
    except (OSError, ValidationError):
        return None


def why_not_up_to_date(image: Image, checks: Sequence[Check], options: SmokeOptions) -> str:
    """Return why the image must be tested, or "" if a test with the same question passed."""
    report = load_report(image)
    if report is None:
        return "it has not been tested"
    if report.image != image.id:
        return f"the report is about another image ({report.image})"
    if report.tested != digest_of(checks, options):
        return "the checks, or how it is tested, changed since it was tested"
    if not report.passed:
        return "its last test failed"
    return ""


def store_report(report: SmokeReport, folder: Path) -> None:
    """Write the report into a folder, so that readers see the old one or the new one."""
    write_whole(folder / REPORT, report.model_dump_json(indent=2).encode() + b"\n")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def report_error(report: SmokeReport, image: Image) -> CheckError:
    """Return the error that stands for a failed report: it names what failed."""
    log = image.smoke_dir / CONSOLE_LOG
    if report.failure:
        return CheckError(
            f"{report.recipe}: {report.failure.what}",
            fix=report.failure.fix,
            excerpt=report.failure.excerpt,
            log=log if log.exists() else None,
        )
    failed = [check for check in report.checks if check.outcome != "passed"]
    names = ", ".join(check.title for check in failed)
    lines = []
    for check in failed:
        lines.append(f"{check.title}: {check.message}")
        lines += [f"  {line}" for line in check.output.splitlines()[-_OUTPUT_LINES:]]
    return CheckError(
        f"{report.recipe}: {len(failed)} of {len(report.checks)} checks failed: {names}",
        excerpt="\n".join(lines),
        fix=f"the report: {image.smoke_dir / REPORT}",
        log=log if log.exists() else None,
    )


def report_text(report: SmokeReport) -> str:
    """Return the report for people, without a newline at its end."""
    lines = [
        f"{report.recipe} {report.image}: {'passed' if report.passed else 'FAILED'} "
        f"after {report.seconds:.0f} s",
        *_failure_lines(report.failure),
        f"  boot path            {report.boot_path}",
    ]
    if report.accelerator:
        used = report.accelerator
        lines.append(f"  accelerator          {used.used} ({used.cpu_model}): {used.why}")
    if report.kernel:
        lines.append(f"  kernel               {report.kernel}")
    if report.seconds_to_multi_user is not None:
        lines.append(
            f"  multi-user.target    {report.seconds_to_multi_user:.1f} s after the kernel"
        )
    lines += [f"  {seconds:7.1f} s  {stage}" for stage, seconds in report.stages.items()]
    for check in report.checks:
        lines.append(f"  {check.outcome:7}  {check.title} ({check.seconds:.1f} s)")
        if check.outcome != "passed":
            lines.append(f"           {check.message}")
            lines += [f"           | {line}" for line in check.output.splitlines()[-_OUTPUT_LINES:]]
    if not report.checks:
        lines.append("  no checks are declared: that it boots is all that was tested")
    for finding in report.console_findings:
        lines.append(f"  {finding.severity:5} on the console: {finding.meaning}")
        lines.append(f"           | {finding.line}")
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(lines)


def _failure_lines(failure: Failure | None) -> list[str]:
    if failure is None:
        return []
    lines = [f"  {failure.what}", *(f"  | {line}" for line in failure.excerpt.splitlines())]
    return [*lines, f"  {failure.fix}"] if failure.fix else lines
