from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject

import imagebuilder
from imagebuilder import cache, pipeline
from imagebuilder.errors import HostError, StepError
from imagebuilder.options import Options
from imagebuilder.progress import Cancel
from imagebuilder.recipe import Recipe
from imagebuilder.several import each

FILES = {
    "recipes/base.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
    "kickstarts/a.ks": "timezone UTC\n",
}


def test_an_image_from_python(
    make_project: MakeProject, fake_engine: FakeEngine, tmp_path: Path
) -> None:
    project = make_project(FILES)
    events: list[imagebuilder.Event] = []
    options = Options.make(cache_dir=tmp_path / "cache", observer=events.append)
    image = imagebuilder.build_image(project, "base", options)
    assert imagebuilder.build_image(project, "base", options) == image
    assert imagebuilder.plan_image(project, "base", options).up_to_date
    assert [event.kind for event in events] == ["started", "finished", "reused"]
    made = imagebuilder.build_image(project, Recipe(name="mine", extends="base"), options)
    assert made.path.parent == project.root / "build/mine"
    assert fake_engine.made == ["base", "mine"]


@pytest.mark.parametrize(("cached", "looks"), [(True, 1), (False, 0)])
def test_the_cache_is_measured_when_something_came_into_it(
    make_project: MakeProject,
    fake_engine: FakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cached: bool,
    looks: int,
) -> None:
    """What was not there when it was planned, and is there when it is made."""
    limits: list[object] = []
    nothing = cache.Pruned(removed=(), in_use=(), kept=0)
    monkeypatch.setattr(cache, "prune", lambda _, limit: limits.append(limit) or nothing)
    files = {**FILES, "imagebuilder.toml": 'cache_limit = "2 GB"\n'}
    project = make_project(files)
    options = Options.make(cache_dir=tmp_path / "cache")
    if cached:
        fake_engine.after_make = lambda request, into: fake_engine.cached.add("packages")
    imagebuilder.build_image(project, "base", options)
    imagebuilder.build_image(project, "base", options)
    assert limits == [2_000_000_000] * looks


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path))
    assert Options.make().cache_dir == tmp_path
    monkeypatch.setenv("IMAGEBUILDER_CACHE", "relative")
    assert Options.make().cache_dir.is_absolute()
    monkeypatch.delenv("IMAGEBUILDER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Options.make().cache_dir == tmp_path / "xdg/imagebuilder"
    (tmp_path / "file").touch()
    with pytest.raises(HostError):
        pipeline.plan_image(
            None,  # type: ignore[arg-type]
            "base",
            Options.make(cache_dir=tmp_path / "file/x"),
        )


def test_each_in_order_and_once() -> None:
    seen: list[str] = []
    results, failures = each(["a", "b", "a"], lambda n: seen.append(n) or n, cancel=Cancel())
    assert seen == ["a", "b"]
    assert results == {"a": "a", "b": "b"}
    assert failures == ()


def test_each_goes_on_only_when_asked() -> None:
    def work(name: str) -> str:
        if name == "a":
            raise StepError("a failed")
        return name

    results, failures = each(["a", "b"], work, cancel=Cancel())
    assert results == {}
    assert [failure.name for failure in failures] == ["a"]
    results, failures = each(["a", "b"], work, keep_going=True, cancel=Cancel())
    assert results == {"b": "b"}
    assert [str(failure.error) for failure in failures] == ["a failed"]


def test_each_works_at_several_at_a_time_but_no_more() -> None:
    both = threading.Barrier(2, timeout=20)
    running: list[str] = []
    most: list[int] = []

    def work(name: str) -> None:
        running.append(name)
        both.wait()
        most.append(len(running))
        both.wait()
        running.remove(name)

    each(["a", "b", "c", "d"], work, jobs=2, cancel=Cancel())
    assert max(most) == 2


def test_each_starts_nothing_after_the_request_to_stop() -> None:
    cancel = Cancel()
    seen: list[str] = []

    def work(name: str) -> None:
        seen.append(name)
        cancel.set()

    results, failures = each(["a", "b", "c"], work, cancel=cancel)
    assert (seen, list(results), failures) == (["a"], ["a"], ())


def test_a_fault_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        each(["a"], lambda _: 1 // 0, cancel=Cancel())


def test_the_commit_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "x")
        monkeypatch.setenv(f"{name}_EMAIL", "x@example.org")
    assert pipeline.git_commit(tmp_path) == ""
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    assert pipeline.git_commit(tmp_path) == ""
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert len(pipeline.git_commit(tmp_path)) == 40
    (tmp_path / "notes").write_text("none of the project's")
    assert len(pipeline.git_commit(tmp_path)) == 40
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/new.toml").write_text("")
    assert pipeline.git_commit(tmp_path).endswith("-dirty")
    subprocess.run([*git, "add", "recipes"], check=True)
    assert pipeline.git_commit(tmp_path).endswith("-dirty")
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    assert len(pipeline.git_commit(tmp_path)) == 40
    monkeypatch.setenv("PATH", "/nowhere")
    assert pipeline.git_commit(tmp_path) == ""


def test_every_public_name_is_there() -> None:
    for name in imagebuilder.__all__:
        assert getattr(imagebuilder, name) is not None
    assert set(dir(imagebuilder)) == set(imagebuilder.__all__)
    with pytest.raises(AttributeError):
        _ = imagebuilder.nosuch
