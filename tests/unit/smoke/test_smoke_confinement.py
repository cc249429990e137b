"""What QEMU may do: tried with programs that do what it must not, and with QEMU itself."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import ended

from imagebuilder import sandbox
from imagebuilder.command import run
from imagebuilder.smoke import confinement
from imagebuilder.smoke.paths import QEMU
from imagebuilder.smoke.starvation import Starvation

as_qemu = pytest.mark.skipif(not shutil.which(QEMU), reason="QEMU is not installed")


def confined(code: str) -> list[str]:
    """Return the command line of Python code in the place of QEMU."""
    return confinement.confined(
        [sys.executable, "-c", code], memory_mib=64, translation_mib=64, cpus=1, spawns=False
    )


def test_memory_is_bounded() -> None:
    grab = "data = bytearray({} << 20); print('got it')"
    assert "got it" in run(confined(grab.format(500)), timeout=60).stdout
    result = run(confined(grab.format(2400)), timeout=60, check=False)
    assert "got it" not in result.stdout
    assert "MemoryError" in result.stderr


def test_what_it_writes_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "file"
    code = f"import os; os.truncate(os.open({str(file)!r}, os.O_WRONLY | os.O_CREAT), 300 << 20)"
    result = run(confined(code), timeout=60, check=False)
    assert result.returncode != 0
    assert file.stat().st_size == 0


def test_it_has_no_network_of_the_hosts() -> None:
    assert confinement.has_empty_network()
    code = "print(sorted(line.split(':')[0].strip() for line in list(open('/proc/net/dev'))[2:]))"
    assert run(confined(code), timeout=60).stdout.strip() == "['lo']"
    with socket.create_server(("127.0.0.1", 0)) as ours:
        place = ours.getsockname()
        code = f"import socket; socket.create_connection({place}, 5)"
        assert "refused" in run(confined(code), timeout=60, check=False).stderr


def test_without_namespaces_the_other_bounds_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "has_empty_network", lambda: False)
    argv = confined("")
    assert argv[3] == "prlimit"
    assert "unshare" not in argv


@pytest.mark.parametrize("who", ["as I am", "as an ordinary user"])
@as_qemu
def test_qemu_lives_with_it(who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if who == "as an ordinary user":
        monkeypatch.setattr("imagebuilder.sandbox.os.geteuid", lambda: 1000)
    pid_file = tmp_path / "pid"
    argv = confinement.confined(
        [
            *(QEMU, "-nodefaults", "-machine", "q35", "-accel", "tcg", "-S"),
            *("-display", "none", "-m", "64", "-pidfile", str(pid_file)),
        ],
        memory_mib=64,
        translation_mib=64,
        cpus=1,
        spawns=False,
    )
    seen: dict[str, str] = {}

    def look() -> bool:
        if not pid_file.exists():
            return False
        proc = Path("/proc") / pid_file.read_text().strip()
        status = (proc / "status").read_text().splitlines()
        seen.update(line.split(":\t", 1) for line in status if ":\t" in line)
        seen["limits"] = (proc / "limits").read_text()
        seen["net"] = str((proc / "ns/net").readlink())
        return True

    result = run(sandbox.mortal(argv), timeout=60, until=look, check=False)
    assert seen, result.stderr
    assert seen["Seccomp"] == "2"
    assert seen["NoNewPrivs"] == "1"
    if who == "as an ordinary user":
        assert int(seen["CapEff"], 16) == int(seen["CapBnd"], 16) == 0
    assert seen["net"] != str(Path("/proc/self/ns/net").readlink())
    assert f"{(64 + 64 + 2048 + 128) << 20}" in seen["limits"]


PROGRAM = """
import sys
from pathlib import Path
from imagebuilder.command import run
from imagebuilder.smoke.confinement import confined
run(confined(["sh", "-c", f"echo $$ >{sys.argv[1]}; exec sleep 60"],
    memory_mib=64, translation_mib=64, cpus=1, spawns=False)[:-2], timeout=60)
"""


def test_it_is_killed_with_the_test(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(pid_file)]) as process:
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    assert ended(int(pid_file.read_text()), 10)


def test_the_time_that_threads_waited_is_read(tmp_path: Path) -> None:
    starvation = Starvation(tmp_path / "pid", tmp_path)
    starvation.look(1.0)
    assert starvation.waited == 0
    (tmp_path / "pid").write_text("7\n")
    for task, text in (("7", "5 1500000000 3"), ("8", "5 4000000000 3"), ("9", "nonsense")):
        folder = tmp_path / "7/task" / task
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(text)
    starvation.look(2.0)
    assert starvation.waited == 4
    shutil.rmtree(tmp_path / "7/task/8")
    starvation.look(3.0)
    assert starvation.waited == 4, "a thread that has ended still waited"


def test_the_time_in_which_no_thread_needed_a_processor_is_read(tmp_path: Path) -> None:
    starvation = Starvation(tmp_path / "pid", tmp_path)
    (tmp_path / "pid").write_text("7\n")

    def idle(now: float, **threads: tuple[float, float]) -> float:
        for task, (ran, waited) in threads.items():
            folder = tmp_path / "7/task" / task
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "schedstat").write_text(f"{int(ran * 1e9)} {int(waited * 1e9)} 3\n")
        starvation.look(now)
        return round(starvation.idle, 3)

    assert idle(1.0, a=(0.5, 0.0), b=(0.0, 0.0)) == 0, "nothing is known of the time before"
    assert idle(2.0, a=(0.6, 0.1), b=(0.2, 0.0)) == 0.6
    assert idle(2.1) == 0, "too soon: what a thread that runs has run is not counted yet"
    assert idle(3.0) == 1.0
    assert idle(4.0, a=(1.6, 0.1), b=(0.7, 0.5)) == 0
    assert idle(90.0) == 1.0, "nobody looked: who knows what the host did"
    assert idle(91.0, c=(0.7, 0.0)) == 0.3, "a new thread counts"


def test_where_nobody_counts_a_machine_is_never_idle(tmp_path: Path) -> None:
    starvation = Starvation(tmp_path / "pid", tmp_path)
    (tmp_path / "pid").write_text("7\n")
    folder = tmp_path / "7/task/7"
    folder.mkdir(parents=True)
    (folder / "schedstat").write_text("0 0 0\n")
    for now in (1.0, 2.0, 3.0):
        starvation.look(now)
        assert (starvation.idle, starvation.waited) == (0, 0)
