"""lint: what it looks at, and what each code is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject
from lintkit import (
    CLEAN,
    TODAY,
    codes,
    linted,
    needs_shellcheck,
    of_fragment,
    settings,
    with_fragment,
)

from imagebuilder.errors import Location
from imagebuilder.lint.codes import CODES

pytestmark = pytest.mark.usefixtures("knowing_engine")


def test_a_clean_recipe_has_no_findings(make_project: MakeProject, tmp_path: Path) -> None:
    assert linted(make_project(CLEAN), tmp_path) == ()


@needs_shellcheck
@pytest.mark.parametrize("code", sorted(CODES))
def test_the_example_of_each_code_has_it(
    make_project: MakeProject, tmp_path: Path, code: str
) -> None:
    kind = CODES[code]
    if kind.example_is == "fragment":
        project = with_fragment(make_project, kind.example)
    else:
        # A recipe of its own, so that [replace] has a parent's to replace.
        files = {**CLEAN, "recipes/child.toml": f'extends = "r"\n{kind.example}\n'}
        project = make_project({**files, "kickstarts/left-over.ks": "# nothing\n"})
    if code == "IB111":
        path = project.root / "recipes/r.toml"
        path.write_text(path.read_text().replace("debian-12", "almalinux-9"))
    found = [each for each in linted(project, tmp_path) if each.code == code]
    assert found
    assert all(each.severity == kind.severity for each in found)
    assert all(each.text and each.fix for each in found)


def test_a_recipe_that_is_wrong_does_not_keep_others_from_being_looked_at(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = with_fragment(make_project, "rootpw --plaintext correct-horse")
    (project.root / "recipes/bad.toml").write_text("zoo = 1\nkernl = 2\n")
    found = linted(project, tmp_path)
    assert [(each.code, str(each.where)) for each in found if each.recipes == ("bad",)] == [
        ("IB101", "recipes/bad.toml:1 (zoo)"),
        ("IB101", "recipes/bad.toml:2 (kernl)"),
    ]
    assert ("IB301", ("r",)) in [(each.code, each.recipes) for each in found]


def test_an_abstract_recipe_is_only_resolved(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project({"recipes/r.toml": 'abstract = true\ndistro = "debian-12"\n'})
    assert linted(project, tmp_path) == ()


def test_what_recipes_share_is_said_once(make_project: MakeProject, tmp_path: Path) -> None:
    project = with_fragment(make_project, "rootpw --plaintext correct-horse")
    (project.root / "recipes/child.toml").write_text('extends = "r"\n')
    found = [each for each in linted(project, tmp_path) if each.code == "IB301"]
    assert [each.recipes for each in found] == [("child", "r")]


def test_a_command_that_needs_a_package(make_project: MakeProject, tmp_path: Path) -> None:
    found = of_fragment(make_project, tmp_path, "timezone Europe/Berlin --utc")
    assert found == [("IB103", "kickstarts/x.ks:1")]


def test_an_engine_without_an_index_leaves_packages_unknown(
    make_project: MakeProject, tmp_path: Path, fake_engine: FakeEngine
) -> None:
    found = linted(make_project(CLEAN), tmp_path, "r")
    assert sorted(codes(found)) == ["IB100", "IB104"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("text\npart / --size=1", "kickstarts/a.ks:4"),
        ("autopart", "kickstarts/a.ks:4"),
        ("part / --size=1\npart /boot --size=1", "kickstarts/a.ks:5"),
        ("", "recipes/r.toml:2 (kickstarts)"),  # there is no part /
    ],
)
def test_what_livemedia_creator_refuses(
    make_project: MakeProject, tmp_path: Path, text: str, place: str
) -> None:
    head = "url --url=https://example.org/\nnetwork --bootproto=dhcp\nrootpw --lock\n"
    project = make_project(
        {
            "recipes/r.toml": 'distro = "almalinux-9"\nkickstarts = ["a.ks"]\n',
            "kickstarts/a.ks": f"{head}{text}\n",
        }
    )
    found = [each for each in linted(project, tmp_path, "r") if each.code == "IB111"]
    assert [str(each.where) for each in found] == [place]


def test_livemedia_creator_wants_a_url_and_the_network(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(
        {
            "recipes/r.toml": 'distro = "fedora-43"\nkickstarts = ["a.ks"]\n',
            "kickstarts/a.ks": "part / --size=1\n",
        }
    )
    said = [each.text for each in linted(project, tmp_path, "r") if each.code == "IB111"]
    assert len(said) == 1
    assert "where to install from" in said[0]
    (project.root / "kickstarts/a.ks").write_text("url --url=https://a/\npart / --size=1\n")
    said = [each.text for each in linted(project, tmp_path, "r") if each.code == "IB111"]
    assert len(said) == 1
    assert "network is not activated" in said[0]


def test_a_missing_file_and_a_template_that_fails(
    make_project: MakeProject, tmp_path: Path
) -> None:
    entries = "".join(
        f'[[files]]\nsource = "{name}"\npath = "/etc/{name}"\ntemplate = true\n'
        for name in ("missing", "broken")
    )
    project = with_fragment(make_project, "", extra=entries)
    (project.root / "broken").write_text("a\n{{ nothing }}\n")
    found = linted(project, tmp_path, "r")
    assert [each.code for each in found] == ["IB106", "IB106"]
    assert str(found[0].where) == "broken:2"


def test_findings_are_the_same_each_time(make_project: MakeProject, tmp_path: Path) -> None:
    text = "\n".join(kind.example for kind in CODES.values() if kind.example_is == "fragment")
    project = with_fragment(make_project, re.sub("(?m)^timezon .*", "", text))
    first = linted(project, tmp_path)
    assert linted(project, tmp_path) == first
    assert [each.order for each in first] == sorted(each.order for each in first)
    assert settings(tmp_path).today == TODAY


def test_packages_of_checks_are_not_told_where_a_script_installs(
    make_project: MakeProject, tmp_path: Path
) -> None:
    check = '[[checks]]\npackage = "postfix:amd64"\nversion = ">= 3"\n'
    files = {**CLEAN, "recipes/child.toml": f'extends = "r"\nkickstarts = ["c.ks"]\n{check}'}
    files["kickstarts/c.ks"] = "%post --erroronfail\nset -e\napt-get install -y postfix\n%end\n"
    assert "IB205" not in {each.code for each in linted(make_project(files), tmp_path)}
    files["kickstarts/c.ks"] = "%post --erroronfail\nset -e\ntrue\n%end\n"
    told = [
        each for each in linted(make_project(files, folder="two"), tmp_path) if each.code == "IB205"
    ]
    assert [each.text for each in told] == [
        "a check asks for the package postfix, which the image does not get"
    ]
    assert told[0].where == Location(file="recipes/child.toml", line=4, key="checks.1.package")
