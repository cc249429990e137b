"""QEMU's monitor, with a peer that speaks as QEMU does."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.errors import StepError
from imagebuilder.smoke.qmp import MachineEvent, Monitor

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}


class Peer(threading.Thread):
    """Connects as QEMU does, and answers commands as it is told."""

    def __init__(self, path: Path, answers: dict[str, dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.answers = answers
        self.asked: list[dict[str, Any]] = []
        self.say(GREETING)
        self.start()

    def say(self, message: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\r\n")

    def run(self) -> None:
        rest = ""
        while data := self.socket.recv(1 << 16):
            rest += data.decode()
            try:
                message, end = json.JSONDecoder().raw_decode(rest)
            except ValueError:
                continue  # it is on its way; commands end in no newline
            rest = rest[end:].lstrip()
            self.asked.append(message)
            answer = self.answers.get(message["execute"], {"return": {}})
            self.say(answer | {key: message[key] for key in ("id",) if key in message})
        self.socket.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_events_and_answers(tmp_path: Path) -> None:
    seen: list[MachineEvent] = []
    refusal = {"error": {"class": "CommandNotFound", "desc": "The command nope has not been found"}}
    answers = {"query-status": {"return": {"status": "paused"}}, "nope": refusal}
    with Monitor(tmp_path / "qmp", seen.append) as monitor:
        with pytest.raises(StepError, match="is not there"):
            monitor.ask("query-status")
        peer = Peer(tmp_path / "qmp", answers)
        until(lambda: monitor.connected)
        assert monitor.ask("query-status") == {"status": "paused"}
        monitor.ask("object-add", qom_type="filter-dump", id="x")
        assert peer.asked[-1]["arguments"] == {"qom-type": "filter-dump", "id": "x"}
        with pytest.raises(StepError, match="nope has not been found"):
            monitor.ask("nope")
        stamp = {"seconds": 1, "microseconds": 2}
        data = {"guest": True, "reason": "guest-reset"}
        peer.say({"event": "SHUTDOWN", "data": data, "timestamp": stamp})
        peer.say({"event": "STOP", "timestamp": stamp})
        until(lambda: len(seen) == 2)
    peer.join(5)
    assert [(each.name, each.data) for each in seen] == [("SHUTDOWN", data), ("STOP", {})]
    with pytest.raises(StepError, match="is not there"):
        monitor.ask("query-status")


def test_a_machine_that_never_connects_or_goes_away_is_no_error(tmp_path: Path) -> None:
    with Monitor(tmp_path / "one", lambda _event: None) as monitor:
        assert not monitor.connected
    with Monitor(tmp_path / "two", lambda _event: None) as monitor:
        peer = Peer(tmp_path / "two", {})
        until(lambda: monitor.connected)
        peer.socket.shutdown(socket.SHUT_RDWR)
        peer.join(5)


def test_a_monitor_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Monitor(tmp_path / "qmp", lambda _event: None) as monitor:
        peer = Peer(tmp_path / "qmp", {})
        until(lambda: monitor.connected)
        peer.say = lambda message: None  # type: ignore[method-assign]
        with monkeypatch.context() as patch:
            patch.setattr("imagebuilder.smoke.qmp._ANSWER_SECONDS", 0.2)
            with pytest.raises(StepError, match="does not answer"):
                monitor.ask("query-status")
    peer.join(5)
