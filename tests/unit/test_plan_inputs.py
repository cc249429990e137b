"""What stands outside of recipe and fragments: which steps follow from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import FakePrograms, MakeProject, fake_apt

from imagebuilder.engines.base import Input
from imagebuilder.engines.direct import index, inputs
from imagebuilder.plan import Plan, make_plan
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

MIRROR = "deb [signed-by=site.asc] http://mirror.example/debian bookworm main"
CONFIGURE = ("configure", "initrd", "rootfs", "image")
ALL = ("packages", *CONFIGURE)
OWN_TARGET = [{"Repo-URI": "http://own.example/x/", "Release": "bookworm", "Site": "own.example"}]
FILES = {
    "imagebuilder.toml": f'[mirrors]\ndebian-12 = ["{MIRROR}"]\n',
    "site.asc": "-----BEGIN PGP PUBLIC KEY BLOCK-----\none\n",
    "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
    'preseed = ["tzdata tzdata/Areas select Etc"]\n'
    '[[files]]\nsource = "etc/motd"\npath = "/etc/motd"\n'
    '[[files]]\nsource = "tree"\npath = "/srv/tree"\n',
    "kickstarts/a.ks": "%include sub/b.ks\n%packages\ncurl\n%end\n"
    "%post\necho '{{ secret(\"word\") }}'\n%end\n",
    "kickstarts/sub/b.ks": "%include c.ks\n",
    "kickstarts/sub/c.ks": "%post\ntrue\n%end\n",
    "etc/motd": "hello\n",
    "tree/a/b/c": "deep\n",
    "beside": "nothing copies this\n",
}


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def project(
    make_project: MakeProject,
    fake_programs: FakePrograms,
    monkeypatch: pytest.MonkeyPatch,
    umask: None,
) -> Project:
    fake_apt(fake_programs)
    monkeypatch.setenv("IMAGEBUILDER_SECRET_WORD", "geheim")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return make_project(FILES)


def planned(project: Project) -> Plan:
    cache = project.root.parent / "cache"
    return make_plan(project, "r", cache_dir=cache, reporter=Reporter(subject="r"))


def link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def changed(before: Plan, after: Plan) -> tuple[str, ...]:
    pairs = zip(before.steps, after.steps, strict=True)
    return tuple(was.name for was, now in pairs if was.id != now.id)


def replaced(name: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[name]
    return {name: FILES[name].replace(old, new)}


FILE_CHANGES = {
    "a file that is copied": (replaced("etc/motd", "hello", "hullo"), CONFIGURE),
    "its mode": (
        replaced("recipes/r.toml", 'path = "/etc', 'mode = "600"\npath = "/etc'),
        CONFIGURE,
    ),
    "its owner": (
        replaced("recipes/r.toml", 'path = "/etc', 'owner = "daemon"\npath = "/etc'),
        CONFIGURE,
    ),
    "a file in a nested folder": (replaced("tree/a/b/c", "deep", "deed"), CONFIGURE),
    "one more file there": ({"tree/a/b/d": ""}, CONFIGURE),
    "a file that nothing copies": (replaced("beside", "nothing", "nobody"), ()),
    "its place": (replaced("recipes/r.toml", 'path = "/etc', 'path = "/srv'), CONFIGURE),
    "what the key of a mirror holds": (replaced("site.asc", "one", "two"), ALL),
    "a script that is included twice over": (
        replaced("kickstarts/sub/c.ks", "true", "false"),
        CONFIGURE,
    ),
    "an answer for debconf": (replaced("recipes/r.toml", "Etc", "Europe"), ALL),
    "documentation": (replaced("kickstarts/a.ks", "%packages", "%packages --excludedocs"), ALL),
    "languages": (replaced("kickstarts/a.ks", "%packages", "%packages --inst-langs=de"), ALL),
    "recommended packages": (
        replaced("kickstarts/a.ks", "%packages", "%packages --exclude-weakdeps"),
        (),
    ),
    "a script before": (
        {"kickstarts/a.ks": FILES["kickstarts/a.ks"] + "%pre\ntrue\n%end\n"},
        CONFIGURE,
    ),
    "a script after a failure": (
        {"kickstarts/a.ks": FILES["kickstarts/a.ks"] + "%onerror\ntrue\n%end\n"},
        (),
    ),
}


@pytest.mark.parametrize(("files", "steps"), FILE_CHANGES.values(), ids=FILE_CHANGES.keys())
def test_files_of_the_project(
    project: Project, make_project: MakeProject, files: dict[str, str], steps: tuple[str, ...]
) -> None:
    before = planned(project)
    assert changed(before, planned(make_project({**FILES, **files}, folder="other"))) == steps


@pytest.mark.parametrize(
    ("name", "value", "steps"),
    [
        ("SOURCE_DATE_EPOCH", "1700000000", ALL),
        ("IMAGEBUILDER_SECRET_WORD", "anderes", CONFIGURE),
        ("TZ", "Asia/Tokyo", ()),
        ("LANG", "de_DE.UTF-8", ()),
        ("LC_ALL", "C", ()),
        ("HOME", "/nowhere", ()),
        ("USER", "somebody", ()),
        ("TMPDIR", "/var/tmp", ()),
        ("http_proxy", "http://proxy.example:3128", ()),
        ("https_proxy", "http://me:geheim@proxy.example:3128", ()),
    ],
)
def test_the_environment(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    steps: tuple[str, ...],
) -> None:
    before = planned(project)
    monkeypatch.setenv(name, value)
    assert changed(before, planned(project)) == steps


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (lambda path: path.chmod(0o644), lambda path: path.chmod(0o755)),
        (lambda path: link(path, "a"), lambda path: link(path, "a/b")),
        (lambda path: link(path, "a/b/c"), lambda path: path.write_text("deep\n")),
    ],
    ids=["who may run it", "where a link leads to", "a link that becomes what it led to"],
)
def test_what_stands_in_a_folder_that_is_copied(
    project: Project, first: Callable[[Path], object], then: Callable[[Path], object]
) -> None:
    path = project.root / "tree/x"
    path.touch()
    first(path)
    before = planned(project)
    assert changed(before, planned(project)) == ()
    if path.is_symlink():
        path.unlink()
        path.touch()
    then(path)
    assert changed(before, planned(project)) == CONFIGURE


def test_what_is_taken_of_a_repository(
    project: Project, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_with(options: str) -> Plan:
        repo = f"repo --name=x --baseurl=http://own.example/x {options}\n"
        return planned(make_project({"kickstarts/sub/c.ks": repo}))

    monkeypatch.setattr(index, "read_targets", lambda _: OWN_TARGET)
    before = plan_with("--excludepkgs=nano")
    assert changed(before, plan_with("--excludepkgs=nano")) == ()
    assert changed(before, plan_with("--excludepkgs=nan*")) == ALL
    assert changed(before, plan_with("--includepkgs=nano")) == ALL


def test_the_revision_of_the_engine(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(project)
    monkeypatch.setattr(inputs, "ENGINE", Input.of("engine", "direct 0", "the direct engine"))
    assert changed(before, planned(project)) == ALL


def test_umask_and_the_way_to_the_project(
    project: Project, make_project: MakeProject, tmp_path: Path
) -> None:
    before = planned(project)
    os.umask(0o077)
    assert changed(before, planned(make_project(FILES, folder="private"))) == ()
    link = tmp_path / "link"
    link.symlink_to(project.root)
    assert changed(before, planned(Project.open(link))) == ()
