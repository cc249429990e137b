"""What is written down of a build: times and reasons, beside the image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import build_record, command
from imagebuilder.build import build
from imagebuilder.build_record import Recorder
from imagebuilder.engines import Request, Step
from imagebuilder.errors import Location, StepError
from imagebuilder.image import FACTS
from imagebuilder.plan import Plan, make_plan
from imagebuilder.progress import Event, Reporter

FILES = {
    "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
    "kickstarts/a.ks": "timezone UTC\n",
}


def planned(make_project: MakeProject, tmp_path: Path, seen: list[Event]) -> Plan:
    reporter = Reporter(subject="r", observer=seen.append)
    return make_plan(make_project(FILES), "r", cache_dir=tmp_path, reporter=reporter)


def test_beside_the_image(
    make_project: MakeProject, fake_engine: FakeEngine, tmp_path: Path
) -> None:
    def work(request: Request, into: Path) -> None:
        with request.reporter.step("packages", "installing"):
            request.reporter.note("packages", "one is old")
        with request.reporter.step("configure"):
            request.reporter.progress("configure", 1, 2, "scripts")
        request.reporter.reused("initrd", "nothing changed")

    fake_engine.before_make = work
    seen: list[Event] = []
    image = build(planned(make_project, tmp_path, seen))
    record = build_record.of_image(image)
    assert record
    assert (record.image, record.recipe, record.error) == (image.id, "r", None)
    assert [each.step for each in record.reasons] == ["packages", "configure", "image"]
    assert {each.reason for each in record.reasons} == {"it was never made here"}
    assert [(each.step, each.outcome) for each in record.spans] == [
        ("packages", "done"),
        ("configure", "done"),
        ("initrd", "reused"),
        ("image", "done"),  # the one that writes it
    ]
    assert all(0 <= each.started <= record.seconds for each in record.spans)
    assert record.notes == ("packages: one is old",)
    # Whoever observes the build sees all of it as before.
    assert [each.kind for each in seen if each.step == "configure"] == [
        "started",
        "progress",
        "finished",
    ]
    # It is no part of the image.
    assert build_record.RECORD not in {each.name for each in image.facts.artefacts}
    facts = json.loads((image.path / FACTS).read_text())
    assert facts.keys().isdisjoint({"spans", "reasons", "began", "seconds"})


def test_of_a_build_that_fails(
    make_project: MakeProject, fake_engine: FakeEngine, tmp_path: Path
) -> None:
    def work(request: Request, into: Path) -> None:
        with request.reporter.step("configure"):
            raise StepError(
                "it says hunter2",
                where=Location(file="kickstarts/a.ks", line=7),
                excerpt="hunter2!",
                log=into / "logs/configure.log",
            )

    fake_engine.before_make = work
    command.hide("hunter2")
    plan = planned(make_project, tmp_path, [])
    with pytest.raises(StepError):
        build(plan)
    folder = plan.folder.parent / "failed"
    record = build_record.load(folder)
    assert record
    assert record.error
    assert record.error.where == "kickstarts/a.ks:7"
    assert record.error.log == "configure.log"
    assert [(each.step, each.outcome) for each in record.spans] == [("configure", "failed")]
    assert "hunter2" not in (folder / build_record.RECORD).read_text()


def test_its_own_times() -> None:
    step = Step(name="a", id="0" * 32, inputs=(), text="do it", reused=False, reason="new")
    recorder = Recorder("0" * 16, "r", [step], lambda event: None)
    # One of which no start was seen began as long ago as it says that it took.
    recorder(Event(kind="finished", subject="r", step="a", seconds=99.0))
    (span,) = recorder.record().spans
    assert span.started == 0
    for n in range(3000):
        recorder(Event(kind="reused", subject="r", step=f"s{n}", text="x" * 5000))
        recorder(Event(kind="note", subject="r", step=f"s{n}", text="x" * 5000))
    record = recorder.record()
    assert len(record.spans) == len(record.notes) == 1000
    assert max(len(each.text) for each in record.spans) == 500


def test_one_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert build_record.load(tmp_path) is None
    (tmp_path / build_record.RECORD).write_text('{"format": 2}')
    assert build_record.load(tmp_path) is None
