"""A run is watched: its phases, its progress, and when it must be ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagebuilder.engines.livemedia.watch import Watch, Work
from imagebuilder.livemedia_options import LivemediaOptions
from imagebuilder.progress import Event, Reporter


@dataclass
class Clock:
    now: float = 0.0
    busy: float = 0.0
    moved: int = 0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watch_of(
    tmp_path: Path, clock: Clock, events: list[Event] | None = None, **options: object
) -> Watch:
    given = events if events is not None else []
    reporter = Reporter(subject="r", observer=given.append)
    return Watch(
        tmp_path,
        tmp_path / "tmp",
        LivemediaOptions.model_validate(options),
        reporter,
        clock=lambda: clock.now,
        done=lambda: Work(clock.busy, clock.moved),
    )


def test_phases_and_packages_are_read_from_its_lines(tmp_path: Path, clock: Clock) -> None:
    events: list[Event] = []
    watch = watch_of(tmp_path, clock, events)
    seen = []
    for line in (
        "2026-11-25 21:41:17,734: disk_img = /r/rootfs.img",
        "2026-11-25 21:41:18,334: Running anaconda.",
        "2026-11-25 21:41:18,843: Installing bash.x86_64 (3/12)",
        "2026-11-25 21:41:24,367: Running post-installation scripts",
        "2026-11-25 21:41:31,640: Packing live rootfs image",
        "2026-11-25 21:41:46,763: Rebuilding initramfs for live",
    ):
        clock.now += 10
        watch.line(line)
        seen.append(watch.phase)
    assert seen == ["image", "install", "install", "post", "squashfs", "initrd"]
    (tmp_path / "program.log").write_text("INFO: Running... cp -R -L /t/. /r\n")
    clock.now += 10
    assert not watch.is_over()
    assert watch.phase == "copy"
    counted = [(each.done, each.total, each.text) for each in events if each.unit == "packages"]
    assert counted == [(3, 12, "bash.x86_64")]
    watch.close()
    assert watch.seconds["post"] == 10


@pytest.mark.parametrize(
    ("options", "ended"),
    [
        ({"timeout": 1.0, "silence": 9.0}, "timeout"),
        ({"phase_timeouts": {"image": 1.0}, "silence": 9.0}, "phase-timeout"),
        ({"silence": 1.0}, "silence"),
        ({"phase_timeouts": {"squashfs": 1.0}, "silence": 9.0}, ""),
    ],
)
def test_it_is_ended_when_a_limit_is_reached(
    tmp_path: Path, clock: Clock, options: dict[str, object], ended: str
) -> None:
    watch = watch_of(tmp_path, clock, **options)
    clock.now = 59
    assert not watch.is_over()
    clock.now = 61
    assert watch.is_over() is bool(ended)
    assert watch.ended == ended


def test_logs_that_grow_and_work_that_is_done_are_signs_of_life(
    tmp_path: Path, clock: Clock
) -> None:
    watch = watch_of(tmp_path, clock, silence=1.0)
    (tmp_path / "tmp").mkdir()
    for n in range(3):
        clock.now += 50
        (tmp_path / "tmp/packaging.log").write_text("x\n" * (n + 1))
        assert not watch.is_over()
    for _ in range(3):
        clock.now += 50
        clock.busy += 45
        assert not watch.is_over()
    for _ in range(3):
        clock.now += 50
        clock.moved += 60 << 20
        assert not watch.is_over()
    clock.now += 61
    clock.busy += 1
    assert watch.is_over()


def test_logs_without_end_are_ended(tmp_path: Path, clock: Clock) -> None:
    watch = watch_of(tmp_path, clock)
    with (tmp_path / "output.log").open("wb") as file:
        file.truncate(300 << 20)
    clock.now += 2
    assert watch.is_over()
    assert watch.ended == "flood"


def test_the_least_room_that_there_was_is_noted(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([900, 5, 700])
    real = os.statvfs(tmp_path)

    def statvfs(_: Path) -> object:
        return SimpleNamespace(f_bfree=next(free), f_frsize=real.f_frsize)

    monkeypatch.setattr(os, "statvfs", statvfs)
    watch = Watch(
        tmp_path,
        tmp_path,
        LivemediaOptions(),
        Reporter(subject="r"),
        clock=lambda: clock.now,
        done=Work,
        folders=[tmp_path],
    )
    for _ in range(2):
        clock.now += 2
        watch.is_over()
    assert watch.least == {tmp_path: 5 * real.f_frsize}
