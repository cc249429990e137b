"""Which images a change affects: against all recipes rendered, and kind by kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from brute import affected, images
from history import History, git

from imagebuilder.changes import find_changes
from imagebuilder.project import Project


@pytest.mark.parametrize("seed", range(2))
def test_it_is_what_rendering_everything_says(tmp_path: Path, seed: int) -> None:
    history = History(tmp_path, recipes=20, fragments=14, seed=seed)
    project = Project.open(tmp_path)
    before = images(project)
    kinds: set[str] = set()
    for n in range(30):
        kinds.add(history.step())
        project = Project.open(tmp_path)
        after = images(project)
        wanted, removed = affected(before, after)
        found = find_changes(project, since="HEAD~1", to="HEAD" if n % 10 == 9 else "")
        shown = git(tmp_path, "show", "--stat", "HEAD")
        assert {each.name for each in found.images} == wanted, shown
        assert set(found.removed) == removed, shown
        assert found.untouched == len(after) - len(wanted)
        for each in found.images:
            assert each.reasons, shown
            assert all(reason.path in found.paths for reason in each.reasons)
        before = after
    assert len(kinds) > 12
