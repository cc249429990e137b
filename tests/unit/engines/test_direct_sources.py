from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import MakeProject, written

from imagebuilder.engines.direct.sources import Sources, find_sources
from imagebuilder.errors import HostError, InputError
from imagebuilder.kickstart import compose

MIRRORS = '[mirrors]\ndebian-12 = ["deb http://site/debian bookworm main"]\n'


@pytest.fixture
def found(make_project: MakeProject, tmp_path: Path) -> Callable[..., Sources]:
    def find(kickstart: str = "", settings: str = "", apt: dict[str, str] | None = None) -> Sources:
        written(tmp_path / "apt", apt or {})
        project = make_project(
            {
                "imagebuilder.toml": settings,
                "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
                "kickstarts/a.ks": kickstart,
            }
        )
        resolved = project.resolve("r")
        return find_sources(resolved, compose(resolved), apt=tmp_path / "apt")

    return find


HOST = {"sources.list": "deb http://host/debian bookworm main\n"}


def test_the_recipe_goes_before_the_project_before_the_host(found: Callable[..., Sources]) -> None:
    url = "url --url=http://recipe/debian\n"
    assert found(url, MIRRORS, HOST).lines == ("deb http://recipe/debian bookworm main",)
    assert found("", MIRRORS, HOST).lines == ("deb http://site/debian bookworm main",)
    assert found("", "", HOST).lines == ("deb http://host/debian bookworm main",)
    assert "imagebuilder.toml" in found("", MIRRORS, HOST).origin
    assert str(found("", "", HOST).origin).endswith("/apt of this host")


def test_the_hosts_sources_for_another_release_will_do(found: Callable[..., Sources]) -> None:
    sources = found(apt={"sources.list": "deb http://host/debian trixie main\n"})
    assert sources.lines == ("deb http://host/debian bookworm main",)
    assert "bookworm in place of trixie" in sources.origin


def test_repo_adds_to_what_else_there_is(found: Callable[..., Sources]) -> None:
    repo = 'repo --name=ovs --baseurl="http://ovs/x trixie main contrib"\n'
    added = "deb http://ovs/x trixie main contrib"
    assert found(repo, "", HOST).lines == ("deb http://host/debian bookworm main", added)
    assert found(repo, MIRRORS, HOST).lines == ("deb http://site/debian bookworm main", added)
    assert found(repo + "url --url=http://u/d\n", MIRRORS, HOST).lines == (
        "deb http://u/d bookworm main",
        added,
    )


def test_a_whole_line_with_its_options(found: Callable[..., Sources]) -> None:
    line = "deb [signed-by=/k.gpg arch=amd64] http://ovs/x ./"
    assert found(f'url --url="{line}"\n').lines == (line,)


@pytest.mark.parametrize("url", ["mirror/debian", "deb", "/srv/debian", "deb-src http://x y main"])
def test_what_is_no_source_is_refused_with_its_line(
    found: Callable[..., Sources], url: str
) -> None:
    with pytest.raises(InputError, match="no URL") as caught:
        found(f'lang C\nurl --url="{url}"\n')
    assert caught.value.where
    assert str(caught.value.where) == "kickstarts/a.ks:2"
    with pytest.raises(InputError) as caught:
        found("", f'[mirrors]\ndebian-12 = ["{url}"]\n')
    assert caught.value.where
    assert caught.value.where.file == "imagebuilder.toml"


def test_nothing_names_a_source(found: Callable[..., Sources]) -> None:
    with pytest.raises(HostError, match="bookworm") as caught:
        found("repo --name=a --baseurl=http://x/y\n")
    assert "[mirrors]" in caught.value.fix


def test_credentials_are_in_the_text_and_nowhere_else(found: Callable[..., Sources]) -> None:
    made = found("url --url=https://me:geheim@site/debian\n")
    assert made.text == "deb https://me:geheim@site/debian bookworm main\n"
    assert made.redacted() == "deb https://site/debian bookworm main\n"
