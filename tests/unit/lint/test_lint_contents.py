"""The units of packages, picked out of an archive's Contents."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from fakes import FakePrograms

from imagebuilder.engines.direct import contents
from imagebuilder.engines.direct.contents import units_of
from imagebuilder.engines.direct.index import Index
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import StepError
from imagebuilder.progress import Event, Reporter

REPORTER = Reporter(subject="r")

LISTED = """\
bin/true                                        utils/coreutils
etc/init.d/cron                                 admin/cron
etc/init.d/README/x                             admin/other
etc/systemd/system/local.service                net/site
lib/systemd/system/cron.service                 admin/cron
lib/systemd/system/ssh.service                  net/openssh-server
lib/systemd/system/ssh@.service                 net/openssh-server
lib/systemd/system/ssh.service.d/10.conf        net/other
usr/lib/systemd/system/both.timer               net/one,contrib/net/two
usr/share/doc/systemd/system/no.service         doc/other
usr/lib/systemd/user/agent.service              net/other
"""

RELEASE = """\
Origin: Debian
SHA256:
 {0} 100 main/Contents-amd64
 {0} 100 main/Contents-amd64.gz
 {0} 100 main/Contents-all.gz
 {0} 100 main/Contents-arm64.gz
"""


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index of two archives, of which one lists the files of its packages."""
    folder = tmp_path / "index"
    lists = folder / "lists"
    lists.mkdir(parents=True)
    (folder / "apt.conf").write_text(f'Dir::State::lists "{lists}/";\n')
    (lists / "mirror_dists_x_InRelease").write_text(RELEASE.format("a" * 64))
    (lists / "mirror_dists_x_main_binary-amd64_Packages").write_text(
        "Package: cron\nVersion: 1\n\nPackage: openssh-server\n"
    )
    (lists / "mirror_security_InRelease").write_text("Origin: Debian\n")
    (lists / "mirror_security_main_binary-amd64_Packages").write_text(
        "Package: cron\n\nPackage: new\n"
    )
    return Index(
        folder=folder,
        digest="d",
        required=(),
        sources=Sources(lines=("deb http://mirror x main",), origin="test"),
    )


@pytest.fixture
def apt(fake_programs: FakePrograms, tmp_path: Path) -> FakePrograms:
    """An apt-get that fetches the Contents into the folder that it is told."""
    (tmp_path / "listed.gz").write_bytes(gzip.compress(LISTED.encode()))
    fake_programs.write(
        "apt-get",
        f"""
        lists=$(sed -n 's/^Dir::State::lists "\\(.*\\)";/\\1/p' "$APT_CONFIG" | tail -n 1)
        grep -q 'MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)"' "$APT_CONFIG" || exit 1
        cp {tmp_path}/listed.gz "$lists/mirror_dists_x_main_Contents-amd64.gz"
        """,
    )
    return fake_programs


def test_units_of_packages(index: Index, apt: FakePrograms) -> None:
    found = units_of(index, "amd64", ["cron", "openssh-server", "two"], REPORTER, offline=False)
    assert found.names == {"cron.service", "ssh.service", "ssh@.service", "both.timer"}
    assert found.unlisted == ()
    assert not (index.folder / "contents").exists()


def test_packages_of_an_archive_without_contents_are_named(index: Index, apt: FakePrograms) -> None:
    found = units_of(index, "amd64", ["cron", "new"], REPORTER, offline=False)
    assert found.unlisted == ("new",)


def test_they_are_fetched_again_only_if_the_archive_names_others(
    index: Index, apt: FakePrograms
) -> None:
    for _ in range(2):
        units_of(index, "amd64", ["cron"], REPORTER, offline=False)
    assert len(apt.calls()) == 1
    release = index.lists / "mirror_dists_x_InRelease"
    release.write_text(release.read_text() + "Date: later\n")
    units_of(index, "amd64", ["cron"], REPORTER, offline=True)
    assert len(apt.calls()) == 1
    release.write_text(RELEASE.format("b" * 64))
    units_of(index, "amd64", ["cron"], REPORTER, offline=False)
    assert len(apt.calls()) == 2


def test_offline_nothing_is_fetched(index: Index, apt: FakePrograms) -> None:
    with pytest.raises(StepError, match="not in the cache"):
        units_of(index, "amd64", ["cron"], REPORTER, offline=True)
    assert apt.calls() == []


def test_an_archive_that_lists_no_files(index: Index, apt: FakePrograms) -> None:
    (index.lists / "mirror_dists_x_InRelease").write_text("Origin: site\n")
    with pytest.raises(StepError, match="does not list the files"):
        units_of(index, "amd64", ["cron"], REPORTER, offline=False)
    assert apt.calls() == []


def test_a_mirror_that_cannot_be_reached_leaves_nothing(
    index: Index, fake_programs: FakePrograms
) -> None:
    fake_programs.write("apt-get", "echo 'E: no route' >&2; exit 100")
    with pytest.raises(StepError, match="lists of the files"):
        units_of(index, "amd64", ["cron"], REPORTER, offline=False)
    assert len(fake_programs.calls()) == 2
    assert not (index.folder / "contents").exists()
    assert not (index.folder / "units.json").exists()


def test_a_mirror_that_fails_once_is_asked_again(
    index: Index, apt: FakePrograms, tmp_path: Path
) -> None:
    program = apt.folder / "apt-get"
    lines = program.read_text().splitlines()
    once = f"test -e {tmp_path}/asked || {{ touch {tmp_path}/asked; exit 100; }}"
    program.write_text("\n".join((*lines[:2], once, *lines[2:])) + "\n")
    found = units_of(index, "amd64", ["cron"], REPORTER, offline=False)
    assert found.names == {"cron.service"}
    assert len(apt.calls()) == 2


def test_what_was_known_serves_while_a_mirror_cannot_be_reached(
    index: Index, apt: FakePrograms
) -> None:
    before = units_of(index, "amd64", ["cron"], REPORTER, offline=False)
    (index.lists / "mirror_dists_x_InRelease").write_text(RELEASE.format("b" * 64))
    apt.write("apt-get", "echo 'E: no route' >&2; exit 100")
    events: list[Event] = []
    reporter = Reporter(subject="r", observer=events.append)
    assert units_of(index, "amd64", ["cron"], reporter, offline=False) == before
    assert any("fetched before" in each.text for each in events)


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_lines_that_lie_across_pieces_are_read(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(contents, "_CHUNK", size)
    found = list(contents._units(io.BytesIO(LISTED.encode().rstrip(b"\n")), REPORTER))
    assert sorted(found) == [
        ("both.timer", "one"),
        ("both.timer", "two"),
        ("cron.service", "cron"),
        ("cron.service", "cron"),
        ("local.service", "site"),
        ("ssh.service", "openssh-server"),
        ("ssh@.service", "openssh-server"),
    ]
