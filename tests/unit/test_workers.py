"""Workers: one that was started ahead is used, and none is left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder import command, workers
from imagebuilder.errors import Interrupted
from imagebuilder.progress import Cancel

# What a worker's module is: it says its number, then what it was told, then how it ends.
TEXT = """\
import os, sys, time
print(os.getpid(), flush=True)
job = sys.stdin.read()
print("job", job, flush=True)
if job == "sleep":
    time.sleep(600)
sys.exit(3 if job == "fail" else 0)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the module on the path, and no namespaces around it: its number is the host's."""
    (tmp_path / "told.py").write_text(TEXT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(workers.sandbox, "enclose", lambda argv, **_: list(argv))
    yield
    assert not workers._waiting


def take(cancel: Cancel, *, network: bool = True) -> workers.Worker:
    return workers.take("told", network=network, cancel=cancel, timeout=workers.TIMEOUT)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def numbers() -> set[int]:
    """Return the processes that run the module."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:4] == [b"-P", b"-m", b"told"]:
            found.add(int(path.parent.name))
    return found


def started(before: set[int]) -> int:
    """Wait for a worker that was not there before; return its number."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if new := numbers() - before:
            return new.pop()
        time.sleep(0.05)
    raise AssertionError("no worker was started")


def test_one_is_started_if_there_is_none() -> None:
    lines: list[str] = []
    result = take(Cancel()).work(b"it", lines.append)
    assert result.returncode == 0
    assert lines[1] == "job it"
    assert take(Cancel()).work(b"fail", lines.append).returncode == 3


def test_the_one_that_waits_is_taken_and_those_of_other_kinds_are_not() -> None:
    cancel, lines = Cancel(), list[str]()
    before = numbers()
    with workers.ahead("told", network=True, cancel=cancel):
        waiting = started(before)
        take(cancel, network=False).work(b"other", lines.append)
        take(Cancel()).work(b"other", lines.append)
        assert str(waiting) not in lines
        assert is_running(waiting)
        take(cancel).work(b"mine", lines.append)
        assert lines[-1] == "job mine"
        # It was asked after it had said its number, which nobody heard.
        assert not is_running(waiting)


def test_one_that_nobody_takes_is_ended() -> None:
    before = numbers()
    began = time.monotonic()
    with workers.ahead("told", network=True, cancel=Cancel()):
        waiting = started(before)
    assert not is_running(waiting)
    assert time.monotonic() - began < 60  # it would wait for hours


def test_one_that_has_ended_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, lines = Cancel(), list[str]()
    before = numbers()
    with workers.ahead("told", network=True, cancel=cancel):
        os.kill(started(before), 9)
        while workers._waiting[0][1].is_there:
            time.sleep(0.05)
        assert take(cancel).work(b"anew", lines.append).returncode == 0
        assert lines[-1] == "job anew"


def test_the_wish_to_stop_ends_it() -> None:
    cancel, before = Cancel(), numbers()
    worker = take(cancel)
    pid = started(before)
    threading.Timer(0.5, cancel.set, ["enough"]).start()
    with pytest.raises(Interrupted):
        worker.work(b"sleep", lambda _: None)
    assert not is_running(pid)


def test_whatever_breaks_the_wait_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = numbers()
    worker = take(Cancel())
    pid = started(before)
    waited = worker._ended.result

    def result() -> command.Result:
        monkeypatch.setattr(worker._ended, "result", waited)
        raise KeyboardInterrupt

    monkeypatch.setattr(worker._ended, "result", result)
    with pytest.raises(KeyboardInterrupt):
        worker.work(b"sleep", lambda _: None)
    assert not is_running(pid)


def test_what_a_listener_raises_is_raised() -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match=r"job it|[0-9]+"):
        take(Cancel()).work(b"it", refuse)
