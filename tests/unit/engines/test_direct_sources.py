from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import MakeProject, written

from imagebuilder.engines.direct.image_sources import kept
from imagebuilder.engines.direct.pins import preferences, read_targets
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
        return find_sources(resolved, compose(resolved), resolved.vault(), apt=tmp_path / "apt")

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


ARMOURED = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA\n"


def test_a_whole_line_with_its_options(found: Callable[..., Sources], tmp_path: Path) -> None:
    written(tmp_path / "project", {"keys/a.asc": ARMOURED})
    (tmp_path / "k.gpg").write_bytes(b"\x99\x01")
    line = f"deb [signed-by={tmp_path}/k.gpg arch=amd64] http://ovs/x ./"
    assert found(f'url --url="{line}"\n').lines == (line,)
    made = found('url --url="[signed-by=keys/a.asc trusted=yes] http://ovs/x suite a b"\n')
    key = f"{tmp_path}/project/keys/a.asc"
    assert made.lines == (f"deb [signed-by={key} trusted=yes] http://ovs/x suite a b",)
    # Where the key stands does not count, what it holds does.
    assert str(tmp_path) not in made.identity()
    (tmp_path / "project/keys/a.asc").write_text(ARMOURED + "BBBB\n")
    again = found('url --url="[signed-by=keys/a.asc trusted=yes] http://ovs/x suite a b"\n')
    assert again.lines == made.lines
    assert again.identity() != made.identity()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[signed-by=keys/no.asc] http://x/y s main", "cannot be read"),
        ("[signed-by=../a.asc] http://x/y s main", "outside the project"),
        ("[signed-by=keys/a.gpg] http://x/y s main", "not what its name says"),
        ("[colour=red] http://x/y s main", "no option"),
        ("http://x/y ./ main", "no components"),
        ("http://x/y bookworm", "no component"),
    ],
)
def test_sources_that_apt_would_not_read_are_refused(
    found: Callable[..., Sources], tmp_path: Path, text: str, what: str
) -> None:
    written(tmp_path / "project", {"keys/a.gpg": ARMOURED})
    with pytest.raises(InputError, match=what) as caught:
        found(f'lang C\nrepo --name=a --baseurl="{text}"\n', MIRRORS)
    assert str(caught.value.where) == "kickstarts/a.ks:2"


def test_what_is_on_this_host_is_copied_and_not_in_the_image(
    found: Callable[..., Sources],
) -> None:
    made = found(
        'repo --name=x --baseurl="[trusted=yes] file:///srv/x ./"\n',
        apt={"sources.list": "deb file:/srv/debian bookworm main\n"},
    )
    assert made.lines == (
        "deb copy:/srv/debian bookworm main",
        "deb [trusted=yes] copy:/srv/x ./",
    )
    assert "/srv" not in kept(made).model_dump_json()


def test_of_the_same_version_the_cheapest_is_taken(found: Callable[..., Sources]) -> None:
    text = """
        repo --name=dear --baseurl="http://dear/x ./" --cost=2000
        repo --name=cheap --baseurl="http://cheap/x ./" --cost=10
        repo --name=plain --baseurl="http://plain/x ./"
        """
    made = found(text.replace("        ", ""), MIRRORS)
    assert [line.split()[1] for line in made.lines] == [
        "http://cheap/x",
        "http://site/debian",
        "http://plain/x",
        "http://dear/x",
    ]


def test_what_apt_is_told_of_hosts(found: Callable[..., Sources], tmp_path: Path) -> None:
    written(tmp_path / "project", {"ca.pem": "x"})
    made = found(
        "repo --name=a --baseurl=https://a.example/x --proxy=http://p:3128 --noverifyssl "
        "--sslcacert=ca.pem\n",
        MIRRORS,
    )
    assert made.settings() == (
        'Acquire::http::Proxy::a.example "http://p:3128";',
        'Acquire::https::Proxy::a.example "http://p:3128";',
        'Acquire::https::a.example::Verify-Peer "false";',
        'Acquire::https::a.example::Verify-Host "false";',
        f'Acquire::https::a.example::CaInfo "{tmp_path}/project/ca.pem";',
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("repo --name=a --baseurl=http://a/x --proxy=p", "no URL"),
        ("repo --name=a --baseurl=file:///x --proxy=http://p:1", "has no host"),
        ("repo --name=a --baseurl=file:///x --install", "build host alone"),
        ("repo --name=a --baseurl=https://a/x --sslclientkey=k --install", "in the image"),
        ("repo --name=a --baseurl=http://a/x --includepkgs=a,B", "no name or pattern"),
        (
            "repo --name=a --baseurl=http://a/x --proxy=http://p:1\n"
            "repo --name=b --baseurl=http://a/y --proxy=http://q:1",
            "another way",
        ),
    ],
)
def test_options_that_cannot_be(
    found: Callable[..., Sources], tmp_path: Path, text: str, what: str
) -> None:
    written(tmp_path / "project", {"k": "x"})
    with pytest.raises(InputError, match=what) as caught:
        found(f"{text}\n", MIRRORS)
    assert caught.value.where


# ----- pins ---------------------------------------------------------------------------------------

TARGETS = """
Created-By: Packages
Repo-URI: http://site/debian/
Release: bookworm
Origin: Debian
Codename: bookworm
Site: http://site/debian

Created-By: Packages
Repo-URI: http://site/ovs/
Release: bookworm
Origin: Ovs
Codename: bookworm
Site: http://site/ovs

Created-By: Packages
Repo-URI: copy:/srv/x/
Release: ./
Site: copy:/srv/x
"""


def test_pins_tell_a_repository_from_all_others(found: Callable[..., Sources]) -> None:
    made = found(
        "repo --name=ovs --baseurl=http://site/ovs --includepkgs=ovs*,dpdk --excludepkgs=ovs-x\n"
        'repo --name=x --baseurl="file:/srv/x ./" --excludepkgs=curl\n',
        MIRRORS,
    )
    assert preferences(made.repositories, read_targets(TARGETS)).split("\n\n") == [
        "Package: ovs-x\nPin: release o=Ovs,n=bookworm\nPin-Priority: -1",
        "Package: ovs* dpdk\nPin: release o=Ovs,n=bookworm\nPin-Priority: 500",
        "Package: *\nPin: release o=Ovs,n=bookworm\nPin-Priority: -1",
        'Package: curl\nPin: origin ""\nPin-Priority: -1\n',
    ]


def test_a_repository_that_looks_like_another_cannot_be_pinned(
    found: Callable[..., Sources],
) -> None:
    made = found("repo --name=ovs --baseurl=http://site/ovs --excludepkgs=a\n", MIRRORS)
    same = TARGETS.replace("Origin: Ovs", "Origin: Debian")
    with pytest.raises(InputError, match="cannot tell its packages") as caught:
        preferences(made.repositories, read_targets(same))
    assert caught.value.where


# ----- what the image's own apt has ---------------------------------------------------------------


def test_the_image_knows_the_mirrors_and_what_is_installed_of_repositories(
    found: Callable[..., Sources], tmp_path: Path
) -> None:
    written(tmp_path / "project", {"keys/a.asc": ARMOURED})
    made = found(
        'url --url="http://site/debian bookworm main"\n'
        'url --url="file:/srv/x ./"\n'
        'repo --name=ovs --baseurl="[signed-by=keys/a.asc] http://site/ovs bookworm main" '
        "--install --excludepkgs=a --proxy=http://me:geheim@p:1\n"
        "repo --name=other --baseurl=http://other/y\n"
    )
    image = kept(made, read_targets(TARGETS))
    files = {each.path: each.text for each in image.files}
    assert files["/etc/apt/sources.list"].splitlines()[1:] == [
        "deb http://site/debian bookworm main"
    ]
    assert files["/etc/apt/sources.list.d/ovs.list"] == (
        "deb [signed-by=/etc/apt/keyrings/a.asc] http://site/ovs bookworm main\n"
    )
    assert "o=Ovs" in files["/etc/apt/preferences.d/ovs"]
    assert "geheim" not in files["/etc/apt/apt.conf.d/60ovs.conf"]
    assert "http://p:1" in files["/etc/apt/apt.conf.d/60ovs.conf"]
    assert len(files) == 4
    assert [each.path for each in image.keys] == ["/etc/apt/keyrings/a.asc"]


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


def test_secrets_in_urls_are_encoded_and_change_nothing_else(
    found: Callable[..., Sources], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = (
        'url --url="http://me:{{ secret("pass") }}@{{ secret("host") }}/debian" '
        '--proxy=http://{{ secret("pass") }}@proxy:3128\n'
        'repo --name=whole --baseurl="{{ secret("whole") }}" --install\n'
    )
    monkeypatch.setenv("IMAGEBUILDER_SECRET_HOST", "mirror.example")
    monkeypatch.setenv("IMAGEBUILDER_SECRET_WHOLE", "deb https://t0ken.example/t0ken bookworm x")
    with pytest.raises(InputError, match="there is no secret 'pass'") as caught:
        found(line)
    assert str(caught.value.where) == "kickstarts/a.ks:1"
    for wrong in ("p@ss", "p/ss", "p%41ss"):
        monkeypatch.setenv("IMAGEBUILDER_SECRET_PASS", wrong)
        with pytest.raises(InputError, match="apt cannot take a user or password with") as caught:
            found(line)
        assert wrong not in str(caught.value)
    monkeypatch.setenv("IMAGEBUILDER_SECRET_PASS", "p#ss?w:rd")
    with pytest.raises(InputError, match="'whole' has spaces") as caught:
        found(line)
    assert "t0ken" not in str(caught.value)
    monkeypatch.setenv("IMAGEBUILDER_SECRET_WHOLE", "https://t0ken.example/t0ken")
    sources = found(line)
    assert sources.lines == (
        "deb http://me:p%23ss%3Fw%3Ard@mirror.example/debian bookworm main",
        "deb https://t0ken.example/t0ken bookworm main",
    )
    proxy = 'Acquire::http::Proxy::mirror.example "http://p%23ss%3Fw%3Ard@proxy:3128";'
    assert proxy in sources.settings()
    assert "t0ken" not in sources.redacted() + sources.identity()
    assert "p%23ss" not in sources.redacted() + sources.identity()
    monkeypatch.setenv("IMAGEBUILDER_SECRET_PASS", "another-one")
    assert found(line).identity() == sources.identity()
