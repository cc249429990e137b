from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder import sandbox
from imagebuilder.command import run

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
can_enclose = pytest.mark.skipif(
    bool(sandbox.why_not_enclosed()), reason="no namespaces for this user"
)


def inside(code: str, *args: str) -> str:
    """Run Python code in namespaces of its own; return what it prints."""
    program = f"import os, sys\nfrom pathlib import Path\nfrom imagebuilder import sandbox\n{code}"
    return run(sandbox.enclose([sys.executable, "-c", program, *args]), timeout=60).stdout


@can_enclose
def test_a_pid_namespace_of_its_own() -> None:
    seen = inside("print(os.getpid(), *[p for p in os.listdir('/proc') if p.isdigit()])").split()
    assert seen == ["1", "1"]


@can_enclose
def test_mounts_do_not_leak(tmp_path: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    code = """
target = Path(sys.argv[1])
sandbox.mount_tmpfs(target, mode="0700")
(target / "file").write_text("x")
print(os.path.ismount(target), oct(target.stat().st_mode & 0o777))
"""
    assert inside(code, str(tmp_path)).split() == ["True", "0o700"]
    assert list(tmp_path.iterdir()) == []
    assert Path("/proc/self/mountinfo").read_text() == before


@can_enclose
def test_binds_and_their_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/file").write_text("x")
    code = """
root = Path(sys.argv[1])
sandbox.bind(root / "a", root / "b")
print((root / "b/file").exists())
sandbox.unmount(root / "b")
print((root / "b/file").exists())
try:
    sandbox.bind(root / "nosuch", root / "b")
except OSError as error:
    print(error.errno, error.filename == str(root / "b"))
"""
    assert inside(code, str(tmp_path)).split() == ["True", "False", "2", "True"]


@can_enclose
def test_a_system_in_a_tree(tmp_path: Path) -> None:
    code = """
root = Path(sys.argv[1])
sandbox.mount_tmpfs(root)
sandbox.mount_system(root)
(root / "dev/null").write_text("x")
print((root / "proc/self/mounts").exists(), sorted(os.listdir(root / "dev")))
(root / "tmp/left").touch()
sandbox.unmount_system(root)
print([sorted(os.listdir(root / name)) for name in ("dev", "proc", "sys", "run", "tmp")])
"""
    first, second = inside(code, str(tmp_path)).splitlines()
    assert first.startswith("True")
    assert "'null'" in first
    assert "sda" not in first
    assert second == "[[], [], [], [], []]"


@can_enclose
def test_an_overlay_changes_nothing_below(tmp_path: Path) -> None:
    code = """
base = Path(sys.argv[1])
sandbox.mount_tmpfs(base)
paths = [base / name for name in ("lower", "upper", "work", "root")]
for path in paths:
    path.mkdir()
(paths[0] / "file").write_text("old")
sandbox.mount_overlay(*paths)
(paths[3] / "file").write_text("new")
print((paths[0] / "file").read_text(), (paths[3] / "file").read_text())
"""
    assert inside(code, str(tmp_path)).split() == ["old", "new"]


@pytest.mark.parametrize("name", ["a,b", "a:b", "a\\b"])
def test_an_overlay_takes_no_path_that_would_read_as_options(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="comma, colon or backslash"):
        sandbox.mount_overlay(tmp_path / name, tmp_path, tmp_path, tmp_path)


@can_enclose
def test_nothing_is_left_of_a_sandbox_that_is_killed(tmp_path: Path) -> None:
    script = "sleep 310.25 & setsid sleep 310.25 & echo ready; wait"
    process = subprocess.Popen(
        sandbox.enclose(["sh", "-c", script]), stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"

    def left() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if path.read_bytes() == b"sleep\x00310.25\x00":
                    found.append(path.parent.name)
            except OSError:
                continue
        return found

    deadline = time.monotonic() + 10
    while len(left()) < 2:  # setsid needs a moment to become sleep
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    process.stdout.close()
    while left():
        assert time.monotonic() < deadline, left()
        time.sleep(0.02)


@as_root
def test_a_program_without_the_right_to_make_devices(tmp_path: Path) -> None:
    argv = ["mknod", str(tmp_path / "null"), "c", "1", "3"]
    assert run(sandbox.without_mknod(argv), timeout=20, check=False).returncode != 0
    assert run(sandbox.without_mknod(["id", "-u"]), timeout=20).stdout == "0\n"


@as_root
def test_a_program_in_a_tree_sees_the_tree(tmp_path: Path) -> None:
    (tmp_path / "only").touch()
    result = run(sandbox.in_chroot(tmp_path, ["/bin/ls", "/"]), timeout=20, check=False)
    assert result.returncode == 127  # there is no ls in it


class FakeHost:
    """Another user's view of a host."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        monkeypatch.setattr(sandbox, "Path", lambda path: folder / str(path).lstrip("/"))

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return FakeHost(tmp_path, monkeypatch)


def test_root_needs_nothing(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert sandbox.why_not_enclosed() == ""
    assert "--user" not in sandbox.enclose(["true"])


def test_a_user_needs_ids_in_both_tables(host: FakeHost) -> None:
    assert "--map-auto" in sandbox.enclose(["true"])
    assert "/etc/subuid" in sandbox.why_not_enclosed()
    host.write("etc/subuid", "1234:1:65536\n123456:1:65536\n")
    assert "/etc/subuid" in sandbox.why_not_enclosed()
    host.write("etc/subuid", "12345:100000:65536\n")
    assert "/etc/subgid" in sandbox.why_not_enclosed()
    host.write("etc/subgid", "12345:100000:65536\n")
    assert sandbox.why_not_enclosed() == ""
    host.write("proc/sys/kernel/unprivileged_userns_clone", "1\n")
    assert sandbox.why_not_enclosed() == ""
    host.write("proc/sys/kernel/unprivileged_userns_clone", "0\n")
    assert "switched off" in sandbox.why_not_enclosed()


@can_enclose
@pytest.mark.parametrize("below_tmp", [True, False])
def test_a_folder_for_temporary_files_of_its_own(tmp_path: Path, below_tmp: bool) -> None:
    project = tmp_path / "project" if below_tmp else Path("/usr")
    (tmp_path / "project").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "private/before").touch()
    script = "pwd; ls /tmp; touch /tmp/made" + ("; touch here" if below_tmp else "")
    code = """
import subprocess
argv = sandbox.with_private_tmp(["sh", "-c", sys.argv[3]], Path(sys.argv[1]), Path(sys.argv[2]))
print(subprocess.run(argv, capture_output=True, text=True).stdout)
"""
    found = inside(code, str(tmp_path / "private"), str(project), script).split()
    assert found[0] == str(project)
    assert "before" in found
    assert (tmp_path / "private/made").exists()
    assert not Path("/tmp/made").exists()
    assert (tmp_path / "project/here").exists() == below_tmp


@can_enclose
def test_a_namespace_without_a_network_can_talk_to_itself() -> None:
    code = """
import socket
from imagebuilder import sandbox
sandbox.raise_loopback()
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), timeout=10).close()
print("spoken")
"""
    argv = sandbox.enclose([sys.executable, "-c", code], network=False)
    assert subprocess.run(argv, text=True, capture_output=True).stdout == "spoken\n"
