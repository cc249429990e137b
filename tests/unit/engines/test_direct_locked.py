"""Lock files with a real apt, and mirrors that move: signed repositories on this disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apt_repository import BASE, AptRepository, Signer
from fakes import MakeProject

from imagebuilder import lockfile
from imagebuilder.cli.main import main
from imagebuilder.engines.direct.index import open_index
from imagebuilder.engines.direct.locked import preferences, told
from imagebuilder.engines.direct.simulate import simulate
from imagebuilder.engines.direct.sources import find_sources
from imagebuilder.errors import InputError, StepError
from imagebuilder.kickstart import compose
from imagebuilder.lockfile import Change, LockFile
from imagebuilder.locks import Locking, lock_recipe, outdated
from imagebuilder.options import Options
from imagebuilder.pipeline import plan_image
from imagebuilder.plan import Plan
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

RECIPE = 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
NEEDED = ("dracut-core", "dracut-live", "dracut-network", "curl", "linux-image-amd64")
KICKSTART = "\n".join(["%packages", *NEEDED, "site-app", "%end", ""])


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    made = Signer(tmp_path_factory.mktemp("keys") / "home")
    yield made
    made.end()


class Site:
    """A mirror with a project whose recipe ``r`` wants packages of it."""

    def __init__(self, project: Project, mirror: AptRepository, cache: Path) -> None:
        self.root = project.root
        self.mirror = mirror
        self.cache = cache
        self._seen = 0

    @property
    def project(self) -> Project:
        return Project.open(self.root)

    def options(self, **more: Any) -> Options:
        """Look at the mirror again if it has moved."""
        moved, self._seen = self._seen != self.mirror.published, self.mirror.published
        return Options.make(cache_dir=self.cache, **{"refresh": moved, **more})

    def lock(self, update: tuple[str, ...] | None = None, **more: Any) -> Locking:
        return lock_recipe(self.project, "r", self.options(), update=update, **more)

    def outdated(self) -> tuple[Change, ...]:
        return outdated(self.project, "r", self.options())

    def plan(self, **more: Any) -> Plan:
        return plan_image(self.project, "r", self.options(**{"locked": True, **more}))

    def stored(self) -> LockFile:
        found = lockfile.read(self.root, "r")
        assert found
        return found

    def says(self, kickstart: str) -> None:
        (self.root / "kickstarts/a.ks").write_text(kickstart)

    def keep(self, plan: Plan) -> None:
        """Let the package layer of a plan be in the cache."""
        step = next(each for each in plan.steps if each.name == "packages")
        layer = self.cache / f"layers/uid-{os.geteuid()}/{step.id}"
        layer.mkdir(parents=True)
        facts = {"id": step.id, "epoch": 1, "package_count": 1}
        (layer / "layer.json").write_text(json.dumps(facts))


@pytest.fixture
def site(make_project: MakeProject, signer: Signer, tmp_path: Path) -> Site:
    mirror = AptRepository(tmp_path / "mirror", signer)
    for name, fields in BASE.items():
        mirror.put(name, "1", fields)
    mirror.put("site-app", "1.0", "Depends: site-lib\n")
    mirror.put("site-lib", "1:1.0-1")
    mirror.publish()
    project = make_project(
        {
            "imagebuilder.toml": f'[mirrors]\ndebian-12 = ["{mirror.line()}"]\n',
            "recipes/r.toml": RECIPE,
            "kickstarts/a.ks": KICKSTART,
        }
    )
    return Site(project, mirror, tmp_path / "cache")


def changes(found: tuple[Change, ...]) -> list[tuple[str, str, str]]:
    return [(each.name, each.old, each.new) for each in found]


def test_a_lock_file_has_what_apt_would_install(site: Site) -> None:
    made = site.lock()
    assert made.is_new
    stored = site.stored()
    assert stored == made.lock
    assert stored.versions()["site-lib"] == "1:1.0-1"
    assert set(stored.versions()) == {*BASE, "site-app", "site-lib"}
    for each in stored.packages:
        (file,) = site.mirror.root.glob(f"pool/*/{each.name}_*.deb")
        assert file.stat().st_size == each.size
        assert each.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert (each.arch, each.origin) == ("all", "Debian:bookworm")
    assert [each.date for each in stored.sources] == ["Thu, 01 Jan 2026 00:00:00 UTC"]
    # It says nothing of the mirror, and a package is one line of it.
    text = made.path.read_text()
    assert str(site.mirror.root) not in text
    assert sum('"sha256"' in line for line in text.splitlines()) == len(stored.packages)


def test_a_locked_plan_stays_as_it_is_when_the_mirror_moves(site: Site) -> None:
    site.lock()
    before, free = site.plan(), site.plan(locked=False)
    site.mirror.put("site-app", "2.0")
    site.mirror.publish()
    assert free.image_id == before.image_id
    assert site.plan().image_id == before.image_id
    assert site.plan(locked=False).image_id != free.image_id
    assert before.to_dict()["locked"]
    assert not free.to_dict()["locked"]


def test_an_image_does_not_follow_from_the_date_of_a_mirror(site: Site) -> None:
    site.lock()
    free, locked = site.plan(locked=False), site.plan()
    assert free.image_id == locked.image_id
    site.mirror.publish("Date: Fri, 02 Jan 2026 00:00:00 UTC\n")
    assert site.plan(locked=False).image_id == free.image_id


def test_the_time_that_the_environment_asks_for_makes_another_image(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.plan(locked=False)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    after = site.plan(locked=False)
    assert after.image_id != before.image_id
    (more,) = {each.label for each in after.steps[0].inputs} - {
        each.label for each in before.steps[0].inputs
    }
    assert more == "SOURCE_DATE_EPOCH"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        site.plan(locked=False)


def test_apt_is_held_to_the_lock_file(site: Site) -> None:
    made = site.lock().lock
    site.mirror.put("site-app", "2.0", "Depends: site-lib, site-new\n")
    site.mirror.put("site-new", "1")
    site.mirror.publish()
    resolved = site.project.resolve("r")
    kickstart, reporter = compose(resolved), Reporter(subject="r")
    opened = open_index(
        site.cache, find_sources(resolved, kickstart), "amd64", reporter, refresh=True
    )
    with told(preferences(made.packages, alone=True)) as file:
        held = simulate(opened, made.asked, kickstart, reporter, preferences=file)
        assert {name: each.version for name, each in held.items()} == made.versions()
        with pytest.raises(InputError, match="no package 'site-new'"):
            simulate(opened, ("site-new",), kickstart, reporter, preferences=file)
    assert "site-new" in simulate(opened, made.asked, kickstart, reporter)


def test_what_the_mirror_no_longer_has_is_named(site: Site) -> None:
    site.lock()
    site.mirror.put("site-app", "2.0")
    site.mirror.take_out("site-app", "1.0")
    site.mirror.take_out("site-lib", "1:1.0-1")
    site.mirror.publish()
    with pytest.raises(StepError) as caught:
        site.plan()
    found = [caught.value, *caught.value.also]
    assert [each.what for each in found] == [
        "the mirrors no longer have site-app 1.0; they have: 2.0",
        "the mirrors no longer have site-lib 1:1.0-1; they have: none",
    ]
    assert {str(each.where) for each in found} == {"recipes/r.lock.json"}
    assert "outdated r" in caught.value.fix


def test_what_is_built_already_needs_no_mirror(site: Site) -> None:
    site.lock()
    site.keep(site.plan())
    site.mirror.take_out("site-app", "1.0")
    site.mirror.publish()
    plan = site.plan()
    assert [each.name for each in plan.steps if each.reused] == ["packages"]
    with pytest.raises(StepError, match="no longer have site-app"):
        site.plan(again=True, refresh=True)
    # Nor any index of one: another cache has the layer, and nothing else.
    for path in (site.cache / "apt").iterdir():
        path.rename(site.cache / path.name)
    assert site.plan(refresh=False, offline=True).image_id == plan.image_id


def test_another_file_of_the_same_version_is_refused(site: Site) -> None:
    site.lock()
    site.mirror.take_out("site-lib", "1:1.0-1")
    site.mirror.put("site-lib", "1:1.0-1", "Section: other\n")
    site.mirror.publish()
    with pytest.raises(StepError, match="other files than those that are locked") as caught:
        site.plan()
    assert caught.value.what.endswith(": site-lib")
    (change,) = site.outdated()
    assert (change.name, change.why) == ("site-lib", "another file of the same version")


def test_a_lock_file_that_was_written_to_is_refused(site: Site) -> None:
    site.mirror.put("site-app", "2.0", "Depends: site-lib (= 1:2)\n")
    site.mirror.put("site-lib", "1:2")
    site.mirror.publish()
    path = site.lock().path
    path.write_text(
        path.read_text().replace('"site-lib", "version": "1:2"', '"site-lib", "version": "1:1.0-1"')
    )
    with pytest.raises(StepError, match="locked packages cannot be installed together") as caught:
        site.plan()
    assert "site-lib" in caught.value.excerpt
    assert str(caught.value.where) == "recipes/r.lock.json"


def test_a_lock_file_that_does_not_fit_is_refused(site: Site) -> None:
    site.lock()
    more = KICKSTART.replace("site-app", "site-app\nsite-lib")
    for kickstart, said in (
        (KICKSTART.replace("site-app\n", ""), "it no longer asks for site-app"),
        (KICKSTART.replace("%packages", "%packages --exclude-weakdeps"), "the options of"),
        (KICKSTART.replace("site-app", "-site-app"), "asks for -site-app; it no longer asks for"),
        (more, "the recipe now asks for site-lib"),
    ):
        site.says(kickstart)
        with pytest.raises(InputError, match="does not fit the recipe") as caught:
            site.plan()
        assert said in caught.value.what
        assert str(caught.value.where) == "recipes/r.lock.json"
        assert "imagebuilder lock r" in caught.value.fix
    site.lock()
    site.plan()


def test_a_lock_file_of_another_release_is_refused(site: Site) -> None:
    site.lock()
    text = (site.root / "recipes/r.lock.json").read_text()
    (site.root / "recipes/r.lock.json").write_text(text.replace("debian-12", "debian-13"))
    with pytest.raises(InputError, match="it is for debian-13 amd64"):
        site.plan()


def test_a_new_wish_changes_nothing_else(site: Site) -> None:
    site.lock()
    site.mirror.put("site-lib", "1:1.1")
    site.mirror.put("site-tool", "3")
    site.mirror.publish()
    assert not site.lock().changes
    site.says(KICKSTART.replace("site-app", "site-app\nsite-tool"))
    assert changes(site.lock().changes) == [("site-tool", "", "3")]
    site.says(KICKSTART)
    assert changes(site.lock().changes) == [("site-tool", "3", "")]


def test_what_the_mirror_no_longer_has_is_locked_anew(site: Site) -> None:
    site.lock()
    site.mirror.put("site-lib", "1:1.1")
    site.mirror.put("curl", "2")
    site.mirror.take_out("site-lib", "1:1.0-1")
    site.mirror.publish()
    assert changes(site.lock().changes) == [("site-lib", "1:1.0-1", "1:1.1")]


def test_update_takes_all_or_what_is_named(site: Site) -> None:
    site.lock()
    for name, version in (("site-lib", "1:1.1"), ("curl", "2"), ("apt", "2")):
        site.mirror.put(name, version)
    site.mirror.publish()
    would = site.lock((), dry_run=True)
    assert changes(would.changes) == [
        ("apt", "1", "2"),
        ("curl", "1", "2"),
        ("site-lib", "1:1.0-1", "1:1.1"),
    ]
    assert would.changes == site.outdated()
    assert site.stored().versions()["curl"] == "1"
    assert changes(site.lock(("curl",)).changes) == [("curl", "1", "2")]
    assert changes(site.lock(()).changes) == [("apt", "1", "2"), ("site-lib", "1:1.0-1", "1:1.1")]
    assert not site.outdated()
    with pytest.raises(InputError, match="not in the lock file of 'r': nosuch"):
        site.lock(("curl", "nosuch"))


def test_an_update_that_needs_another_says_so(site: Site) -> None:
    site.lock()
    site.mirror.put("site-app", "2.0", "Depends: site-lib (>= 1:2)\n")
    site.mirror.put("site-lib", "1:2")
    site.mirror.publish()
    with pytest.raises(InputError, match="cannot be installed together") as caught:
        site.lock(("site-app",))
    assert "site-lib" in caught.value.excerpt
    assert "after --update" in caught.value.fix
    assert len(site.lock(("site-app", "site-lib")).changes) == 2


def test_security_updates_are_told_from_others(site: Site) -> None:
    site.lock()
    settings = site.root / "imagebuilder.toml"
    more = [site.mirror.line(), site.mirror.line("bookworm-security")]
    settings.write_text(f"[mirrors]\ndebian-12 = {json.dumps(more)}\n")
    site.mirror.put("site-lib", "1:1.0-1+deb12u1", suite="bookworm-security")
    site.mirror.put("site-lib", "1:1.1")  # later than the fix, which is in it
    site.mirror.put("site-app", "1.1", "Depends: site-lib\n")
    site.mirror.put("curl", "1+deb12u1", suite="bookworm-security")
    site.mirror.publish()
    assert {each.name: each.security for each in site.outdated()} == {
        "curl": True,
        "site-app": False,
        "site-lib": True,
    }


def test_a_file_that_would_say_the_same_stays(site: Site) -> None:
    path = site.lock().path
    before = path.stat()
    site.mirror.publish("Date: Fri, 02 Jan 2026 00:00:00 UTC\n")
    assert not site.lock(()).is_other
    after = path.stat()  # it was read, which may have changed its time of access
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_is_no_lock_file_is_refused_and_can_be_made_again(site: Site) -> None:
    for text in ("", "{", '{"format": 2}', '{"recipe": "r"}', "[]"):
        (site.root / "recipes/r.lock.json").write_text(text)
        for act in (site.plan, site.lock, site.outdated):
            with pytest.raises(InputError, match="no lock file") as caught:
                act()
            assert "--update" in caught.value.fix
    site.lock(())
    site.plan()


def test_a_locked_recipe_without_a_lock_file(site: Site) -> None:
    for act in (site.plan, site.outdated):
        with pytest.raises(InputError, match="'r' has no lock file") as caught:
            act()
        assert caught.value.fix == "run: imagebuilder lock r"
    (site.root / "recipes/r.toml").write_text(f"locked = true\n{RECIPE}")
    with pytest.raises(InputError, match="no lock file"):
        site.plan(locked=None)
    site.plan(locked=False)


@pytest.mark.parametrize(
    ("project", "recipe", "locked"),
    [
        ("", "", False),
        ("locked = true\n", "", True),
        ("locked = true\n", "locked = false\n", False),
        ("", "locked = true\n", True),
    ],
)
def test_the_recipe_says_before_the_project_whether_it_is_locked(
    make_project: MakeProject, project: str, recipe: str, locked: bool
) -> None:
    made = make_project({"imagebuilder.toml": project, "recipes/r.toml": recipe + RECIPE})
    assert made.resolve("r").is_locked == locked


# ----- mirrors of a moment ------------------------------------------------------------------------

OLD = "20251101T000000Z"


@pytest.fixture
def moments(site: Site) -> Site:
    """The mirror as it was at a moment, out of date for long, beside what it is now."""
    head = "Date: Sat, 01 Nov 2025 00:00:00 UTC\nValid-Until: Sat, 08 Nov 2025 00:00:00 UTC\n"
    site.mirror.publish(head)
    site.mirror.root.rename(site.mirror.root.with_name(OLD))
    site.mirror.put("site-app", "2.0")
    site.mirror.publish()
    template = site.mirror.line(root=str(site.mirror.root.with_name("{snapshot}")))
    lines = json.dumps([site.mirror.line(), template])
    (site.root / "imagebuilder.toml").write_text(f"[mirrors]\ndebian-12 = {lines}\n")
    return site


def test_packages_of_a_moment(moments: Site) -> None:
    now = moments.lock(dry_run=True).lock
    assert now.versions()["site-app"] == "2.0"
    (moments.root / "recipes/r.toml").write_text(f'snapshot = "{OLD}"\n{RECIPE}')
    then = moments.lock().lock
    assert then.versions()["site-app"] == "1.0"
    # What is locked at a moment is not on the mirror of today, and is there at that moment.
    moments.plan()
    (moments.root / "recipes/r.toml").write_text(RECIPE)
    moments.mirror.take_out("site-app", "1.0")
    moments.mirror.publish()
    with pytest.raises(StepError, match="no longer have") as caught:
        moments.plan()
    assert "snapshot" in caught.value.fix


def test_the_recipe_names_the_moment_before_the_project(moments: Site) -> None:
    settings = moments.root / "imagebuilder.toml"
    settings.write_text(f'snapshot = "{OLD}"\n{settings.read_text()}')
    assert moments.lock().lock.versions()["site-app"] == "1.0"
    (moments.root / "recipes/r.toml").write_text(f'snapshot = ""\n{RECIPE}')
    assert moments.lock(()).lock.versions()["site-app"] == "2.0"


def test_a_moment_that_has_no_effect_is_refused(moments: Site) -> None:
    recipe, settings = moments.root / "recipes/r.toml", moments.root / "imagebuilder.toml"
    recipe.write_text(f'{RECIPE}snapshot = "{OLD}"\n')
    moments.says(f'url --url="{moments.mirror.line()}"\n{KICKSTART}')
    with pytest.raises(InputError, match="would have no effect") as caught:
        moments.lock()
    assert str(caught.value.where) == "kickstarts/a.ks:1"
    moments.says(KICKSTART)
    settings.write_text(f'[mirrors]\ndebian-12 = ["{moments.mirror.line()}"]\n')
    with pytest.raises(InputError, match="no mirror of debian-12 has snapshots") as caught:
        moments.lock()
    assert str(caught.value.where) == "recipes/r.toml:3 (snapshot)"
    recipe.write_text(f'{RECIPE}snapshot = "yesterday"\n')
    with pytest.raises(InputError, match="snapshot"):
        moments.lock()


# ----- the command --------------------------------------------------------------------------------


@pytest.fixture
def cli(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(site.cache))

    def run(*argv: str) -> tuple[int, str, str]:
        status = main(["-C", str(site.root), *argv])
        return (status, *capsys.readouterr())

    return run


def test_the_verbs(site: Site, cli: Callable[..., tuple[int, str, str]]) -> None:
    assert cli("lock", "-q", "r")[0] == 1
    assert cli("lock", "-n", "r")[:2] == (
        0,
        "r: the lock of 9 packages would be in recipes/r.lock.json\n",
    )
    assert not (site.root / "recipes/r.lock.json").exists()
    assert cli("lock", "r")[1] == "r: the lock of 9 packages is in recipes/r.lock.json\n"
    assert cli("lock", "-q", "r")[:2] == (0, "")
    assert cli("outdated", "r")[:2] == (0, "r: nothing would change\n")

    site.mirror.put("curl", "2")
    site.mirror.publish()
    # A repository of this host is looked at each time, others once a day.
    assert cli("outdated", "--offline", "r")[0] == 0
    status, out, _ = cli("outdated", "--all")
    assert (status, out) == (1, "r: 1 package would change\n  curl  1  →  2\n")
    assert cli("outdated", "-q", "r")[:2] == (1, "")
    assert cli("outdated", "--security", "r")[:2] == (0, "r: nothing would change\n")
    row = {"package": "curl", "old": "1", "new": "2", "why": "", "security": False}
    assert json.loads(cli("outdated", "--json", "r")[1]) == {
        "outdated": {"recipe": "r", "changes": [row]}
    }
    (made,) = [
        json.loads(line)["lock"]
        for line in cli("lock", "--json", "r", "--update", "curl")[1].splitlines()
        if line.startswith('{"lock"')
    ]
    assert made["changes"] == [row]
    assert made["written"]
    status, _, err = cli("lock", "--update", "r")
    assert status == 2
    assert "no recipe is named" in err


def test_plans_of_both_manners_are_remembered_apart(
    site: Site, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def image(*options: str) -> str:
        status, out, err = cli("plan", "r", *options)
        assert status == 0, err
        return out.partition("image ")[2].partition(",")[0]

    cli("lock", "r")
    locked = image("--locked")
    site.mirror.put("curl", "2")
    site.mirror.publish()
    free = image("--refresh")
    assert free != locked
    assert (image(), image("--locked"), image("--unlocked")) == (free, locked, free)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert image() not in (free, locked)
