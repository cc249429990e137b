"""Whether KVM works on this host: asked of a machine that is started, not of a device node.

On nested hosts ``/dev/kvm`` may open and yet hang or abort every guest.  So a guest is tried
for some seconds, once, and the verdict is kept in ``kvm.json`` of the cache.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder.command import Result, run, version_of
from imagebuilder.errors import HostError, StepError
from imagebuilder.progress import Cancel
from imagebuilder.smoke.machine import TCG_CPU_MODELS
from imagebuilder.smoke.paths import QEMU
from imagebuilder.smoke.report import Accelerator, write_whole

DEVICE = Path("/dev/kvm")
VERDICTS = "kvm.json"

AccelChoice = Literal["auto", "kvm", "tcg"]

# A kernel without an initrd panics after 2.3 s under software emulation; KVM is faster.
_TRIAL_SECONDS = 20.0
_PANIC = "Unable to mount root"
# What hangs today may be repaired by an update of the host; what works seldom stops to.
_GOOD_FOR = {True: timedelta(days=30), False: timedelta(days=7)}

# mov dx,0xf4; mov al,0x20; out dx,al; hlt; jmp to the hlt.  QEMU's isa-debug-exit ends it
# with (0x20 << 1) | 1.
_BOOT_SECTOR = bytes.fromhex("baf400b020eef4ebfd").ljust(510, b"\0") + b"\x55\xaa"
_BOOT_SECTOR_STATUS = 0x41


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KvmVerdict(_Model):
    """Whether KVM works here for one CPU model."""

    works: bool
    why: str = Field(description="what the trial showed, or what stands against a trial")
    cpu_model: str = Field(description="QEMU's -cpu of the trial")
    trial: Literal["none", "firmware", "kernel"] = Field(
        description="kernel: a Linux kernel ran until it wanted its root; firmware: a boot "
        "sector ran, which is a weaker trial; none: there was no need for one"
    )
    tested: str = Field(description="RFC 3339, UTC")
    seconds: float = 0.0


class _Verdicts(_Model):
    format: Literal[1] = 1
    verdicts: dict[str, KvmVerdict] = Field(default_factory=dict)


def choose(
    choice: AccelChoice,
    *,
    cache_dir: Path,
    kernel: Path | None,
    cpus: int,
    cpu_baseline: str,
    cancel: Cancel | None = None,
) -> Accelerator:
    """Return what is to run the guest's processors, and why.

    Args:
        choice: ``auto`` takes KVM where a trial shows that it works; the others are taken as
            they are.
        cache_dir: where verdicts are kept.
        kernel: the image's own kernel, for the trial, if it is on this host.
        cpus: how many processors the guest has.
        cpu_baseline: the x86-64 level that the image's programs need: v1, v2 or v3.
        cancel: ends a trial.
    """
    emulated = TCG_CPU_MODELS[cpu_baseline]
    if choice == "tcg":
        return Accelerator(used="tcg", why="software emulation was asked for", cpu_model=emulated)
    if choice == "kvm":
        return Accelerator(used="kvm", why="KVM was asked for, without a trial", cpu_model="host")
    verdict = kvm_verdict(cache_dir, kernel, cpus=cpus, cancel=cancel)
    if verdict.works:
        return Accelerator(used="kvm", why=verdict.why, cpu_model=verdict.cpu_model)
    why = f"software emulation, since {verdict.why}"
    return Accelerator(used="tcg", why=why, cpu_model=emulated)


def kvm_verdict(
    cache_dir: Path,
    kernel: Path | None = None,
    *,
    cpus: int = 2,
    cpu_model: str = "host",
    cancel: Cancel | None = None,
    device: Path = DEVICE,
    again: bool = False,
) -> KvmVerdict:
    """Return whether KVM works here, from the cache or from a trial of at most 20 s.

    Args:
        cache_dir: where verdicts are kept.
        kernel: a Linux kernel to try with; without one a boot sector is tried, which shows
            less: some hosts run firmware and hang a kernel.
        cpus: how many processors the guest of the trial has.
        cpu_model: QEMU's ``-cpu``.
        cancel: ends the trial.
        device: the device node.
        again: try again even if the cache has a verdict.

    Raises:
        Interrupted: ``cancel`` was set.
    """
    obstacle = _obstacle(device)
    if obstacle:
        return _verdict(works=False, why=obstacle, cpu_model=cpu_model, trial="none")
    key = _key(cpu_model)
    known = _load(cache_dir).verdicts.get(key)
    if known and not again and _still_counts(known, with_kernel=kernel is not None):
        return known
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imagebuilder-kvm-") as folder:
        why = _try(kernel, Path(folder), cpus, cpu_model, cancel)
    seconds = time.monotonic() - began
    what = "a kernel" if kernel else "a boot sector"
    verdict = _verdict(
        works=not why,
        why=why or f"{what} ran under KVM in a trial of {seconds:.1f} s",
        cpu_model=cpu_model,
        trial="kernel" if kernel else "firmware",
        seconds=seconds,
    )
    remember(cache_dir, verdict)
    return verdict


def remember(cache_dir: Path, verdict: KvmVerdict) -> None:
    """Keep a verdict, in place of an earlier one for the same CPU model on this host."""
    known = dict(_load(cache_dir).verdicts)
    known[_key(verdict.cpu_model)] = verdict
    # Other hosts and earlier boots may share the cache; what is too old to count goes.
    kept = {key: each for key, each in known.items() if _still_counts(each, with_kernel=False)}
    try:
        data = _Verdicts(verdicts=kept).model_dump_json(indent=2).encode() + b"\n"
        write_whole(cache_dir / VERDICTS, data)
    except OSError:
        pass  # a cache that cannot be written costs a trial next time


def hung_verdict(cpu_model: str) -> KvmVerdict:
    """Return the verdict for a KVM that passed a trial and then hung an image."""
    why = "KVM passed a trial here, but then an image hung under it"
    return _verdict(works=False, why=why, cpu_model=cpu_model, trial="kernel")


def _verdict(
    *,
    works: bool,
    why: str,
    cpu_model: str,
    trial: Literal["none", "firmware", "kernel"],
    seconds: float = 0.0,
) -> KvmVerdict:
    tested = datetime.now(UTC).isoformat(timespec="seconds")
    return KvmVerdict(
        works=works,
        why=why,
        cpu_model=cpu_model,
        trial=trial,
        tested=tested,
        seconds=round(seconds, 1),
    )


def _obstacle(device: Path) -> str:
    """Return what stands against KVM without a trial; looked at each time, since it is cheap."""
    if not device.exists():
        return f"there is no {device}: the processor or the outer machine offers no KVM"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"this user may not open {device}: the group kvm may, as a rule"
    return ""


def _key(cpu_model: str) -> str:
    """Name everything that a verdict hangs on: host, its kernel and boot, QEMU, CPU model."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = "unknown"
    qemu = version_of([QEMU, "--version"])
    return " | ".join([platform.node(), platform.release(), boot, qemu, cpu_model])


def _load(cache_dir: Path) -> _Verdicts:
    try:
        return _Verdicts.model_validate_json((cache_dir / VERDICTS).read_bytes())
    except (OSError, ValidationError):
        return _Verdicts()


def _still_counts(verdict: KvmVerdict, *, with_kernel: bool) -> bool:
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(verdict.tested)
    except (ValueError, TypeError):
        return False
    # A boot sector that ran says nothing about a kernel; one that did not says enough.
    weak = with_kernel and verdict.works and verdict.trial != "kernel"
    return timedelta() <= age < _GOOD_FOR[verdict.works] and not weak


def _try(
    kernel: Path | None, folder: Path, cpus: int, cpu_model: str, cancel: Cancel | None
) -> str:
    """Start a guest under KVM; return why KVM does not work, "" if it does."""
    argv = [QEMU, "-nodefaults", "-no-user-config", "-machine", "q35", "-accel", "kvm"]
    argv += ["-cpu", cpu_model, "-smp", str(cpus), "-m", "512", "-display", "none", "-no-reboot"]
    if kernel:
        argv += ["-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    else:
        sector = folder / "boot-sector"
        sector.write_bytes(_BOOT_SECTOR.ljust(1 << 20, b"\0"))
        argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
        argv += ["-drive", f"file={sector},format=raw,if=ide"]
    heard: list[str] = []

    def arrived() -> bool:
        return bool(heard) and any(_PANIC in line for line in heard[-50:])

    try:
        result = run(
            argv,
            timeout=_TRIAL_SECONDS,
            cancel=cancel,
            on_line=heard.append,
            until=arrived,
            check=False,
            what="trial of KVM",
        )
    except StepError:
        return _hang(kernel, heard)
    except HostError as error:
        return error.what
    if kernel and arrived():
        return ""
    if not kernel and result.returncode == _BOOT_SECTOR_STATUS:
        return ""
    return _abort(result)


def _hang(kernel: Path | None, heard: list[str]) -> str:
    if not kernel:
        return f"a boot sector hung under KVM for {_TRIAL_SECONDS:.0f} s"
    how_far = "said nothing" if not heard else "came no further than its first lines"
    return f"a kernel {how_far} under KVM within {_TRIAL_SECONDS:.0f} s"


def _abort(result: Result) -> str:
    said = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
    # The line that names the cause, where QEMU gives one; its first line else.
    telling = [line for line in said if "KVM internal error" in line or "ssertion" in line]
    line = (telling or said or ["it said nothing"])[0].strip()
    how = (
        f"QEMU was ended by signal {-result.returncode}"
        if result.returncode < 0
        else f"QEMU ended with status {result.returncode}"
    )
    return f"in a trial of KVM {how}: {line[:200]}"
