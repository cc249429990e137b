"""lint: contradictions, kernel arguments, and what nothing uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import MakeProject
from lintkit import (
    codes,
    linted,
    of_fragment,
    with_fragment,
)

from imagebuilder.errors import Location

pytestmark = pytest.mark.usefixtures("knowing_engine")


def test_contradictions_name_both_places(make_project: MakeProject, tmp_path: Path) -> None:
    project = with_fragment(make_project, "services --disabled=ssh")
    (found,) = linted(project, tmp_path, "r")
    assert found.code == "IB601"
    assert found.where == Location(file="kickstarts/x.ks", line=1)
    assert [each.file for each in found.also] == ["kickstarts/clean.ks"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rootpw --iscrypted $6$a$b", "IB603"),
        ("lang C.UTF-8\nlang de_DE.UTF-8", "IB603"),
        ("firewall --enabled\nfirewall --disabled", "IB603"),
        ("network --hostname=a\nnetwork --hostname=b", "IB603"),
        ("user --name=a --lock\nuser --name=a --uid=7 --lock", "IB604"),
        ("%packages\n-openssh-server\n%end", "IB602"),
    ],
)
def test_contradictions(make_project: MakeProject, tmp_path: Path, text: str, code: str) -> None:
    assert code in [each for each, _ in of_fragment(make_project, tmp_path, text)]


@pytest.mark.parametrize(
    "text",
    [
        "lang C.UTF-8\nlang C.UTF-8",
        "firewall --enabled --service=ssh\nfirewall --enabled --port=80:tcp",
        "network --device=a --bootproto=dhcp\nnetwork --device=b --bootproto=dhcp",
    ],
)
def test_no_contradictions(make_project: MakeProject, tmp_path: Path, text: str) -> None:
    found = of_fragment(make_project, tmp_path, text)
    assert [each for each, _ in found if each.startswith("IB6")] == []


def test_a_recipe_may_take_out_what_its_fragments_put_in(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = with_fragment(make_project, "%packages\nvim\n%end", more='packages = ["-vim"]')
    assert linted(project, tmp_path, "r") == ()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["quiet", "quiet"], "IB701"),
        (["iommu=pt", "iommu=off"], "IB702"),
        (["kvm-intel.nested=1", "kvm_intel.nested=0"], "IB702"),
        (["ro", "rw"], "IB702"),
        (["nosmt", "smt"], "IB702"),
        (["root=/dev/sda1"], "IB703"),
        (["console=tty0", "console=ttyS0", "console=ttyS0"], "IB701"),
    ],
)
def test_kernel_arguments(
    make_project: MakeProject, tmp_path: Path, args: list[str], code: str
) -> None:
    listed = ", ".join(f'"{each}"' for each in args)
    project = with_fragment(make_project, "", more=f"kernel.args = [{listed}]")
    (found,) = linted(project, tmp_path, "r")
    assert found.code == code
    assert found.where
    assert found.where.key == f"kernel.args.{len(args) - 1}"


def test_kernel_arguments_that_may_repeat(make_project: MakeProject, tmp_path: Path) -> None:
    text = 'bootloader --append="console=tty0 hugepagesz=1G hugepages=4 rd.driver.pre=a"'
    more = 'kernel.args = ["console=ttyS0", "hugepagesz=2M", "hugepages=4", "rd.driver.pre=b"]'
    assert linted(with_fragment(make_project, text, more), tmp_path, "r") == ()


def test_a_misspelt_param_is_answered_with_the_right_one(
    make_project: MakeProject, tmp_path: Path
) -> None:
    fragment = "lang {{ locale_name | default('C.UTF-8') }}"
    project = with_fragment(make_project, fragment, extra='[params]\nlocal_name = "x"\n')
    (found,) = linted(project, tmp_path, "r")
    assert found.code == "IB802"
    assert found.fix == "did you mean 'locale_name'?"
    assert found.where
    assert found.where.line == (project.root / "recipes/r.toml").read_text().count("\n")


def test_a_parents_param_may_be_for_its_children(make_project: MakeProject, tmp_path: Path) -> None:
    project = with_fragment(make_project, "", extra='[params]\nname = "us"\n')
    (project.root / "kickstarts/use.ks").write_text("keyboard {{ name }}\n")
    child = 'extends = "r"\nkickstarts = ["use.ks"]\n'
    assert codes(linted(project, tmp_path, "r")) == ["IB802"]
    (project.root / "recipes/child.toml").write_text(child)
    assert linted(project, tmp_path, "r") == ()
    assert linted(project, tmp_path) == ()


def test_an_included_fragment_is_used(make_project: MakeProject, tmp_path: Path) -> None:
    text = "{% if false %}\n%include other.ks\n{% endif %}"
    project = with_fragment(make_project, text)
    (project.root / "kickstarts/other.ks").write_text("# other\n")
    assert linted(project, tmp_path) == ()
