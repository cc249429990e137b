"""lint: what is accepted for a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import MakeProject
from lintkit import (
    TODAY,
    codes,
    linted,
    with_fragment,
)

from imagebuilder import lint

pytestmark = pytest.mark.usefixtures("knowing_engine")


WAIVER = '[[waivers]]\ncode = "{code}"\nreason = "agreed"\nuntil = {until}\nmatch = "{match}"\n'


def waived(make: MakeProject, cache: Path, **given: str) -> tuple[lint.Finding, ...]:
    values = {"code": "IB301", "until": "2099-01-01", "match": "x.ks:1", **given}
    project = with_fragment(
        make, "user --name=a --password=correct-horse", extra=WAIVER.format(**values)
    )
    return linted(project, cache, "r")


def test_a_waiver_marks_its_finding(make_project: MakeProject, tmp_path: Path) -> None:
    (found,) = waived(make_project, tmp_path)
    assert found.waived
    assert found.waived.reason == "agreed"
    assert found.to_dict()["waived"]["until"] == "2099-01-01"


def test_a_waiver_holds_on_its_last_day(make_project: MakeProject, tmp_path: Path) -> None:
    (found,) = waived(make_project, tmp_path, until=TODAY.isoformat())
    assert found.waived


def test_an_expired_waiver_is_a_finding_and_waives_nothing(
    make_project: MakeProject, tmp_path: Path
) -> None:
    found = waived(make_project, tmp_path, until="2026-11-23")
    assert [(each.code, each.waived) for each in found] == [("IB301", None), ("IB901", None)]


@pytest.mark.parametrize(("code", "match"), [("IB301", "y.ks"), ("IB502", "")])
def test_a_waiver_that_matches_nothing_is_a_finding(
    make_project: MakeProject, tmp_path: Path, code: str, match: str
) -> None:
    found = waived(make_project, tmp_path, code=code, match=match)
    assert codes(found) == ["IB301", "IB902"]
    assert not any(each.waived for each in found)


def test_what_is_not_used_can_be_waived(make_project: MakeProject, tmp_path: Path) -> None:
    extra = '[params]\nspare = "x"\n' + "".join(
        WAIVER.format(code=code, until="2099-01-01", match=match)
        for code, match in (("IB801", "left-over.ks"), ("IB802", "spare"))
    )
    project = with_fragment(make_project, "", extra=extra)
    (project.root / "kickstarts/left-over.ks").write_text("# left\n")
    found = linted(project, tmp_path)
    assert [(each.code, each.waived is not None) for each in found] == [
        ("IB801", True),
        ("IB802", True),
    ]
    # Of a recipe alone it is not known whether the fragment is used elsewhere.
    assert codes(linted(project, tmp_path, "r")) == ["IB802"]


def test_a_waiver_of_the_parent_need_not_match_in_each_child(
    make_project: MakeProject, tmp_path: Path
) -> None:
    extra = WAIVER.format(code="IB301", until="2099-01-01", match="")
    project = with_fragment(make_project, "user --name=a --password=correct-horse", extra=extra)
    (project.root / "recipes/child.toml").write_text(
        'extends = "r"\n[remove]\nkickstarts = ["x.ks"]\n'
    )
    assert linted(project, tmp_path, "child") == ()
    assert [each.waived is not None for each in linted(project, tmp_path)] == [True]
