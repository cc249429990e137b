from __future__ import annotations

import json
import threading

import pytest

from imagebuilder.errors import Interrupted, StepError
from imagebuilder.progress import Cancel, Event, Reporter


def test_a_step_is_framed() -> None:
    events: list[Event] = []
    reporter = Reporter(subject="base", observer=events.append)
    with reporter.step("packages", "installing"):
        reporter.progress("packages", 1, 2, "steps", "bash")
    assert [each.kind for each in events] == ["started", "progress", "finished"]
    assert {each.subject for each in events} == {"base"}
    assert (events[1].done, events[1].total, events[1].unit) == (1, 2, "steps")
    assert events[2].seconds is not None
    json.dumps([each.to_dict() for each in events])


def test_a_failed_step_says_so_in_one_line_and_the_error_goes_on() -> None:
    events: list[Event] = []
    with (
        pytest.raises(StepError),
        Reporter(subject="base", observer=events.append).step("configure"),
    ):
        raise StepError("it failed", fix="do this")
    assert [each.kind for each in events] == ["started", "failed"]
    assert events[1].text == "it failed"


def test_no_step_is_started_after_the_request_to_stop() -> None:
    events: list[Event] = []
    reporter = Reporter(subject="base", observer=events.append)
    threading.Thread(target=reporter.cancel.set, args=["stopped by SIGINT"]).start()
    while not reporter.cancel.is_set:
        pass
    with pytest.raises(Interrupted, match="stopped by SIGINT"), reporter.step("configure"):
        pytest.fail("was started")
    assert events == []


def test_the_first_reason_to_stop_is_the_one_that_is_told() -> None:
    cancel = Cancel()
    cancel.check()
    cancel.set("first")
    cancel.set("second")
    with pytest.raises(Interrupted, match="first"):
        cancel.check()
