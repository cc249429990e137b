"""What a worker says, and what becomes of a worker that ends without a word."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from imagebuilder import command
from imagebuilder.engines import messages
from imagebuilder.engines.direct import engine
from imagebuilder.errors import InputError, StepError
from imagebuilder.progress import Event, Reporter


def says(monkeypatch: pytest.MonkeyPatch, *lines: object, returncode: int = 0) -> None:
    """Let a worker say lines, and end."""

    def run(argv: Any, **how: Any) -> command.Result:
        os.eventfd_read(how["stdin"].fileno())  # it says nothing before it has its job
        for line in lines:
            how["on_line"](line if isinstance(line, str) else json.dumps(line))
        return command.Result(
            argv=tuple(argv), returncode=returncode, stdout="", stderr="Killed", seconds=0.0
        )

    monkeypatch.setattr(messages.command, "run", run)


def worker(reporter: Reporter, **on: Any) -> Any:
    return messages.run_worker("x", "{}", reporter, timeout=1.0, network=True, on=on)


def test_events_messages_and_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    seen: list[object] = []
    event = Event(kind="note", subject="r", step="s", text="t").to_dict()
    says(
        monkeypatch, "no JSON", "[1]", {"event": event}, {"layer": {}}, {"other": 1}, {"outcome": 5}
    )
    assert worker(Reporter(subject="r", observer=events.append), layer=seen.append) == 5
    assert [each.text for each in events] == ["t"]
    assert seen == [{}]


def test_its_error_is_raised_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, {"error": InputError("no such thing").to_dict()}, returncode=1)
    with pytest.raises(InputError, match="no such thing"):
        worker(Reporter(subject="r", observer=print))


@pytest.mark.parametrize(("lines", "status"), [((), 0), ((), -9), (({"outcome": 5},), 1)])
def test_an_end_without_a_word(
    monkeypatch: pytest.MonkeyPatch, lines: tuple[object, ...], status: int
) -> None:
    says(monkeypatch, *lines, returncode=status)
    with pytest.raises(StepError, match=f"without a result .exit status {status}.") as caught:
        worker(Reporter(subject="r", observer=print))
    assert "Killed" in caught.value.excerpt


def test_a_damaged_layer_is_told_from_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Job:
        def model_dump_json(self) -> str:
            return "{}"

    class Request:
        reporter = Reporter(subject="r", observer=print)
        offline = False

    job: Any = Job()
    request: Any = Request()
    says(monkeypatch, {"damaged": {}}, returncode=1)
    with pytest.raises(engine.DamagedLayer):
        engine._run_worker(job, request, lambda: None)
