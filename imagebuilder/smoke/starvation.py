"""What a machine did with the host's processors: ran, waited for one, or needed none.

A limit in seconds of the clock would fail good images on a busy host: four machines on two
processors take twice the time, and a neighbour's build as much again.  The kernel counts for
each thread how long it ran, and how long it could have run and did not (Linux,
Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat); the time that it waited is given
back.

A machine that needs no processor waits for a clock, or for nothing at all.  Emulation makes
that no slower, so such time is not what limits are multiplied for.
"""

from __future__ import annotations

from pathlib import Path

_NANOSECONDS = 1_000_000_000
# Seconds from one look to the next: of a thread that runs the kernel counts up to its last tick
# only, and a host that lets nobody look for longer is to blame itself.
_SHORTEST, _LONGEST = 0.2, 1.0


class Starvation:
    """Reads how long the threads of a process ran and waited.

    Args:
        pid_file: has the process's number, once it is there.
        proc: where the kernel tells.

    Attributes:
        waited: the longest that a thread has waited so far, in seconds; 0 where nobody counts.
        idle: seconds since the look before, up to this one, in which no thread ran or waited;
            0 where nobody counts.
    """

    def __init__(self, pid_file: Path, proc: Path = Path("/proc")) -> None:
        self._pid_file = pid_file
        self._proc = proc
        self._known: dict[str, float] = {}
        self._looked = 0.0
        self.waited = 0.0
        self.idle = 0.0

    def look(self, now: float) -> None:
        """Look at all threads.

        Args:
            now: seconds of a clock.
        """
        passed, self.idle = now - self._looked, 0.0
        if passed < _SHORTEST:
            return
        self._looked = now
        try:
            pid = int(self._pid_file.read_text())
            tasks = list((self._proc / str(pid) / "task").iterdir())
        except (OSError, ValueError):
            return
        needed: dict[str, float] = {}
        for task in tasks:
            try:
                ran, waited = map(int, (task / "schedstat").read_text().split()[:2])
            except (OSError, ValueError):
                continue  # the thread has ended, or the kernel does not count
            needed[task.name] = (ran + waited) / _NANOSECONDS
            self.waited = max(self.waited, waited / _NANOSECONDS)
        before, self._known = self._known, needed
        if not before or not any(needed.values()):
            return  # the first look, or zeros of a kernel that does not count
        busy = sum(spent - before.get(task, 0.0) for task, spent in needed.items())
        self.idle = min(max(0.0, passed - busy), _LONGEST)
