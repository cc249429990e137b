"""Several recipes at a time: what is begun, what fails, what is stopped."""

from __future__ import annotations

import threading

import pytest

from imagebuilder.errors import Interrupted, StepError
from imagebuilder.progress import Cancel
from imagebuilder.several import each, waiting

WAIT = 20.0  # seconds; nothing here takes that long


def test_as_many_as_are_allowed_run_at_the_same_time() -> None:
    both = threading.Barrier(2)
    running: list[str] = []
    most: list[int] = []

    def work(name: str) -> str:
        running.append(name)
        both.wait(WAIT)
        most.append(len(running))
        both.wait(WAIT)
        running.remove(name)
        return name.upper()

    done, failures = each(["a", "b", "c", "d", "a"], work, jobs=2, cancel=Cancel())
    assert done == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert failures == ()
    assert max(most) == 2


def test_after_a_failure_what_runs_ends_and_nothing_is_begun() -> None:
    has_failed = threading.Event()
    begun: list[str] = []

    def work(name: str) -> None:
        begun.append(name)
        if name == "bad":
            has_failed.set()
            raise StepError("no")
        assert has_failed.wait(WAIT)

    done, failures = each(["good", "bad", "c", "d"], work, jobs=2, cancel=Cancel())
    assert list(done) == ["good"]
    assert [each_.name for each_ in failures] == ["bad"]
    assert begun == ["good", "bad"]


def test_going_on_past_failures() -> None:
    def work(name: str) -> str:
        if name in "bd":
            raise StepError(name)
        return name

    done, failures = each(list("abcde"), work, jobs=2, keep_going=True, cancel=Cancel())
    assert sorted(done) == ["a", "c", "e"]
    assert sorted(each_.name for each_ in failures) == ["b", "d"]


def test_a_request_to_stop_ends_all_that_runs_and_begins_nothing() -> None:
    cancel = Cancel()
    both = threading.Barrier(2, action=cancel.set)
    begun: list[str] = []

    def work(name: str) -> None:
        begun.append(name)
        both.wait(WAIT)
        cancel.check()

    done, failures = each(["a", "b", "c"], work, jobs=2, keep_going=True, cancel=cancel)
    assert not done
    assert [type(each_.error) for each_ in failures] == [Interrupted, Interrupted]
    assert sorted(begun) == ["a", "b"]


def test_a_fault_of_ours_stops_what_runs() -> None:
    cancel = Cancel()
    runs = threading.Event()

    def work(name: str) -> None:
        if name == "broken":
            assert runs.wait(WAIT)
            raise ZeroDivisionError
        runs.set()
        while not cancel.is_set:
            pass
        cancel.check()

    with pytest.raises(ZeroDivisionError):
        each(["a", "broken"], work, jobs=2, cancel=cancel)


def test_who_waits_for_another_gives_up_his_place() -> None:
    cancel = Cancel()
    is_made, others = threading.Event(), threading.Barrier(2)
    running: set[str] = set()
    most: list[int] = []

    def work(name: str) -> None:
        if name.startswith("waits"):
            with waiting(cancel):
                assert is_made.wait(WAIT)
        running.add(name)
        most.append(len(running))
        if name in "ab":  # both run although two others were begun before
            others.wait(WAIT)
            is_made.set()
        running.remove(name)

    names = ["waits", "waits too", "a", "b"]
    done, failures = each(names, work, jobs=2, cancel=cancel)
    assert set(done) == set(names)
    assert not failures
    assert max(most) <= 2


def test_who_is_to_stop_waits_for_no_place() -> None:
    cancel = Cancel()

    def work(name: str) -> None:
        with waiting(cancel):
            cancel.set()
        cancel.check()

    _, failures = each(["a", "b", "c"], work, jobs=1, keep_going=True, cancel=cancel)
    assert {type(each_.error) for each_ in failures} == {Interrupted}


def test_alone_one_just_waits() -> None:
    with waiting(Cancel()):
        pass
