"""Images come from the remote cache and go there, and what is private stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import build_record, names, sharing
from imagebuilder.build import build
from imagebuilder.cli.main import main
from imagebuilder.errors import InputError
from imagebuilder.image import FACTS, Image
from imagebuilder.options import Options
from imagebuilder.pipeline import build_image, plan_image
from imagebuilder.plan import Plan, make_plan
from imagebuilder.progress import Event, Reporter
from imagebuilder.project import Project
from imagebuilder.remote import Remote, opened
from imagebuilder.remote import remote as remote_module

FILES = {
    "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\nsummary = "x"\n',
    "kickstarts/a.ks": "timezone UTC\n",
}


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of this machine, or of another test's remote cache, be used."""
    monkeypatch.delenv(names.REMOTE_CACHE, raising=False)
    monkeypatch.delenv(names.REMOTE_CACHE_MODE, raising=False)
    remote_module._opened.cache_clear()


class Machines:
    """Several machines, each with a project and a cache of its own, and one remote cache."""

    def __init__(self, folder: Path, make_project: MakeProject, engine: FakeEngine) -> None:
        self.folder = folder
        self.make_project = make_project
        self.engine = engine
        self.events: list[Event] = []

    def project(self, name: str, files: dict[str, str] | None = None) -> Project:
        return self.make_project({**FILES, **(files or {})}, folder=name)

    def remote(self) -> Remote:
        """A process's own."""
        remote_module._opened.cache_clear()
        return opened(str(self.folder / "remote"), "read-write")

    def plan(self, project: Project, remote: Remote | None = None, **options: bool) -> Plan:
        return make_plan(
            project,
            "r",
            cache_dir=project.root / "cache",
            reporter=Reporter(subject="r", observer=self.events.append),
            remote=remote or self.remote(),
            **options,
        )

    def build(self, project: Project) -> Image:
        return build(self.plan(project))

    def notes(self) -> list[str]:
        return [each.text for each in self.events if each.kind == "note"]

    def blobs(self) -> list[Path]:
        found = (self.folder / "remote").glob("blobs/image/*/*")
        return sorted(found, key=lambda path: path.stat().st_size)


@pytest.fixture
def machines(tmp_path: Path, make_project: MakeProject, fake_engine: FakeEngine) -> Machines:
    return Machines(tmp_path, make_project, fake_engine)


def test_another_machine_takes_the_image(machines: Machines) -> None:
    first = machines.build(machines.project("a"))
    plan = machines.plan(machines.project("b"))
    assert [(each.reused, each.remote) for each in plan.steps] == [(True, True)] * 3
    assert plan.steps[0].reason == "its result is taken from the remote cache"
    assert not plan.up_to_date
    assert plan.outlook().is_remote
    second = build(plan)
    assert machines.engine.made == ["r"]
    assert second.facts == first.facts
    second.verify()
    assert second.path.parent.parent.parent.name == "b"
    assert (second.path.parent / "latest").resolve() == second.path
    record = build_record.of_image(second)
    assert record
    assert "taken from the remote cache" in record.reasons[0].reason
    assert [each.text for each in record.spans] == ["fetching the image from the remote cache"]
    assert machines.notes() == []
    assert machines.plan(machines.project("b")).up_to_date


def test_an_image_whose_root_is_an_erofs_is_shared_as_well(machines: Machines) -> None:
    recipe = FILES["recipes/r.toml"] + '[image]\nfilesystem = "erofs"\ncompression = "lz4"\n'
    first = machines.build(machines.project("a", {"recipes/r.toml": recipe}))
    second = machines.build(machines.project("b", {"recipes/r.toml": recipe}))
    assert machines.engine.made == ["r"]
    assert second.facts == first.facts
    assert second.rootfs.read_bytes() == first.rootfs.read_bytes()


def test_a_changed_recipe_is_made(machines: Machines) -> None:
    machines.build(machines.project("a"))
    changed = machines.project("b", {"kickstarts/a.ks": "timezone Etc/UTC\n"})
    machines.build(changed)
    assert machines.engine.made == ["r", "r"]
    # And goes to the others.
    machines.build(machines.project("c", {"kickstarts/a.ks": "timezone Etc/UTC\n"}))
    assert machines.engine.made == ["r", "r"]


def test_made_again_is_made_here(machines: Machines) -> None:
    machines.build(machines.project("a"))
    project = machines.project("b")
    plan = machines.plan(project, again=True)
    assert not any(each.remote for each in plan.steps)
    build(plan, again=True)
    assert machines.engine.made == ["r", "r"]


def lie_facts(machines: Machines) -> None:
    """Let the manifest be right, and the facts those of another image."""
    manifest = next((machines.folder / "remote/entries/image").iterdir())
    data = json.loads(manifest.read_text())
    item = next(each for each in data["items"] if each["name"] == FACTS)
    blob = machines.folder / f"remote/blobs/image/{manifest.stem}/{item['sha256']}"
    facts = json.loads(blob.read_text())
    facts["steps"][0]["id"] = "0" * 32
    text = json.dumps(facts).encode()
    import hashlib

    item["sha256"], item["size"] = hashlib.sha256(text).hexdigest(), len(text)
    blob.with_name(item["sha256"]).write_bytes(text)
    manifest.write_text(json.dumps(data))


def lie_bytes(machines: Machines) -> None:
    path = machines.blobs()[-1]
    path.write_bytes(b"!" + path.read_bytes()[1:])


def lie_missing(machines: Machines) -> None:
    machines.blobs()[0].unlink()


def lie_files(machines: Machines) -> None:
    manifest = next((machines.folder / "remote/entries/image").iterdir())
    data = json.loads(manifest.read_text())
    data["items"] = data["items"][1:]
    manifest.write_text(json.dumps(data))


@pytest.mark.parametrize("lie", [lie_facts, lie_bytes, lie_missing, lie_files])
def test_lies_are_said_built_again_and_mended(machines: Machines, lie: object) -> None:
    assert callable(lie)
    machines.build(machines.project("a"))
    lie(machines)
    project = machines.project("b")
    machines.build(project).verify()
    assert machines.engine.made == ["r", "r"]
    assert len(machines.notes()) == 1
    assert "is not used, and made here" in machines.notes()[0]
    assert [each.name for each in (project.root / "build/r").glob(".new-*")] == []
    machines.build(machines.project("c")).verify()
    assert machines.engine.made == ["r", "r"]
    assert len(machines.notes()) == 1


PRIVATE = {
    "a secret": (
        {"kickstarts/a.ks": 'user --name=x --password={{ secret("pw") }}\n'},
        "it has the values of secrets",
    ),
    "a password": ({"kickstarts/a.ks": "rootpw --plaintext geheim\n"}, "the kickstart has a"),
    "the hash of one": ({"kickstarts/a.ks": "rootpw --iscrypted $6$x$y\n"}, "the hash of one"),
    "a debconf password": (
        {
            "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
            'preseed = ["x x/pw password geheim"]\n'
        },
        "the recipe's preseed has a password",
    ),
}


@pytest.mark.parametrize("kind", PRIVATE)
def test_what_is_private_is_not_shared(
    machines: Machines, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_SECRET_PW", "geheimnis")
    files, why = PRIVATE[kind]
    steps = machines.engine.steps

    def asked(request: object) -> object:
        request.vault.value("pw") if kind == "a secret" else None  # type: ignore[attr-defined]
        return steps(request)  # type: ignore[arg-type]

    monkeypatch.setattr(machines.engine, "steps", asked)
    plan = machines.plan(machines.project("a", files))
    assert any(why in note for note in plan.outlook().notes)
    assert any(why in note for note in plan.to_dict()["notes"])
    image = build(plan)
    assert not any(why in note for note in image.facts.notes)
    assert not (machines.folder / "remote").exists()


def test_a_locked_root_is_no_secret(machines: Machines) -> None:
    machines.build(machines.project("a", {"kickstarts/a.ks": "rootpw --lock\n"}))
    assert machines.blobs()


def test_a_remote_cache_that_cannot_be_written_does_not_fail_the_build(
    machines: Machines,
) -> None:
    (machines.folder / "remote").write_text("a file in its place")
    machines.build(machines.project("a")).verify()
    assert len(machines.notes()) == 1


# ----- who says which ----------------------------------------------------------------------------


def remote_url(project: Project, **options: object) -> str | None:
    found = sharing.remote_of(project, Options.make(**options))  # type: ignore[arg-type]
    return found.url if found else None


def test_the_project_the_environment_and_the_caller_say_which(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = machines.project("a", {"imagebuilder.toml": 'cache = "shared/cache"\n'})
    assert remote_url(machines.project("b")) is None
    assert remote_url(project) == (project.root / "shared/cache").as_uri()
    assert remote_url(project, offline=True) is None
    assert remote_url(project, remote_cache="") is None
    assert remote_url(project, remote_cache="file:///z") == "file:///z"
    monkeypatch.setenv(names.REMOTE_CACHE, "file:///y")
    assert remote_url(project) == "file:///y"
    monkeypatch.setenv(names.REMOTE_CACHE, "off")
    assert remote_url(project) is None


def test_the_mode_is_said_in_the_project_or_the_environment(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'cache = "x"\ncache_mode = "read-only"\n'
    project = machines.project("a", {"imagebuilder.toml": text})
    found = sharing.remote_of(project, Options.make())
    assert found
    assert not found.writes
    monkeypatch.setenv(names.REMOTE_CACHE_MODE, "read-write")
    found = sharing.remote_of(project, Options.make())
    assert found
    assert found.writes
    monkeypatch.setenv(names.REMOTE_CACHE_MODE, "write-only")
    with pytest.raises(InputError, match="write-only"):
        sharing.remote_of(project, Options.make())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('cache = "ftp://x/y"', "cannot be on ftp"),
        ('cache = "file:///x"\ncatalog = "file:///x"', "cannot be in one place"),
    ],
)
def test_a_wrong_place_is_refused_with_its_line(machines: Machines, text: str, what: str) -> None:
    project = machines.project("a", {"imagebuilder.toml": f"{text}\n"})
    with pytest.raises(InputError, match=what) as caught:
        plan_image(project, "r", Options.make(cache_dir=project.root / "cache"))
    assert str(caught.value.where) == "imagebuilder.toml:1 (cache)"


def test_the_pipeline_uses_it(machines: Machines) -> None:
    text = {"imagebuilder.toml": f'cache = "{machines.folder}/remote"\n'}
    for name in ("a", "b"):
        project = machines.project(name, text)
        build_image(project, "r", Options.make(cache_dir=project.root / "cache"))
    assert machines.engine.made == ["r"]


# ----- the command ------------------------------------------------------------------------------


def test_the_command_says_where_it_comes_from(
    machines: Machines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = {"imagebuilder.toml": f'cache = "{machines.folder}/remote"\n'}
    for name, todo in (("a", "to be built"), ("b", "to be taken from the remote cache")):
        project = machines.project(name, text)
        monkeypatch.setenv("IMAGEBUILDER_CACHE", str(project.root / "cache"))
        assert main(["-C", str(project.root), "build", "-n", "r"]) == 0
        assert f"r: image {machines.plan(project).image_id}, {todo}" in capsys.readouterr().out
        assert main(["-C", str(project.root), "build", "-q", "r"]) == 1
        assert main(["-C", str(project.root), "build", "r"]) == 0
        assert main(["-C", str(project.root), "build", "-q", "r"]) == 0
    assert machines.engine.made == ["r"]


def test_the_command_lists_and_prunes(
    machines: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    text = {"imagebuilder.toml": f'cache = "{machines.folder}/remote"\n'}
    project = machines.project("a", text)
    image = machines.build(project)
    where = ["-C", str(project.root)]
    assert main([*where, "cache", "ls", "--remote"]) == 0
    out = capsys.readouterr().out
    assert image.id in out
    assert "of r" in out
    assert main([*where, "cache", "ls", "--remote", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out.splitlines()[0])["entry"]
    assert (entry["kind"], entry["recipe"]) == ("image", "r")
    assert main([*where, "cache", "prune", "--remote"]) == 2
    assert "--unused-for" in capsys.readouterr().err
    assert main([*where, "cache", "prune", "--remote", "--all", "-n"]) == 0
    assert machines.blobs()
    assert main([*where, "cache", "prune", "--remote", "--all"]) == 0
    assert not machines.blobs()
    assert main(["-C", str(machines.project("b").root), "cache", "ls", "--remote"]) == 2
    assert "no remote cache is named" in capsys.readouterr().err
