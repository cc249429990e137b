"""What QEMU says of processors and screen, and what is asked of it when."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.errors import StepError
from imagebuilder.image import BOOT_SCRIPT, ROOTFS
from imagebuilder.smoke.console import Console
from imagebuilder.smoke.instruments import Instruments, halted, read_screen
from imagebuilder.smoke.server import Transfer
from imagebuilder.smoke.stages import FETCHED, KERNEL_STARTED
from imagebuilder.smoke.watch import Watch

CPU = "CPU#{n}\nRAX=00 RBX=00\nRIP=01 RFL={flags:08x} [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT={hlt}\n"


def cpu(n: int, *, flags: int, hlt: int) -> str:
    return CPU.format(n=n, flags=flags, hlt=hlt)


@pytest.mark.parametrize(
    ("registers", "dead"),
    [
        (cpu(0, flags=0x46, hlt=1) + cpu(1, flags=0x2, hlt=1), True),
        (cpu(0, flags=0x246, hlt=1), False),  # an interrupt wakes it
        (cpu(0, flags=0x46, hlt=0) + cpu(1, flags=0x2, hlt=1), False),
        ("EIP=0000 EFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1", True),
        ("", False),
    ],
)
def test_a_machine_whose_processors_wait_for_nothing_is_dead(registers: str, dead: bool) -> None:
    assert halted(registers) == dead


def test_a_screen_in_text_mode() -> None:
    lines = ["XZ-compressed data is corrupt", "", " -- System halted"]
    text = "".join(line.ljust(80) for line in lines).ljust(80 * 25, "\0")
    memory = b"".join(sign.encode("cp437") + b"\x07" for sign in text)
    assert read_screen(memory) == (lines[0], lines[2])
    assert read_screen(bytes(range(256)) * 15) == (), "pixels are no text"


def watch(tmp_path: Path) -> Watch:
    results = tmp_path / "results"
    results.touch()
    return Watch(Console(tmp_path / "log", lambda: 0.0), results, (60, 60), "tcg")


def test_packets_are_captured_while_they_tell_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(tmp_path)
    asked: list[tuple[str, str]] = []
    instruments = Instruments(tmp_path, seen)

    def ask(command: str, **arguments: object) -> object:
        asked.append((command, str(arguments.get("file", "")).rpartition("/")[2]))
        raise StepError("a monitor that refuses costs a test nothing")

    monkeypatch.setattr(instruments._monitor, "ask", ask)
    instruments.look()
    assert asked == []
    seen.stage(FETCHED[BOOT_SCRIPT])
    instruments.look()
    seen.stage(KERNEL_STARTED)
    instruments.look()
    asking = Transfer(name=ROOTFS, status=200, started=0, ended=0, wanted=9, sent=1)
    seen.transferred(asking)
    instruments.look()
    instruments.look()
    assert asked == [
        ("object-del", ""),
        ("object-add", "initrd.pcap"),
        ("object-del", ""),
    ]
    assert not instruments.screenshot(tmp_path / "screen.png")
    assert instruments.screen_text() == ()


def test_a_dead_machine_must_be_seen_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch(tmp_path)
    instruments = Instruments(tmp_path, seen)
    said = [cpu(0, flags=2, hlt=1), cpu(0, flags=0x202, hlt=1)] + [cpu(0, flags=2, hlt=1)] * 2
    monkeypatch.setattr(instruments._monitor, "ask", lambda *_, **__: said.pop(0))
    monkeypatch.setattr("imagebuilder.smoke.instruments._QUIET_SECONDS", -1.0)
    monkeypatch.setattr("imagebuilder.smoke.instruments._PROBE_SECONDS", -1.0)
    for left in (3, 2, 1):
        instruments.look()
        assert len(said) == left
        assert not seen.ending
    instruments.look()
    assert seen.ending == "halted"
