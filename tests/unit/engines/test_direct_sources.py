from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakePrograms, MakeProject, written

from imagebuilder.engines.direct.sources import (
    Sources,
    find_sources,
    host_proxies,
    host_sources,
)
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


def hosts(folder: Path, files: dict[str, str]) -> tuple[str, ...]:
    written(folder, files)
    return host_sources("bookworm", folder)


def test_one_line_files_of_the_host(tmp_path: Path) -> None:
    lines = hosts(
        tmp_path,
        {
            "sources.list": """
                # deb http://off/debian bookworm main
                deb http://a/debian bookworm main contrib
                deb-src http://a/debian bookworm main
                deb [signed-by=/k.gpg] http://a/debian bookworm-updates main
                deb http://a/debian-security bookworm-security main
                deb http://a/debian bookworm-backports main
                deb http://a/debian trixie main
                deb http://vendor/x bookworm stable
                deb http://vendor/y ./
                deb http://a/debian bookworm main contrib
                """,
            "sources.list.d/b.list": "deb http://b/debian bookworm main",
            "sources.list.d/c.save": "deb http://c/debian bookworm main",
        },
    )
    assert lines == (
        "deb http://a/debian bookworm main contrib",
        "deb [signed-by=/k.gpg] http://a/debian bookworm-updates main",
        "deb http://a/debian-security bookworm-security main",
        "deb http://b/debian bookworm main",
    )


def test_deb822_files_of_the_host(tmp_path: Path) -> None:
    lines = hosts(
        tmp_path,
        {
            "sources.list.d/debian.sources": """
                # a comment
                Types: deb deb-src
                URIs: http://a/debian
                 http://b/debian
                Suites: bookworm bookworm-updates trixie
                Components: main
                # another
                Signed-By: /usr/share/keyrings/debian.gpg

                Types: deb
                URIs: http://c/security
                Suites: bookworm-security
                Components: main contrib

                types: deb
                URIs: http://off/debian
                Suites: bookworm
                Components: main
                Enabled: no

                Types: deb-src
                URIs: http://src/debian
                Suites: bookworm
                Components: main

                Types: deb
                URIs: http://vendor/x
                Suites: bookworm
                Components: stable
                """,
        },
    )
    key = "[signed-by=/usr/share/keyrings/debian.gpg] "
    assert lines == (
        f"deb {key}http://a/debian bookworm main",
        f"deb {key}http://a/debian bookworm-updates main",
        f"deb {key}http://b/debian bookworm main",
        f"deb {key}http://b/debian bookworm-updates main",
        "deb http://c/security bookworm-security main contrib",
    )


def test_a_host_without_sources_or_with_odd_files(tmp_path: Path) -> None:
    assert host_sources("bookworm", tmp_path / "nosuch") == ()
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/x.list").write_bytes(b"deb http://a/\xff bookworm main\n")
    (tmp_path / "sources.list.d/y.sources").write_text("nonsense\n  more\n\n\n:\n")
    assert host_sources("bookworm", tmp_path) == ()


def test_proxies_of_the_host(fake_programs: FakePrograms) -> None:
    fake_programs.write(
        "apt-config",
        """
        cat <<'END'
        Acquire "";
        Acquire::http::Proxy "http://proxy:3128";
        Acquire::https::Proxy::mirror.example "DIRECT";
        Acquire::http::Timeout "3";
        Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";
        Acquire::ftp::Proxy "";
        END
        """.replace("\n        ", "\n"),
    )
    assert host_proxies() == (
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https::Proxy::mirror.example "DIRECT";',
        'Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";',
    )
    fake_programs.write("apt-config", "exit 1")
    assert host_proxies() == ()
