"""Where images are made: who says so, and what a machine does that makes one for another."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import executors, names
from imagebuilder.build import take
from imagebuilder.cli.main import main
from imagebuilder.engines import Request
from imagebuilder.errors import HostError, InputError, Interrupted, StepError
from imagebuilder.executors import Local, base, errand, parcel
from imagebuilder.executors.dask import DaskExecutor, _quieted, _Relay
from imagebuilder.options import Options
from imagebuilder.pipeline import carry_out, plan_image
from imagebuilder.plan import Plan
from imagebuilder.progress import Cancel, Event, Reporter
from imagebuilder.project import Project
from imagebuilder.recipe import Recipe
from imagebuilder.remote import remote as remote_module

FILES = {
    "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
    "kickstarts/a.ks": "timezone UTC\n",
}


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (names.EXECUTOR, names.REMOTE_CACHE, names.REMOTE_CACHE_MODE):
        monkeypatch.delenv(name, raising=False)
    base._found.cache_clear()


class Machines:
    """Who asks for an image, and who makes it; both in this process."""

    def __init__(self, folder: Path, make_project: MakeProject, engine: FakeEngine) -> None:
        self.folder, self.make_project, self.engine = folder, make_project, engine
        self.events: list[Event] = []
        self.project = self.changed({})

    def changed(self, files: dict[str, str], folder: str = "asks") -> Project:
        said = {"imagebuilder.toml": f'cache = "{self.folder}/remote"\n'}
        return self.make_project({**FILES, **said, **files}, folder=folder)

    def plan(self, **options: object) -> Plan:
        remote_module._opened.cache_clear()
        cache_dir = self.folder / "asks/cache"
        made = Options.make(cache_dir=cache_dir, observer=self.events.append, **options)  # type: ignore[arg-type]
        return plan_image(self.project, "r", made)

    def run(self, plan: Plan, cancel: Cancel | None = None, **change: object) -> errand.Delivery:
        assert plan.request.remote
        order = errand.order_of(plan, plan.request.remote.source, locked=None, again=False)
        remote_module._opened.cache_clear()
        return errand.run(
            order.model_copy(update=change),
            parcel.wrap(plan.resolved),
            self.folder / "worker",
            self.events.append,
            cancel or Cancel(),
        )


@pytest.fixture
def machines(tmp_path: Path, make_project: MakeProject, fake_engine: FakeEngine) -> Machines:
    return Machines(tmp_path, make_project, fake_engine)


def test_an_image_made_elsewhere_comes_by_the_remote_cache(machines: Machines) -> None:
    plan = machines.plan()
    delivery = machines.run(plan)
    assert delivery == errand.Delivery()
    errand.received(delivery, plan)
    image = take(plan)
    assert image
    image.verify()
    assert image.path == plan.folder
    assert machines.engine.made == ["r"]
    assert {each.subject for each in machines.events} == {"r"}
    assert list((machines.folder / "worker/work").iterdir()) == []


def test_errors_travel_as_they_are_with_their_log(machines: Machines) -> None:
    def fail(request: Request, into: Path) -> None:
        log = into / "logs/configure.log"
        log.write_text("what went wrong\n")
        raise StepError("%post failed", fix="mend it", excerpt="wrong", log=log)

    machines.engine.before_make = fail
    plan = machines.plan()
    with pytest.raises(StepError) as caught:
        errand.received(machines.run(plan), plan)
    error = caught.value
    assert (error.what, error.fix, error.excerpt) == ("%post failed", "mend it", "wrong")
    assert error.log == machines.project.root / "build/r/failed/configure.log"
    assert error.log.read_text() == "what went wrong\n"
    assert take(plan) is None


def test_wrong_input_is_told_as_such(machines: Machines) -> None:
    plan = machines.plan()
    machines.changed({"kickstarts/a.ks": "no-such-command\n"})
    with pytest.raises(InputError) as caught:
        errand.received(machines.run(plan), plan)
    assert str(caught.value.where) == "kickstarts/a.ks:1"


def test_another_plan_is_refused_in_words(machines: Machines) -> None:
    plan = machines.plan()
    machines.engine.extra = {"mirror": "moved"}
    with pytest.raises(StepError, match="it would be another image: mirror is new"):
        errand.received(machines.run(plan), plan)
    assert machines.engine.made == []


def test_mirrors_are_looked_at_again_before_that_is_said(machines: Machines) -> None:
    machines.engine.extra = {"mirror": "new"}
    plan = machines.plan()
    steps = machines.engine.steps
    machines.engine.steps = lambda request: (  # type: ignore[method-assign]
        machines.engine.extra.update(mirror="new" if request.refresh else "old"),
        steps(request),
    )[1]
    assert machines.run(plan) == errand.Delivery()


def test_another_version_is_refused(machines: Machines) -> None:
    plan = machines.plan()
    with pytest.raises(HostError, match=r"was asked by 0\.0"):
        errand.received(machines.run(plan, version="0.0"), plan)


def test_a_worker_that_may_not_write_is_refused(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = machines.plan()
    monkeypatch.setenv(names.REMOTE_CACHE_MODE, "read-only")
    with pytest.raises(HostError, match="may only read the remote cache"):
        errand.received(machines.run(plan), plan)


def test_an_image_that_the_remote_cache_does_not_take_is_an_error(machines: Machines) -> None:
    plan = machines.plan()
    (machines.folder / "remote").write_text("a file in its place")
    with pytest.raises(StepError, match="has not taken it"):
        errand.received(machines.run(plan), plan)


def test_it_can_be_interrupted(machines: Machines) -> None:
    plan, cancel = machines.plan(), Cancel()
    machines.engine.before_make = lambda request, into: (
        cancel.set("enough"),
        request.reporter.cancel.check(),
    )[1]
    with pytest.raises(Interrupted, match="enough"):
        errand.received(machines.run(plan, cancel), plan)


# ----- the parcel --------------------------------------------------------------------------------


def test_a_project_is_sent_without_what_was_built_of_it(machines: Machines) -> None:
    root, out = machines.project.root, machines.folder / "out"
    for name in ("build/r/x", ".git/config", "files/deep/build/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "files/link").symlink_to("deep")
    (root / "files/tool").write_text("x")
    (root / "files/tool").chmod(0o4755)
    out.mkdir()
    parcel.unwrap(parcel.wrap(machines.project.resolve("r")), out)
    found = {str(each.relative_to(out)) for each in out.rglob("*")}
    assert {"recipes/r.toml", "imagebuilder.toml", "files/deep/build/x", "files/tool"} <= found
    assert not {"build", ".git"} & found
    assert (out / "files/link").is_symlink()
    assert (out / "files/tool").stat().st_mode & 0o777 == 0o755


def test_no_secret_is_sent(machines: Machines) -> None:
    """Neither the project's, nor those of any recipe, nor what is in the remote cache."""
    root, out = machines.project.root, machines.folder / "out"
    files = {
        "imagebuilder.toml": 'cache = "shared"\n[secrets.pw]\nfile = "keys/pw"\n',
        "recipes/other.toml": 'distro = "debian-12"\n[secrets.x]\nfile = "./keys/../x"\n',
        "recipes/wrong.toml": "no TOML",
        "keys/pw": "geheim",
        "keys/public": "x",
        "x": "geheim",
        "shared/blobs/x": "x",
    }
    project = machines.changed(files)
    out.mkdir()
    parcel.unwrap(parcel.wrap(project.resolve("r")), out)
    found = {str(each.relative_to(out)) for each in out.rglob("*") if each.is_file()}
    assert {"keys/public", "recipes/other.toml"} <= found
    assert not {"keys/pw", "x", "shared/blobs/x"} & found
    assert (root / "x").exists()


def test_a_project_that_is_too_large_is_refused(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcel, "_LIMIT", 1000)
    (machines.project.root / "large").write_bytes(b"x" * 1001)
    with pytest.raises(InputError, match="too much to be sent") as caught:
        parcel.wrap(machines.project.resolve("r"))
    assert str(caught.value.where) == "large"


def test_a_parcel_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"))
    (tmp_path / "out").mkdir()
    for data in (made.getvalue(), b"noise"):
        with pytest.raises(InputError, match="cannot be unpacked"):
            parcel.unwrap(data, tmp_path / "out")
    assert not (tmp_path / "escaped").exists()


# ----- who says which ----------------------------------------------------------------------------


class Elsewhere:
    """An executor of somebody else's."""

    def __init__(self, url: str = "") -> None:
        self.asked: list[str] = []

    def build(self, plan: Plan, *, again: bool = False) -> object:
        self.asked.append(plan.name)
        return Local().build(plan, again=again)


def test_the_caller_the_environment_and_the_project_say_which(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(base, "find", lambda url, where=None: asked.append(url))
    project = machines.changed({"imagebuilder.toml": 'executor = "dask://p:1"\n'})
    executors.of_options(project, Options.make())
    monkeypatch.setenv(names.EXECUTOR, "dask://e:1")
    executors.of_options(project, Options.make())
    executors.of_options(project, Options.make(executor="local"))
    assert asked == ["dask://p:1", "dask://e:1", "local"]


def test_others_can_add_one(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    class Entry:
        name = "farm"
        load = staticmethod(lambda: Elsewhere)

    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda group, name="farm": [Entry] if (group, name) == (base.GROUP, "farm") else [],
    )
    found = executors.find("farm://here")
    assert isinstance(found, Elsewhere)
    assert executors.find("farm://here") is found
    options = Options.make(cache_dir=machines.folder / "cache", executor="farm://here")
    carry_out(plan_image(machines.project, "r", options), options)
    assert found.asked == ["r"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("ftp://x", "is no executor"),
        ("dask", "names no scheduler"),
        ("dask://", "names no scheduler"),
        ("dask://host", "names no scheduler"),
        ("dask://host:x", "names no scheduler"),
        ("dask://host:1/path", "names no scheduler"),
    ],
)
def test_what_is_no_executor_is_refused(machines: Machines, url: str, what: str) -> None:
    project = machines.changed({"imagebuilder.toml": f'executor = "{url}"\n'})
    with pytest.raises(InputError, match=what) as caught:
        executors.of_options(project, Options.make())
    assert str(caught.value.where) == "imagebuilder.toml:1 (executor)"


def test_a_command_line_that_names_none_is_refused(
    machines: Machines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(machines.folder / "cache"))
    where = ["-C", str(machines.project.root), "build", "r", "--executor"]
    assert main([*where, "ftp://x"]) == 2
    assert "is no executor" in capsys.readouterr().err
    assert machines.engine.made == []


# ----- Dask: what needs no cluster ---------------------------------------------------------------


def dask() -> DaskExecutor:
    return DaskExecutor("dask://127.0.0.1:9")


def test_a_scheduler_that_is_not_there_is_named(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagebuilder.executors import dask as module

    monkeypatch.setattr(module, "_CONNECT", 0.3)
    with pytest.raises(StepError, match=r"127\.0\.0\.1:9 cannot be reached"):
        dask().build(machines.plan())


def test_without_a_remote_cache_nothing_can_come_back(machines: Machines) -> None:
    with pytest.raises(InputError, match="none is named"):
        dask().build(machines.plan(remote_cache=""))


@pytest.mark.parametrize(
    ("text", "options"),
    [("rootpw --plaintext geheim\n", {}), ("timezone UTC\n", {"offline": True})],
)
def test_what_cannot_be_made_elsewhere_is_made_here(
    machines: Machines, text: str, options: dict[str, bool]
) -> None:
    machines.project = machines.changed({"kickstarts/a.ks": text})
    dask().build(machines.plan(**options)).verify()
    said = [each.text for each in machines.events if each.step == "executor"]
    assert said == ([] if options else [said[0]])
    assert options or "it is made here: the image is not shared" in said[0]


def test_a_recipe_that_is_made_in_python_is_made_here(machines: Machines) -> None:
    recipe = Recipe(name="mine", distro="debian-12", kickstarts=["a.ks"])
    options = Options.make(cache_dir=machines.folder / "cache", observer=machines.events.append)
    dask().build(plan_image(machines.project, recipe, options)).verify()
    said = [each.text for each in machines.events if each.step == "executor"]
    assert "stands in no file of the project" in said[0]


def test_what_is_there_asks_no_cluster(machines: Machines) -> None:
    machines.run(machines.plan())
    image = dask().build(machines.plan())  # the remote cache has it
    assert dask().build(machines.plan()) == image


def event(kind: str, step: str = "packages", **more: object) -> dict[str, object]:
    return {"event": Event(kind=kind, subject="r", step=step, **more).to_dict()}  # type: ignore[arg-type]


def test_a_worker_that_dies_ends_its_steps() -> None:
    seen: list[Event] = []
    relay = _Relay(Reporter(subject="r", observer=seen.append))
    relay.take((0.0, {"began": "one"}))
    relay.take((0.0, event("started", "packages")))
    relay.take((0.0, event("finished", "packages")))
    relay.take((0.0, event("started", "rootfs")))
    relay.take((0.0, {"began": "two"}))
    told = [(each.kind, each.step, each.text) for each in seen if each.kind in ("failed", "note")]
    assert told == [
        ("note", "executor", "it is made by the worker one"),
        ("note", "executor", "the worker died: another one begins again"),
        ("failed", "rootfs", "the worker died"),
        ("note", "executor", "it is made by the worker two"),
    ]
    relay.take((0.0, {"ended": True}))
    relay.close()
    relay.take((0.0, event("started", "late")))
    assert seen[-1].text == "it is made by the worker two"


def test_progress_is_passed_on_now_and_then() -> None:
    seen: list[Event] = []
    take_: Callable[[Event], None] = _quieted(seen.append)
    for done in range(101):
        take_(Event(kind="progress", subject="r", step="x", done=done, total=100))
    take_(Event(kind="finished", subject="r", step="x"))
    assert [each.done for each in seen][:1] == [0]
    assert [each.kind for each in seen][-1] == "finished"
    assert seen[-2].done == 100
    assert len(seen) < 50
