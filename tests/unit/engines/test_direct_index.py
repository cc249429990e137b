"""The package index: looked at now and then, and private."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fakes import fake_apt
from indexkit import Looker, Parsed, packages

from imagebuilder.engines.direct.resolve import resolve
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import HostError, StepError

# ----- the index ----------------------------------------------------------------------------------


def test_an_index_is_looked_at_once_a_day(looker: Looker) -> None:
    opened = looker.open()
    assert looker.updates() == 1
    looker.programs.forget()
    assert looker.open() == opened
    looker.age(opened, 23 * 3600)
    assert looker.open() == opened
    assert looker.programs.calls() == []
    looker.age(opened, 25 * 3600)
    looker.open()
    assert looker.updates() == 1
    looker.open(refresh=True)
    assert looker.updates() == 2
    looker.age(opened, -3600)  # the clock was set back: the age is not known
    looker.open()
    assert looker.updates() == 3


def test_a_repository_of_this_host_is_looked_at_when_it_has_changed(
    looker: Looker, tmp_path: Path
) -> None:
    for name in ("flat", "dists/x"):
        (tmp_path / "repo" / name).mkdir(parents=True)
    for line, file in (
        (f"deb [trusted=yes] copy:{tmp_path}/repo flat/", "flat/Packages"),
        (f"deb copy:{tmp_path}/repo/ x main", "dists/x/InRelease"),
    ):
        sources = Sources(lines=(line,), origin="a test")
        (tmp_path / "repo" / file).write_text("one")
        looker.open(sources=sources)
        before = looker.updates()
        looker.open(sources=sources)
        assert looker.updates() == before
        time.sleep(0.02)
        (tmp_path / "repo" / file).write_text("two")
        looker.open(sources=sources)
        assert looker.updates() == before + 1


def test_the_digest_follows_from_the_release_files(looker: Looker) -> None:
    first = looker.open()
    assert looker.open(refresh=True).digest == first.digest
    fake_apt(looker.programs, date="7")
    second = looker.open(refresh=True)
    assert second.digest != first.digest
    other = Sources(lines=("deb http://other/debian bookworm main",), origin="")
    assert looker.open(sources=other).folder != first.folder


def test_an_old_index_does_when_the_mirrors_cannot_be_reached(looker: Looker) -> None:
    opened = looker.open()
    looker.age(opened, 48 * 3600)
    looker.says("Err:1 could not resolve 'site'\nE: Failed to fetch https://me:geheim@site/x")
    assert looker.open().digest == opened.digest
    note = looker.events[-1]
    assert note.kind == "note"
    assert "the mirrors could not be reached; going on with the index of 20" in note.text
    assert "geheim" not in json.dumps([each.to_dict() for each in looker.events])


def test_no_index_and_no_mirror(looker: Looker) -> None:
    looker.says("E: Failed to fetch https://me:geheim@site/x  Could not connect")
    with pytest.raises(StepError, match="fetching the package index") as caught:
        looker.open()
    assert "Could not connect" in caught.value.excerpt
    assert caught.value.log
    assert "geheim" not in str(caught.value) + caught.value.log.read_text()
    fake_apt(looker.programs)
    looker.open()


@pytest.mark.parametrize(
    "said",
    [
        "W: GPG error: the public key is not available: NO_PUBKEY 6ED0E7B82643E131",
        "   Missing key 41587F7DB8C774BCCF131416762F67A0B2C39DE4, which is needed",
    ],
)
def test_a_release_whose_key_the_host_does_not_know(looker: Looker, said: str) -> None:
    looker.says(f"{said}\nE: The repository is not signed.")
    with pytest.raises(HostError, match="does not know the key") as caught:
        looker.open()
    assert "a test" in caught.value.what
    assert "debian-archive-keyring" in caught.value.fix
    assert "not signed" in caught.value.excerpt


PACKAGES_FILE = """\
Package: bash
Essential: yes
Priority: required

Package: optional
Description: no line of this says
 Priority: required
Priority: optional

Package: login
Version: 1
Priority: required
"""


def test_the_packages_that_every_debian_has_are_known(looker: Looker, kickstart_of: Parsed) -> None:
    opened = looker.open()
    assert opened.required == ()
    (opened.lists / "mirror_main_binary-amd64_Packages").write_text(PACKAGES_FILE)
    (opened.lists / "mirror_updates_binary-amd64_Packages").touch()
    opened = looker.open(refresh=True)
    assert opened.required == ("bash", "login")
    assert looker.open().required == ("bash", "login")
    resolve(opened, kickstart_of(packages("zsh")), looker.reporter)
    (call,) = [each for each in looker.programs.calls() if "--simulate" in each]
    assert call.endswith("?essential apt bash login zsh")


def test_the_apt_of_the_index_reads_nothing_of_the_host_and_is_private(looker: Looker) -> None:
    folder = looker.open().folder
    assert (folder / "sources.list").stat().st_mode & 0o077 == 0
    conf = (folder / "apt.conf").read_text()
    for setting in ("State::lists", "Cache", "Etc::sourcelist", "Etc::parts"):
        (line,) = [each for each in conf.splitlines() if each.startswith(f"Dir::{setting} ")]
        assert str(folder) in line
    assert (folder / "status").read_text() == ""


def test_a_damaged_state_is_made_again(looker: Looker) -> None:
    opened = looker.open()
    (opened.folder / "index.json").write_text("{")
    assert looker.open() == opened
    assert looker.updates() == 2


# ----- what apt makes of them ---------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "looks"), [(1, 0), (3, 1)])
def test_how_often_the_mirrors_are_looked_at_can_be_said(
    looker: Looker, hours: float, looks: int
) -> None:
    looker.age(looker.open(), hours * 3600)
    looker.programs.forget()
    looker.open(max_age=2 * 3600)
    assert looker.updates() == looks


def test_offline_takes_an_index_of_any_age_and_fetches_none(looker: Looker) -> None:
    with pytest.raises(StepError, match="none may be fetched") as caught:
        looker.open(offline=True)
    assert "--offline" in caught.value.fix
    looker.age(looker.open(), 90 * 24 * 3600)
    looker.programs.forget()
    assert looker.open(offline=True, refresh=True).digest
    assert looker.updates() == 0
