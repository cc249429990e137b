"""Command lines in a project, for the tests beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.cli.main import main
from imagebuilder.project import Project

FILES = {
    "recipes/base.toml": """
        summary = "the base"
        distro = "debian-12"
        kickstarts = ["a.ks"]
        [kernel]
        args = ["quiet"]
        """,
    "recipes/leaf.toml": 'extends = "base"\nkickstarts = ["b.ks"]\n[kernel]\nargs = ["debug"]\n',
    "kickstarts/a.ks": "timezone UTC\nrootpw --plaintext geheim\n%packages\nbash\n%end\n",
    "kickstarts/b.ks": "timezone Etc/UTC\n%packages\n-bash\nzsh\n%end\n%post\ntrue\n%end\n",
}


class Cli:
    """Runs command lines in a project."""

    def __init__(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        self.project = project
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *argv: str) -> int:
        verb, *rest = argv
        try:
            return main([verb, "-C", str(self.project.root), *rest])
        finally:
            self.out, self.err = self._capsys.readouterr()

    def data(self, kind: str) -> list[Any]:
        lines = [json.loads(line) for line in self.out.splitlines()]
        return [line[kind] for line in lines if kind in line]


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))
