"""How long a machine waited for the host's processors, which is not its fault.

A limit in seconds of the clock would fail good images on a busy host: four machines on two
processors take twice the time, and a neighbour's build as much again.  The kernel counts for
each thread how long it could have run and did not (Linux, Documentation/scheduler/
sched-stats.rst, /proc/PID/schedstat); that time is given back.
"""

from __future__ import annotations

from pathlib import Path

_NANOSECONDS = 1_000_000_000


class Starvation:
    """Reads how long the threads of a process waited.

    Args:
        pid_file: has the process's number, once it is there.
        proc: where the kernel tells.
    """

    def __init__(self, pid_file: Path, proc: Path = Path("/proc")) -> None:
        self._pid_file = pid_file
        self._proc = proc
        self._most = 0.0

    def seconds(self) -> float:
        """Return the longest that a thread has waited so far; 0 where nobody counts."""
        try:
            pid = int(self._pid_file.read_text())
            tasks = list((self._proc / str(pid) / "task").iterdir())
        except (OSError, ValueError):
            return self._most
        for task in tasks:
            try:
                waited = int((task / "schedstat").read_text().split()[1])
            except (OSError, ValueError, IndexError):
                continue  # the thread has ended, or the kernel does not count
            self._most = max(self._most, waited / _NANOSECONDS)
        return self._most
