"""SmokeReport: what a test of an image found, and where it is kept."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder.checks import Check
from imagebuilder.image import Image, ImageId
from imagebuilder.names import RecipeName
from imagebuilder.recipe import SmokeOptions, Waiver
from imagebuilder.smoke.stages import POWER_ON
from imagebuilder.smoke.subject import Subject

REPORT, CONSOLE_LOG, QEMU_LOG = "report.json", "console.log", "qemu.log"
RACK_LOG = "dnsmasq.log"
SCREENSHOT, TIMELINE = "screen.png", "timeline.svg"

# Part of the digest of what was tested: raise it when a test comes to mean something else.
_METHOD = 2


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Accelerator(_Model):
    """What ran the guest's processor."""

    used: Literal["kvm", "tcg"] = Field(description="kvm, or tcg: software emulation")
    why: str = Field(description="why this one, in words")
    cpu_model: str = Field(description="what QEMU's -cpu was given")


Outcome = Literal["passed", "failed", "waived", "skipped", "not-run"]


class Waived(_Model):
    """The recipe's waiver of a check."""

    reason: str = Field(description="why it may fail")
    until: date = Field(description="the last day on which it may")
    expired: bool = Field(description="whether that day was over when it was tested")


class CheckResult(_Model):
    """What came of one check."""

    title: str
    kind: str = Field(description="the key that makes it what it is: unit, command, file…")
    group: str = Field(default="", description="what it is put under, with others")
    outcome: Outcome = Field(
        description="waived: it failed, and may; skipped: what it needs does not hold; not-run: "
        "the test ended before it"
    )
    waiver: Waived | None = Field(
        default=None, description="the recipe's waiver of it, if there is one, needed or not"
    )
    seconds: float = Field(default=0.0, description="from its first look to its last")
    tries: int = Field(default=0, ge=0, description="how often it was looked at")
    message: str = Field(default="", description="what was wanted and what was found")
    output: str = Field(default="", description="the end of what the command, or systemctl, said")

    @property
    def counts_against(self) -> bool:
        """Whether the test fails for it.  What is skipped does not: what it needs does."""
        return self.outcome in ("failed", "not-run")

    @property
    def has_idle_waiver(self) -> bool:
        """Whether it passed though it might have failed: its waiver can go."""
        return self.outcome == "passed" and self.waiver is not None


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


class BudgetResult(_Model):
    """Whether an image keeps to one line of its budget."""

    what: str = Field(description="image, initrd, rootfs, memory, boot PATH, growth of …")
    limit: float | None = Field(default=None, description="what is allowed; null: no limit")
    measured: float | None = Field(default=None, description="what it costs")
    unit: Literal["bytes", "MiB", "s", "%"]
    outcome: Literal["kept", "exceeded", "not-measured", "noted"] = Field(
        description="noted: there is no limit"
    )
    message: str = Field(description="both in words")


class MemoryNeed(_Model):
    """How much memory an image needs to reach multi-user.target, found by bisection."""

    mib: int = Field(description="the least that was enough")
    too_little_mib: int = Field(description="the most that was not")
    boots: int = Field(description="how many it took")
    path: str = Field(description="over which it was booted")


class BootReport(_Model):
    """One boot of the image over one path, and what was found in the guest."""

    path: str = Field(description="how the guest got its kernel: one of [smoke] paths")
    machine: int = Field(default=1, ge=1, description="which of the machines that ran at once")
    attempt: int = Field(default=1, ge=1, description="1, or more when the boot was repeated")
    passed: bool = Field(description="it came up and every check holds, or is waived")
    host_failed: bool = Field(
        default=False, description="KVM was to blame, and not the image: it says nothing of that"
    )
    seconds: float = Field(description="how long the machine ran")
    accelerator: Accelerator
    kernel: str = Field(default="", description="what uname -r said in the guest")
    stages: dict[str, float] = Field(
        default_factory=dict, description="what was reached: seconds since power-on"
    )
    stage: str = Field(
        default=POWER_ON, description="how far the boot came: the last stage that was reached"
    )
    seconds_to_multi_user: float | None = Field(
        default=None,
        description="from the start of the kernel to multi-user.target, by the guest's own clock",
    )
    checks: tuple[CheckResult, ...] = ()
    console_findings: tuple[ConsoleFinding, ...] = ()
    failure: Failure | None = Field(default=None, description="why the boot failed as a whole")
    logs: str = Field(description="the folder of its logs, beside the report")
    timeline: str = Field(
        default="",
        description="the picture of stages, systemd's critical chain and memory over time: an SVG "
        "file in that folder",
    )
    memory_peak_mib: float | None = Field(
        default=None,
        description="the most memory that the guest had in use at once, of samples every 2 s from "
        "its initrd to the end of the checks",
    )
    screenshot: str = Field(
        default="", description="the picture of the screen at the end, a PNG file, if it failed"
    )
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What tells it from other boots of the test, its repetitions aside."""
        return self.path if self.machine == 1 else f"{self.path}, machine {self.machine}"

    @property
    def failed_checks(self) -> tuple[CheckResult, ...]:
        """Those for which the test failed: they do not hold, or it ended before them."""
        return tuple(check for check in self.checks if check.counts_against)


class SmokeReport(_Model):
    """``smoke/report.json``."""

    format: Literal[2] = 2
    image: ImageId
    recipe: RecipeName
    source: str = Field(
        default="", description="where what was booted comes from, if not from this project"
    )
    tested: str = Field(description="a digest of the checks, the options and the way of testing")
    started: str = Field(description="RFC 3339, UTC")
    seconds: float = Field(description="of the whole test")
    passed: bool = Field(
        description="the last boot over each path passed, and the image keeps to its budget"
    )
    flaky: bool = Field(
        default=False,
        description="it passed, but over some path only when the boot was repeated",
    )
    boots: tuple[BootReport, ...] = Field(
        default=(), description="in their order; empty when no machine was started"
    )
    failure: Failure | None = Field(
        default=None, description="why nothing was booted: the image is not what was built"
    )
    budgets: tuple[BudgetResult, ...] = Field(
        default=(), description="what it costs, by the recipe's budget"
    )
    memory: MemoryNeed | None = Field(
        default=None, description="the memory that it needs, if that was found out"
    )
    warnings: tuple[str, ...] = Field(
        default=(), description="what firmware and boot loaders may not carry of it"
    )

    @property
    def exceeded(self) -> tuple[BudgetResult, ...]:
        """The lines of the budget that it does not keep to."""
        return tuple(each for each in self.budgets if each.outcome == "exceeded")

    @property
    def last_boots(self) -> tuple[BootReport, ...]:
        """The last boot over each path: those that count."""
        return tuple({boot.name: boot for boot in self.boots}.values())

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """What came of the checks, in the last boot over each path."""
        return tuple(check for boot in self.last_boots for check in boot.checks)

    @property
    def waived(self) -> tuple[CheckResult, ...]:
        """The checks that failed and were waived."""
        return tuple(check for check in self.checks if check.outcome == "waived")


def passed_only_again(boots: Sequence[BootReport]) -> bool:
    """Return whether a path passed at last, and failed before by no fault of the host."""
    last = {boot.name: boot for boot in boots}
    return any(
        not boot.passed and not boot.host_failed and last[boot.name].passed for boot in boots
    )


def digest_of(
    checks: Sequence[Check], options: SmokeOptions, waivers: Sequence[Waiver] = ()
) -> str:
    """Return a digest of what a test looks at: same digest, same question."""
    question = {
        "method": _METHOD,
        "checks": [check.model_dump(mode="json") for check in checks],
        "options": options.model_dump(mode="json"),
        "waivers": [waiver.model_dump(mode="json") for waiver in waivers],
    }
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def load_report(image: Image | Subject) -> SmokeReport | None:
    """Return the report of the image's last test; None if there is none that can be read."""
    try:
        return SmokeReport.model_validate_json((image.smoke_dir / REPORT).read_bytes())
    except (OSError, ValidationError):
        return None


def why_not_up_to_date(
    image: Image,
    checks: Sequence[Check],
    options: SmokeOptions,
    waivers: Sequence[Waiver] = (),
    *,
    today: date | None = None,
) -> str:
    """Return why the image must be tested, or "" if a test with the same question passed.

    Args:
        image: what is to be tested.
        checks: what is looked at in the guest.
        options: the machine.
        waivers: of checks.
        today: the day by which waivers are judged; None: that of the clock, UTC.
    """
    report = load_report(image)
    if report is None:
        return "it has not been tested"
    if report.image != image.id:
        return f"the report is about another image ({report.image})"
    if report.tested != digest_of(checks, options, waivers):
        return "the checks, or how it is tested, changed since it was tested"
    if not report.passed:
        return "its last test failed"
    today = today or datetime.now(UTC).date()
    for check in report.waived:
        if check.waiver and check.waiver.until < today:
            return f"it passed by a waiver of {check.title!r} that held until {check.waiver.until}"
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
