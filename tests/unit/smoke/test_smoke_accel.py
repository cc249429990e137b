from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imagebuilder.errors import Interrupted
from imagebuilder.progress import Cancel
from imagebuilder.smoke import accel
from imagebuilder.smoke.accel import KvmVerdict, choose, hung_verdict, kvm_verdict, remember

PANIC = "echo '[ 2.1] Kernel panic - not syncing: VFS: Unable to mount root fs'; sleep 300\n"


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    node = tmp_path / "kvm"
    node.touch()
    monkeypatch.setattr(accel, "DEVICE", node)
    return node


def trials(script: Path) -> list[str]:
    calls = script.with_name("calls")
    lines = calls.read_text().splitlines() if calls.exists() else []
    return [line for line in lines if "-accel kvm" in line]


def verdict(cache: Path, device: Path, kernel: Path | None = Path("vmlinuz")) -> KvmVerdict:
    return kvm_verdict(cache, kernel, device=device)


def test_no_device(tmp_path: Path, fake_qemu: Path) -> None:
    found = verdict(tmp_path / "cache", tmp_path / "none")
    assert not found.works
    assert "offers no KVM" in found.why
    assert found.trial == "none"
    assert not trials(fake_qemu)


def test_no_permission(tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "may not open" in verdict(tmp_path, device).why


def test_a_kernel_that_wants_its_root_shows_that_it_works(
    tmp_path: Path, device: Path, fake_qemu: Path
) -> None:
    fake_qemu.write_text(PANIC)
    began = time.monotonic()
    found = verdict(tmp_path / "cache", device)
    assert found.works
    assert found.trial == "kernel"
    assert time.monotonic() - began < 60
    assert "-kernel vmlinuz" in trials(fake_qemu)[0]
    assert verdict(tmp_path / "cache", device) == found
    assert len(trials(fake_qemu)) == 1, "the verdict is remembered"
    kvm_verdict(tmp_path / "cache", Path("vmlinuz"), device=device, again=True)
    assert len(trials(fake_qemu)) == 2


def test_an_abort_is_quoted(tmp_path: Path, device: Path, fake_qemu: Path) -> None:
    fake_qemu.write_text("echo warning >&2; echo \"x: Assertion 'ret' failed\" >&2; kill -6 $$\n")
    found = verdict(tmp_path / "cache", device)
    assert not found.works
    assert "signal 6" in found.why
    assert "Assertion 'ret' failed" in found.why


def test_a_hang_is_bounded(
    tmp_path: Path, device: Path, fake_qemu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accel, "_TRIAL_SECONDS", 0.5)
    fake_qemu.write_text("sleep 60\n")
    found = verdict(tmp_path / "cache", device)
    assert not found.works
    assert "said nothing" in found.why


def test_a_trial_can_be_interrupted(tmp_path: Path, device: Path, fake_qemu: Path) -> None:
    cancel = Cancel()
    cancel.set()
    fake_qemu.write_text("sleep 60\n")
    with pytest.raises(Interrupted):
        kvm_verdict(tmp_path / "cache", Path("vmlinuz"), device=device, cancel=cancel)


def test_a_boot_sector_is_a_weaker_trial(tmp_path: Path, device: Path, fake_qemu: Path) -> None:
    fake_qemu.write_text("exit 65\n")
    found = verdict(tmp_path / "cache", device, kernel=None)
    assert found.works
    assert found.trial == "firmware"
    fake_qemu.write_text(PANIC)
    assert verdict(tmp_path / "cache", device).trial == "kernel", "it was tried again"
    assert verdict(tmp_path / "cache", device, kernel=None).trial == "kernel"


@pytest.mark.parametrize(("works", "days", "counts"), [(True, 31, 0), (False, 8, 0), (False, 6, 1)])
def test_verdicts_grow_old(
    tmp_path: Path, device: Path, fake_qemu: Path, works: bool, days: int, counts: int
) -> None:
    tested = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    old = KvmVerdict(works=works, why="old", cpu_model="host", trial="kernel", tested=tested)
    remember(tmp_path / "cache", old)
    fake_qemu.write_text(PANIC)
    assert (verdict(tmp_path / "cache", device).why == "old") == bool(counts)


def test_a_broken_cache_costs_a_trial(tmp_path: Path, device: Path, fake_qemu: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / accel.VERDICTS).write_text('{"format": 2}')
    fake_qemu.write_text(PANIC)
    assert verdict(tmp_path / "cache", device).works


def test_choose(tmp_path: Path, device: Path, fake_qemu: Path) -> None:
    kernel = Path("vmlinuz")

    def chosen(choice: accel.AccelChoice) -> tuple[str, str]:
        found = choose(
            choice, cache_dir=tmp_path / "cache", kernel=kernel, cpus=2, cpu_baseline="v2"
        )
        return found.used, found.cpu_model

    fake_qemu.write_text(PANIC)
    assert chosen("tcg") == ("tcg", "Nehalem,-cx16")
    assert chosen("kvm") == ("kvm", "host")
    assert not trials(fake_qemu)
    assert chosen("auto") == ("kvm", "host")
    remember(tmp_path / "cache", hung_verdict("host"))
    assert chosen("auto") == ("tcg", "Nehalem,-cx16")


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs QEMU")
def test_the_boot_sector_says_what_is_waited_for(tmp_path: Path) -> None:
    from imagebuilder.command import run

    sector = tmp_path / "sector"
    sector.write_bytes(accel._BOOT_SECTOR.ljust(1 << 20, b"\0"))
    argv = ["qemu-system-x86_64", "-nodefaults", "-machine", "q35", "-accel", "tcg", "-m", "64"]
    argv += ["-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    argv += ["-drive", f"file={sector},format=raw,if=ide"]
    assert run(argv, timeout=30, check=False).returncode == accel._BOOT_SECTOR_STATUS
