"""``plan`` and ``build`` as they are typed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clikit import Cli, listing
from fakes import FakeEngine, MakeProject

from imagebuilder import pipeline
from imagebuilder.engines import Request
from imagebuilder.errors import CatalogError, HostError, ImageBuilderError, Interrupted, StepError
from imagebuilder.image import Image


def test_plan(cli: Cli) -> None:
    assert cli("plan", "base") == 0
    assert "to be built" in cli.out
    assert "because it was never made here" in cli.out
    assert "note   a note of the engine" in cli.out
    assert cli("plan", "--all", "--json") == 0
    plans = cli.data("plan")
    assert [each["recipe"] for each in plans] == ["base", "leaf"]
    made = pipeline.plan_image(cli.project, "base")
    assert plans[0] == json.loads(json.dumps(made.to_dict()))


def test_build_and_build_again(cli: Cli, fake_engine: FakeEngine) -> None:
    assert cli("build", "base", "base") == 0
    image = Image.open(cli.project.root / "build/base/latest")
    assert f"base: image {image.id} is in" in cli.out
    assert "note: a note of the build" in cli.out
    assert cli("build", "base") == 0
    assert fake_engine.made == ["base"]
    assert cli("build", "-B", "base", "--json") == 0
    assert fake_engine.made == ["base", "base"]
    (built,) = cli.data("image")
    assert built["id"] == image.id
    assert {"started", "finished"} <= {each["kind"] for each in cli.data("event")}


@pytest.mark.parametrize("verb", ["build", "test"])
def test_a_dry_run_changes_nothing(cli: Cli, fake_engine: FakeEngine, verb: str) -> None:
    before = listing(cli.project.root)
    assert cli(verb, "-n", "--all") == 0
    assert cli.out.count("to be built") == 2
    assert "because" in cli.out
    assert cli(verb, "-n", "-B", "base") == 0
    assert listing(cli.project.root) == before
    assert fake_engine.made == []


def test_a_dry_run_of_publish_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    before = listing(cli.project.root)
    url = (tmp_path / "catalog").as_uri()
    assert cli("publish", "-n", "base", "--catalog", url) == 0
    assert listing(cli.project.root) == before
    assert not (tmp_path / "catalog").exists()


def test_the_question(cli: Cli, make_project: MakeProject) -> None:
    before = listing(cli.project.root)
    assert cli("build", "-q", "base") == 1
    assert (cli.out, cli.err) == ("", "")
    assert listing(cli.project.root) == before
    assert cli("build", "base") == 0
    assert cli("build", "-q", "base") == 0
    assert cli("plan", "-q", "base") == 0
    assert cli("build", "-q", "--all") == 1
    assert cli("test", "-q", "base") == 1
    make_project({"kickstarts/a.ks": "timezone Etc/UTC\n"})
    assert cli("build", "-q", "base") == 1
    make_project({"kickstarts/a.ks": "nosuch\n"})
    assert cli("build", "-q", "base") == 2


def test_why_before_the_work(cli: Cli) -> None:
    assert cli("build", "--why", "base") == 0
    assert "because it was never made here" in cli.out
    assert "is in" in cli.out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StepError("a", fix="b", excerpt="c", log=Path("/d")), 1),
        (CatalogError("a"), 4),
        (HostError("a"), 5),
    ],
)
def test_a_failure_is_the_error_of_the_library(
    cli: Cli, fake_engine: FakeEngine, error: ImageBuilderError, status: int
) -> None:
    def fail(request: Request, into: Path) -> None:
        raise error

    fake_engine.before_make = fail
    assert cli("build", "base", "--json") == status
    assert cli.data("error") == [error.to_dict() | {"recipe": "base"}]
    assert cli("build", "base") == status
    assert f"error: {error}" in cli.err


def fails_for(*names: str) -> Callable[[Request, Path], None]:
    def fail(request: Request, into: Path) -> None:
        if request.resolved.name in names:
            raise StepError(f"{request.resolved.name} failed")

    return fail


def test_after_a_failure(cli: Cli, fake_engine: FakeEngine) -> None:
    fake_engine.before_make = fails_for("base")
    assert cli("build", "base", "leaf") == 1
    assert fake_engine.made == ["base"]
    assert cli("build", "-k", "base", "leaf") == 1
    assert fake_engine.made == ["base", "base", "leaf"]
    fake_engine.before_make = fails_for("base", "leaf")
    assert cli("build", "-k", "-B", "-j", "2", "base", "leaf") == 1
    assert "base failed" in cli.err
    assert "leaf failed" in cli.err


def test_what_became_of_several(cli: Cli, fake_engine: FakeEngine) -> None:
    def noted(request: Request, into: Path) -> None:
        request.reporter.note("packages", "looked at")
        fails_for("base")(request, into)

    fake_engine.before_make = noted
    assert cli("build", "base", "leaf") == 1
    assert cli.out == "failed: base\nnot done: leaf\n"
    assert cli("build", "-j2", "-k", "base", "leaf", "--json") == 1
    assert cli.data("summary") == [{"done": ["leaf"], "failed": ["base"], "not_done": []}]
    assert {each["subject"] for each in cli.data("event")} == {"base", "leaf"}
    assert [each["recipe"] for each in cli.data("error")] == ["base"]
    fake_engine.before_make = fails_for()
    assert cli("build", "base", "leaf") == 0
    assert "failed" not in cli.out
    assert cli("build", "base", "--json") == 0
    assert cli.data("summary") == []


def test_a_signal_stops_all_that_run(cli: Cli, fake_engine: FakeEngine) -> None:
    both = threading.Barrier(2, action=lambda: os.kill(os.getpid(), signal.SIGINT))

    def interrupted(request: Request, into: Path) -> None:
        both.wait(20)
        while not request.reporter.cancel.is_set:
            time.sleep(0.01)
        request.reporter.cancel.check()

    fake_engine.before_make = interrupted
    assert cli("build", "-j2", "-k", "base", "leaf", "--json") == Interrupted.exit_status
    assert sorted(fake_engine.made) == ["base", "leaf"]
    assert cli.data("summary") == [{"done": [], "failed": [], "not_done": ["base", "leaf"]}]
    assert not list((cli.project.root / "build").glob("*/.new-*"))


def test_the_first_signal_stops_in_good_order(cli: Cli, fake_engine: FakeEngine) -> None:
    def interrupted(request: Request, into: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not request.reporter.cancel.is_set:
            pass
        request.reporter.cancel.check()

    fake_engine.before_make = interrupted
    assert cli("build", "base", "leaf") == Interrupted.exit_status == 130
    assert "stopped by SIGTERM" in cli.err
    assert fake_engine.made == ["base"]
    assert not (cli.project.root / "build/base/latest").exists()


def test_a_cache_that_cannot_be_made(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "file/cache"))
    assert cli("build", "base") == 5
    assert "IMAGEBUILDER_CACHE" in cli.err
