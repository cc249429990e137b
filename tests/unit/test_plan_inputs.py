"""What stands outside of recipe and fragments: which steps follow from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakePrograms, MakeProject, fake_apt

from imagebuilder.plan import Plan, make_plan
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

MIRROR = "deb [signed-by=site.asc] http://mirror.example/debian bookworm main"
CONFIGURE = ("configure", "initrd", "rootfs", "image")
ALL = ("packages", *CONFIGURE)
FILES = {
    "imagebuilder.toml": f'[mirrors]\ndebian-12 = ["{MIRROR}"]\n',
    "site.asc": "-----BEGIN PGP PUBLIC KEY BLOCK-----\none\n",
    "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
    'preseed = ["tzdata tzdata/Areas select Etc"]\n'
    '[[files]]\nsource = "etc/motd"\npath = "/etc/motd"\n',
    "kickstarts/a.ks": "%packages\ncurl\n%end\n%post\necho '{{ secret(\"word\") }}'\n%end\n",
    "etc/motd": "hello\n",
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
    "its place": (replaced("recipes/r.toml", 'path = "/etc', 'path = "/srv'), CONFIGURE),
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


def test_umask_and_the_way_to_the_project(
    project: Project, make_project: MakeProject, tmp_path: Path
) -> None:
    before = planned(project)
    os.umask(0o077)
    assert changed(before, planned(make_project(FILES, folder="private"))) == ()
    link = tmp_path / "link"
    link.symlink_to(project.root)
    assert changed(before, planned(Project.open(link))) == ()
