"""What shells offer when somebody presses TAB: real shells, and the real command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import MakeProject

FILES = {
    "recipes/one.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
    "recipes/other.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
    "kickstarts/a.ks": "timezone UTC\n",
    "imagebuilder.toml": '[channels.stable]\n[channels."late night"]\n',
}
BASH = """
source <(imagebuilder completion bash)
COMP_LINE=$1 COMP_POINT=${#COMP_LINE} COMP_TYPE=9
complete -p imagebuilder | grep -q -- "-F _python_argcomplete"
_python_argcomplete imagebuilder
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
imagebuilder completion fish | source
complete -C $argv[1]
"""
# A shell in a shell: completion is there only where somebody sits at a terminal.
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "autoload -U compinit; compinit -u -D; PS1=; LISTMAX=99; setopt noautomenu nobeep"
zpty -w shell 'source <(imagebuilder completion zsh)'
zpty -w shell 'echo rea''dy'
zpty -r shell text '*ready*'
zpty -w -n shell "$1"$'\\t\\t'
# Completed in place: what it became, with what is typed behind it.
zpty -w shell ' THE''END'
zpty -r shell text '*THEEND*'
print -r -- "$text"
"""

Ask = Callable[[str, str], list[str]]


@pytest.fixture
def ask(make_project: MakeProject, tmp_path: Path) -> Ask:
    """Ask a shell what it offers at the end of a line."""
    project = make_project(FILES)

    def run(shell: str, line: str) -> list[str]:
        if not shutil.which(shell):
            assert os.environ.get("CI") != "true"
            pytest.skip(f"{shell} is not here: ci/setup --tests")
        script, before = {
            "bash": (BASH, ["bash", "-c"]),
            "fish": (FISH, ["fish", "--no-config", "-c"]),
            "zsh": (ZSH, ["zsh", "-f", "-c"]),
        }[shell]
        argv = [*before, script, *([] if shell == "fish" else [shell]), line]
        done = subprocess.run(
            argv,
            cwd=project.root,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "LANG": "C.UTF-8",
                "TERM": "dumb",
                "IMAGEBUILDER_CACHE": str(tmp_path / "cache"),
            },
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [each.strip() for each in done.stdout.splitlines()]

    return run


def test_bash(ask: Ask) -> None:
    assert {"build", "publish", "catalog", "completion"} <= set(ask("bash", "imagebuilder "))
    assert ask("bash", "imagebuilder bui") == ["build"]
    assert ask("bash", "imagebuilder build o") == ["one", "other"]
    assert ask("bash", "imagebuilder build one o") == ["other"]  # not twice
    assert "--check-reproducible" in ask("bash", "imagebuilder build --ch")
    assert ask("bash", "imagebuilder test --accel t") == ["tcg"]
    # A verb below a verb; channels of the project file; a name that the shell must not split.
    assert ask("bash", "imagebuilder catalog pull on") == ["one"]
    assert ask("bash", "imagebuilder promote one --to st") == ["stable"]
    assert ask("bash", "imagebuilder publish --channel la") == [r"late\ night"]
    assert ask("bash", "imagebuilder lint --sarif rec") == ["recipes/"]


def test_bash_where_no_project_is(ask: Ask, tmp_path: Path) -> None:
    assert ask("bash", f"imagebuilder -C {tmp_path} build o") == [""]


def test_fish(ask: Ask) -> None:
    found = [each.split("\t") for each in ask("fish", "imagebuilder bui")]
    assert found == [["build", "Build images."]]  # with the help's words
    assert ask("fish", "imagebuilder build ot") == ["other"]


def test_zsh(ask: Ask) -> None:
    assert "imagebuilder build other" in " ".join(ask("zsh", "imagebuilder build ot"))
