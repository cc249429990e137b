from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import ended

from imagebuilder import command, tools
from imagebuilder.command import Later, redact, run
from imagebuilder.errors import HostError, Interrupted, StepError
from imagebuilder.progress import Cancel


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_what_a_program_says_and_how_it_ends() -> None:
    lines: list[str] = []
    errors: list[str] = []
    result = run(
        shell("echo a; echo b >&2; printf c; exit 3"),
        timeout=20,
        check=False,
        on_line=lines.append,
        on_error_line=errors.append,
    )
    assert (result.returncode, result.stdout, result.stderr) == (3, "a\nc\n", "b\n")
    assert (lines, errors) == (["a", "c"], ["b"])


@pytest.mark.parametrize(
    ("returns", "expected"), [(True, ["one", "two", "three", "4"]), (False, ["one\rtwo", "three"])]
)
def test_a_line_that_is_written_over_is_seen_before_it_is_ended(
    returns: bool, expected: list[str]
) -> None:
    lines: list[str] = []
    run(
        shell("printf 'one\\rtwo\\r'; sleep 0.3; printf '\\nthree\\r\\n4\\r5'; sleep 300"),
        timeout=60,
        on_line=lines.append,
        until=lambda: len(lines) == len(expected),
        returns=returns,
    )
    assert lines == expected


def test_a_failure_has_the_excerpt_the_log_and_the_fix(tmp_path: Path) -> None:
    log = tmp_path / "logs/a.log"
    with pytest.raises(StepError, match="packing: exit status 2") as caught:
        run(shell("seq 100; echo why >&2; exit 2"), timeout=20, log=log, what="packing", fix="room")
    error = caught.value
    assert error.excerpt.splitlines()[-2:] == ["100", "why"]
    assert len(error.excerpt.splitlines()) < 30
    assert (error.log, error.fix) == (log, "room")
    text = log.read_text()
    assert text.startswith("$ sh -c")
    assert "\n1\n" in text
    assert "exit status 2" in text


def test_a_program_that_is_ended_by_a_signal() -> None:
    with pytest.raises(StepError, match="signal 9"):
        run(shell("kill -9 $$"), timeout=20)
    assert run(shell("kill -9 $$"), timeout=20, check=False).returncode == -9


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program"])
def test_a_missing_program(program: str) -> None:
    with pytest.raises(HostError, match=f"{program} is not installed") as caught:
        run([program], timeout=20)
    assert "doctor" in caught.value.fix


def test_time_is_limited() -> None:
    began = time.monotonic()
    with pytest.raises(StepError, match="not done after 0 s") as caught:
        run(shell("echo so far; sleep 300"), timeout=0.3, log=None)
    assert time.monotonic() - began < 60
    assert "so far" in caught.value.excerpt


def test_time_is_limited_for_a_program_that_ignores_sigterm_and_its_children(
    tmp_path: Path,
) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(StepError, match="not done"):
        run(
            shell(f"trap '' TERM; sleep 300 & echo $! >{pid}; while :; do sleep 300; done"),
            timeout=0.3,
            grace=0.2,
        )
    assert ended(int(pid.read_text()))


def test_the_request_to_stop(tmp_path: Path) -> None:
    cancel = Cancel()
    pid = tmp_path / "pid"
    threading.Timer(0.3, cancel.set, ["stopped by SIGINT"]).start()
    began = time.monotonic()
    with pytest.raises(Interrupted, match="SIGINT"):
        run(shell(f"sleep 300 & echo $! >{pid}; wait"), timeout=60, cancel=cancel)
    assert time.monotonic() - began < 60
    assert ended(int(pid.read_text()))
    with pytest.raises(Interrupted):
        run(["touch", str(tmp_path / "started")], timeout=20, cancel=cancel)
    assert not (tmp_path / "started").exists()


def test_until_ends_a_program_as_a_success() -> None:
    seen: list[str] = []
    result = run(
        shell("echo ready; sleep 300"), timeout=60, on_line=seen.append, until=lambda: bool(seen)
    )
    assert result.stdout == "ready\n"
    assert result.seconds < 60


def test_logs_and_lines_have_no_credentials(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines: list[str] = []
    url = "https://user:geheim@mirror.example/debian"
    result = run(["echo", "x", url], timeout=20, log=log, on_line=lines.append)
    for text in (log.read_text(), result.stdout, *lines):
        assert "https://mirror.example/debian" in text
        assert "geheim" not in text
    with pytest.raises(StepError) as caught:
        run(shell(f"echo {url} >&2; exit 1"), timeout=20)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a:geheim@h/x http://b@h", "http://h/x http://h"),
        (
            "deb [signed-by=/k] HTTPS://a:ge@heim@h:80/x main",
            "deb [signed-by=/k] HTTPS://h:80/x main",
        ),
        ("s3://key:secret@bucket", "s3://bucket"),
        ("mail root@example.org, see http://h/a@b", "mail root@example.org, see http://h/a@b"),
        ("git@host:a http://h", "git@host:a http://h"),
    ],
)
def test_redact(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_odd_output(tmp_path: Path) -> None:
    lines: list[str] = []
    script = r"printf 'a\r\n\n\377\000b\n'; head -c 3000000 /dev/zero | tr '\0' x"
    result = run(
        shell(script), timeout=60, on_line=lines.append, log=tmp_path / "log", stdin=b"unread"
    )
    assert lines[:3] == ["a", "", "�\0b"]
    assert sum(map(len, lines[3:])) == 3_000_000
    assert max(map(len, lines)) < 1_200_000
    assert result.returncode == 0


def test_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run(["seq", "5000"], timeout=20, keep=3, log=log).stdout == "4998\n4999\n5000\n"
    assert "\n17\n" in log.read_text()


def test_stdin() -> None:
    data = b"x" * 1_000_000
    assert run(["wc", "-c"], timeout=20, stdin=data).stdout.strip() == "1000000"
    assert run(["cat"], timeout=20).stdout == ""
    assert run(["cat"], timeout=20, stdin=b"").stdout == ""
    assert run(["true"], timeout=20, stdin=data).returncode == 0
    assert run(shell("exec <&-; sleep 0.1"), timeout=20, stdin=data).returncode == 0


def test_what_it_reads_may_come_later() -> None:
    later = Later()
    threading.Timer(0.3, later.give, [b"x" * 1_000_000]).start()
    assert run(["wc", "-c"], timeout=20, stdin=later).stdout.strip() == "1000000"
    later.close()
    later.give(b"nobody reads it")
    gone = Later()
    assert run(["true"], timeout=20, stdin=gone).returncode == 0
    gone.close()


def test_environment_and_folder(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "ONLY": "this"}
    result = run(shell("pwd; env"), timeout=20, env=env, cwd=tmp_path)
    assert result.stdout.splitlines()[0] == str(tmp_path)
    assert "ONLY=this" in result.stdout
    assert "HOME=" not in result.stdout


def test_no_shell_reads_the_arguments() -> None:
    assert run(["printf", "%s", "$(id) `id` ; *"], timeout=20).stdout == "$(id) `id` ; *\n"


def test_a_daemon_that_is_left_behind_keeps_nobody_waiting(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    began = time.monotonic()
    run(shell(f"setsid sleep 300 & echo $! >{pid}"), timeout=20)
    assert time.monotonic() - began < 60
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_quick_programs_cost_no_time() -> None:
    run(["true"], timeout=20)
    took: list[float] = []
    for _ in range(10):
        began = time.monotonic()
        run(["true"], timeout=20)
        took.append(time.monotonic() - began)
    assert min(took) < 0.15


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "from imagebuilder import command\n"
        f"command.run(['sh', '-c', 'echo $$ >{pid}; exec sleep 300'], timeout=300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        deadline = time.monotonic() + 20
        while not (pid.exists() and pid.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child = int(pid.read_text())
        parent.kill()
    assert ended(child)


def test_versions() -> None:
    assert command.version_of(["bash", "--version"]).startswith("GNU bash")
    assert command.version_of(["no-such-program", "--version"]) == ""
    assert command.version_of(["false"]) == ""
    assert tools.versions("bash")["bash"].startswith("GNU bash")


def test_tools_that_are_missing_come_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools.need("sh")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="mksquashfs, unshare are not installed") as caught:
        tools.need("mksquashfs", "unshare")
    assert caught.value.fix == "run: sudo apt-get install squashfs-tools util-linux"
    with pytest.raises(HostError, match="mksquashfs is not installed"):
        tools.need("mksquashfs")
    assert tools.missing(["sh"]) == ["sh"]
