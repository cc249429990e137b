"""lint: scripts of shells and of Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fakes import MakeProject
from lintkit import (
    codes,
    linted,
    needs_shellcheck,
    of_fragment,
    with_fragment,
)

pytestmark = pytest.mark.usefixtures("knowing_engine")


@needs_shellcheck
def test_remarks_of_shellcheck_stand_at_the_fragments_line(
    make_project: MakeProject, tmp_path: Path
) -> None:
    text = "# head\n{% if true %}\n%post --erroronfail\nset -eu\nif true; then\n%end\n{% endif %}"
    assert ("IB501", "kickstarts/x.ks:5") in of_fragment(make_project, tmp_path, text)


@needs_shellcheck
def test_what_shellcheck_said_is_remembered(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "%post --erroronfail\nset -eu\nfolder=/srv\nrm -rf $folder/$missing\n%end"
    project = with_fragment(make_project, text)
    first = linted(project, tmp_path, "r")
    assert "IB502" in codes(first)
    monkeypatch.setattr("imagebuilder.lint.shellcheck._run", None)
    assert linted(project, tmp_path, "r") == first


def test_without_shellcheck_the_shell_looks_at_the_syntax(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("dash", "setpriv"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setattr("imagebuilder.command.search_path", lambda: str(folder))
    text = "%post --erroronfail\nset -eu\nif true; then\n%end"
    found = of_fragment(make_project, tmp_path, text)
    assert ("IB100", "None") in found
    assert [place for code, place in found if code == "IB501"] == ["kickstarts/x.ks:3"]


def test_python_is_looked_at_as_python(make_project: MakeProject, tmp_path: Path) -> None:
    text = "%post --erroronfail --interpreter=/usr/bin/python3\nx = 1\nif x\n    pass\n%end"
    assert of_fragment(make_project, tmp_path, text) == [("IB501", "kickstarts/x.ks:3")]
