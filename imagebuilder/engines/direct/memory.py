"""How much memory the programs of a build can have: what the system and their control groups leave.

A build may run in a control group that may use less than the machine has: in a container, in a
job of a CI runner, in ``systemd-run --property=MemoryMax=``.  Whoever uses more there is killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# cgroups(7): of version 2 the unified hierarchy, of version 1 the one of the memory controller.
# What a group may use, what it uses, and how memory.stat names the pages of files in it that
# nobody has touched for long; with all groups below it.
_UNIFIED = ("memory.max", "memory.current", "inactive_file")
_OLDER = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the bytes of memory that programs can have, or None if nobody says.

    What the control group of this process leaves counts as well, and each group above it.

    Args:
        proc: where proc(5) is.
        groups: where the control groups are.
    """
    found = [] if (said := _of_system(proc / "meminfo")) is None else [said]
    for folder, names in _groups(proc / "self/cgroup", groups):
        if (left := _of_group(folder, names)) is not None:
            found.append(left)
    return min(found, default=None)


def _of_system(meminfo: Path) -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return 1024 * sum(int(lines[key].split()[0]) for key in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        return None


def _groups(own: Path, groups: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Give the folders of the groups that this process is in, the innermost first.

    In a container the path can be that of the host, and only the last folder, its own, be there.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for fields in lines:
        if len(fields) != 3:
            continue
        _, controllers, path = fields
        if "memory" in controllers.split(","):
            top, names = groups / "memory", _OLDER
        elif not controllers:
            top, names = groups, _UNIFIED
        else:
            continue
        inside = Path(path.lstrip("/"))
        for each in (inside, *inside.parents):
            yield top / each, names


def _of_group(folder: Path, names: tuple[str, str, str]) -> int | None:
    limit, used, idle = names
    try:
        most, now = (int((folder / name).read_text()) for name in (limit, used))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        # Pages of files are let go of when somebody wants memory.
        return max(0, most - now + int(stat.get(idle, 0)))
    except (OSError, ValueError):
        return None  # there is no such group here, or no limit
