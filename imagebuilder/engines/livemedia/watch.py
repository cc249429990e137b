"""Watches a run of livemedia-creator: its phases, its progress, its signs of life.

What it says goes to its standard error and to ``livemedia.log``; what the programs that it runs
say goes to ``program.log``; Anaconda's own logs are in ``/tmp``.  All are read as they grow.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from imagebuilder.engines.livemedia.run import Ended
from imagebuilder.livemedia_options import LivemediaOptions, Phase
from imagebuilder.progress import Reporter

_LOOK_SECONDS = 1.0
_OURS = "output.log"
_BUSY = 0.2  # of a processor: what works so much is alive, whatever it says
_MOVES = 64 << 10  # bytes a second that are read and written: so is what waits for the disk
_LARGEST = 256 << 20  # bytes of all logs: more is a program that repeats itself
_MOST = 1 << 20  # bytes of a log that are read at once: one that floods is passed over
STEP = "install"

# What begins a phase, in the order in which they come; the texts are those of pylorax/creator.py
# and installer.py, 28 to 46, the last those of Anaconda's own tasks.
_BEGINS: tuple[tuple[Phase, re.Pattern[str], str], ...] = (
    ("image", re.compile(r"disk_img = "), "making the disk image"),
    ("install", re.compile(r"Running anaconda\.|Running qemu$"), "Anaconda installs"),
    (
        "post",
        re.compile(r"Running post-installation scripts|Performing post-installation setup tasks"),
        "running %post",
    ),
    ("squashfs", re.compile(r"Packing live rootfs image"), "packing its squashfs"),
    ("initrd", re.compile(r"Rebuilding initramfs for live"), "making the initrd"),
    ("copy", re.compile(r"Running\.\.\. cp "), "copying the results"),
)
_ORDER: dict[Phase, int] = {name: n for n, (name, _, _) in enumerate(_BEGINS)}
_PACKAGE = re.compile(r"(?:Installing|Installed:?|Configuring) ?(\S+) \((\d+)/(\d+)\)")
_PERCENT = re.compile(r"(\d{1,3})%")


class Work(NamedTuple):
    """What processes have done: seconds of processors, and bytes that they read and wrote."""

    seconds: float = 0.0
    moved: int = 0


def work_done() -> Work:
    """Return what all processes of this PID namespace but this one have done."""
    ticks = moved = 0
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            counts = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
        except OSError:  # it has just ended
            continue
        # proc(5): its parent, its own time, and that of the children that it waited for.
        # livemedia-creator itself turns round and round once nobody sends it logs any more.
        is_itself = int(fields[1]) == os.getpid()
        ticks += sum(map(int, fields[13 if is_itself else 11 : 15]))
        moved += int(counts["rchar"]) + int(counts["wchar"])
    return Work(ticks / os.sysconf("SC_CLK_TCK"), moved)


class Watch:
    """One run that is watched.

    Args:
        logs: the folder with livemedia.log and program.log.
        anaconda: the folder in which Anaconda writes its logs.
        options: how long each thing may take.
        reporter: told of phases and progress.
        clock: seconds that only grow.
        done: what was done for it.
        phases: how many there will be.
        folders: where it writes; how much room each had at the least is noted.
    """

    def __init__(
        self,
        logs: Path,
        anaconda: Path,
        options: LivemediaOptions,
        reporter: Reporter,
        clock: Callable[[], float] = time.monotonic,
        done: Callable[[], Work] = lambda: work_done(),
        phases: int = len(_BEGINS),
        folders: Iterable[Path] = (),
    ) -> None:
        self._logs = logs
        self._anaconda = anaconda
        self._options = options
        self._reporter = reporter
        self._clock = clock
        self._done = done
        self._had_done = done()
        self._phases = phases
        self._folders = tuple(folders)
        self.least: dict[Path, int] = {}
        self._note_room()
        self._began = self._phase_began = self._alive = self._looked = clock()
        self._read: dict[Path, int] = {}
        self._sizes: dict[Path, int] = {}
        self._said = (0, 0)
        self.phase: Phase = "image"
        self.ended: Ended = ""
        self.seconds: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Take a line that it printed."""
        self._alive = self._clock()
        self._take(text)

    def is_over(self) -> bool:
        """Look whether it must be ended; ``ended`` then says why."""
        now = self._clock()
        if now - self._looked >= _LOOK_SECONDS:
            done, passed = self._done(), now - self._looked
            worked = done.seconds - self._had_done.seconds
            moved = done.moved - self._had_done.moved
            if worked > _BUSY * passed or moved > _MOVES * passed:
                self._alive = now  # mksquashfs and dracut say nothing for minutes
            self._looked, self._had_done = now, done
            self._note_room()
            for line in self._grown():
                self._alive = now
                self._take(line)
        limit = self._options.phase_timeouts.get(self.phase)
        if now - self._began > 60 * self._options.timeout:
            self.ended = "timeout"
        elif limit is not None and now - self._phase_began > 60 * limit:
            self.ended = "phase-timeout"
        elif now - self._alive > 60 * self._options.silence:
            self.ended = "silence"
        elif sum(self._sizes.values()) > _LARGEST:
            self.ended = "flood"
        return bool(self.ended)

    def close(self) -> None:
        """Note how long the last phase took."""
        self._note_seconds()

    def _note_room(self) -> None:
        for folder in self._folders:
            try:
                found = os.statvfs(folder)
            except OSError:  # it has just gone
                continue
            free = found.f_bfree * found.f_frsize  # root may use what is kept back, too
            self.least[folder] = min(free, self.least.get(folder, free))

    def _note_seconds(self) -> None:
        now = self._clock()
        self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + now - self._phase_began
        self._phase_began = now

    def _take(self, text: str) -> None:
        for name, pattern, words in _BEGINS:
            if _ORDER[name] > _ORDER[self.phase] and pattern.search(text):
                if name == "copy" and self.phase != "initrd":
                    continue  # cp is run for other reasons before
                self._note_seconds()
                self.phase = name
                self._reporter.progress(STEP, _ORDER[name], self._phases, "phases", words)
        found = _PACKAGE.search(text)
        if found and self.phase == "install":
            at = int(found[2]), int(found[3])
            if at != self._said:
                self._said = at
                self._reporter.progress(STEP, *at, "packages", found[1])
        elif self.phase == "squashfs":
            percents = _PERCENT.findall(text)
            if percents:
                self._reporter.progress(STEP, int(percents[-1]), 100, "%", "packing its squashfs")

    def _grown(self) -> Iterator[str]:
        """Give the lines that were added to the logs since they were last looked at."""
        logs = [*self._logs.glob("*.log"), *self._anaconda.glob("*.log")]
        for log in logs:
            try:
                size = self._sizes[log] = log.stat().st_size
                if log.name == _OURS:
                    continue  # what is in it was read as it came
                at = self._read.get(log, 0)
                if size == at:
                    continue
                start = max(at, size - _MOST) if size > at else 0
                with log.open("rb") as file:
                    file.seek(start)
                    data = file.read(_MOST)
            except OSError:  # it was moved away
                continue
            self._read[log] = start + len(data)
            yield from data.decode("utf-8", errors="replace").splitlines() or [""]
