"""How much memory a build can have: what the system leaves, and control groups of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.engines.direct.memory import available

SYSTEM = 1024 * 1024
UNIFIED = ("memory.max", "memory.current", "inactive_file")
OLDER = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """What proc(5) says, of a process in no group."""
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (folder / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  1000 kB\nSwapFree:  24 kB\n")
    return folder


def limit(folder: Path, names: tuple[str, str, str], most: str, used: int, idle: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{most}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {idle}\n")


def test_memory_is_what_the_system_leaves(proc: Path, tmp_path: Path) -> None:
    assert available(proc, tmp_path / "none") == SYSTEM
    (proc / "self/cgroup").write_text("0::/\n")
    assert available(proc, tmp_path / "none") == SYSTEM
    assert available(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("said", "top", "names"),
    [
        ("0::/a.slice/b.scope\n", "", UNIFIED),
        ("9:name=systemd:/x\n4:cpu,memory:/a.slice/b.scope\n0::/\n", "memory", OLDER),
    ],
)
def test_each_group_above_counts(
    proc: Path, tmp_path: Path, said: str, top: str, names: tuple[str, str, str]
) -> None:
    (proc / "self/cgroup").write_text(said)
    groups = tmp_path / "groups"
    outer, inner = groups / top / "a.slice", groups / top / "a.slice/b.scope"
    limit(inner, names, most="700000", used=600000, idle=50000)
    assert available(proc, groups) == 150_000
    limit(outer, names, most="900000", used=800000, idle=0)
    assert available(proc, groups) == 100_000
    limit(groups / top / "another", names, most="1", used=0, idle=0)
    assert available(proc, groups) == 100_000
    limit(outer, names, most="max", used=800000, idle=0)
    assert available(proc, groups) == 150_000
    limit(inner, names, most="700000", used=800000, idle=0)
    assert available(proc, groups) == 0


@pytest.mark.parametrize(("top", "names"), [("", UNIFIED), ("memory", OLDER)])
def test_in_a_container_the_path_may_be_that_of_the_host(
    proc: Path, tmp_path: Path, top: str, names: tuple[str, str, str]
) -> None:
    controllers = "4:memory" if top else "0:"
    (proc / "self/cgroup").write_text(f"{controllers}:/docker/0123\n")
    limit(tmp_path / "groups" / top, names, most="300000", used=100000, idle=0)
    assert available(proc, tmp_path / "groups") == 200_000
