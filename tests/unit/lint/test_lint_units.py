"""lint: units that will not be there."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import MakeProject
from lintkit import (
    KnowingEngine,
    codes,
    linted,
    of_fragment,
    with_fragment,
)

from imagebuilder.errors import StepError

pytestmark = pytest.mark.usefixtures("knowing_engine")


def test_a_unit_that_a_script_writes_is_there_for_scripts_only(
    make_project: MakeProject, tmp_path: Path
) -> None:
    script = (
        "%post --erroronfail\nset -eu\ncat > /etc/systemd/system/own.service <<'EOF'\n[Unit]\nEOF\n"
        "systemctl enable own.service\nsystemctl enable --now other.timer\n%end\n"
    )
    found = linted(with_fragment(make_project, f"{script}services --enabled=own"), tmp_path, "r")
    said = {each.where.line: each.text for each in found if each.code == "IB401" and each.where}
    assert set(said) == {7, 9}
    assert "other.timer" in said[7]
    assert "runs later" in said[9]


def test_a_unit_among_the_files_of_the_recipe(make_project: MakeProject, tmp_path: Path) -> None:
    entry = '[[files]]\nsource = "own.service"\npath = "/etc/systemd/system/own.service"\n'
    project = with_fragment(make_project, "services --enabled=own", extra=entry)
    (project.root / "own.service").write_text("[Unit]\n")
    assert linted(project, tmp_path, "r") == ()


def test_a_misspelt_unit_is_answered_with_the_right_one(
    make_project: MakeProject, tmp_path: Path
) -> None:
    found = linted(with_fragment(make_project, "services --enabled=sssh"), tmp_path, "r")
    assert codes(found) == ["IB401"]
    assert "did you mean ssh.service?" in found[0].fix


def test_units_are_not_foreseen_where_a_script_installs_software(
    make_project: MakeProject, tmp_path: Path
) -> None:
    script = "%post --erroronfail\nset -e\napt-get install -y agent\nsystemctl enable agent\n%end"
    assert of_fragment(make_project, tmp_path, script) == [("IB100", "kickstarts/x.ks:4")]


def test_what_runs_after_a_failure_may_fail_unseen(
    make_project: MakeProject, tmp_path: Path
) -> None:
    text = "%post\ntrue\n%end\n%onerror\ntrue\n%end"
    assert of_fragment(make_project, tmp_path, text) == [("IB504", "kickstarts/x.ks:1")]


def test_without_contents_units_are_not_looked_for(
    make_project: MakeProject,
    tmp_path: Path,
    knowing_engine: KnowingEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise StepError("no Contents")

    monkeypatch.setattr(KnowingEngine, "units", refuse)
    waiver = '[[waivers]]\ncode = "IB401"\nreason = "x"\nuntil = 2099-01-01\n'
    project = with_fragment(make_project, "services --enabled=nothing", extra=waiver)
    # Nor is it said that the waiver matches nothing.
    assert codes(linted(project, tmp_path, "r")) == ["IB100"]
