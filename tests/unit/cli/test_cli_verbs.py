"""The verbs as they are typed: what is refused, what is shown, and the program itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clikit import FILES, Cli, listing
from fakes import MakeProject

from imagebuilder.cli.main import main
from imagebuilder.sizes import human_size

# ----- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ("build", "nosuch"),
        ("build", "../base"),
        ("build", "base", "nosuch"),
        ("build",),
        ("plan",),
        ("test", "nosuch"),
        ("show", "nosuch"),
        ("show", "base", "--why", "nosuch"),
        ("publish", "base"),
        ("publish", "base", "--catalog", "nosuch://x"),
        ("publish", "base", "--catalog", "s3://"),
        ("catalog", "ls"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_wrong_with_a_command_line(cli: Cli, argv: tuple[str, ...], as_json: bool) -> None:
    before = listing(cli.project.root)
    verb, *rest = argv
    if verb == "catalog":
        assert main(["catalog", *rest, *(["--json"] if as_json else [])]) == 2
        return
    assert cli(verb, *rest, *(["--json"] if as_json else [])) == 2
    assert listing(cli.project.root) == before
    if as_json:
        (error,) = cli.data("error")
        assert (error["kind"], error["exit_status"]) == ("input", 2)
        assert error["fix"]
        assert cli.err == ""
    else:
        assert cli.err.startswith("error: ")
        assert cli.out == ""


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nosuch"],
        ["build", "--nosuch"],
        ["build", "-j", "0", "base"],
        ["build", "-j", "many", "base"],
        ["show"],
        ["catalog", "pull", "base"],
        ["catalog", "show", "base", "--channel", "a", "--version", "b"],
    ],
)
def test_what_the_parser_refuses(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "_count" not in capsys.readouterr().err


def test_no_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "-C", str(tmp_path / "nosuch")]) == 2
    assert "-C DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["build", "--help"],
        ["show", "--help"],
        ["catalog", "--help"],
        ["catalog", "pull", "--help"],
        ["--version"],
    ],
)
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 0
    assert "imagebuilder" in capsys.readouterr().out


def test_help_says_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for status in ("0 done", "1 a step", "2 the recipe", "3 a smoke", "4 the catalog", "130"):
        assert status in out


# ----- looking ------------------------------------------------------------------------------------


def test_list(cli: Cli) -> None:
    assert cli("list") == 0
    assert cli.out.splitlines() == ["base  debian-12  the base", "leaf  debian-12  the base"]
    assert cli("list", "--json") == 0
    same = {
        "distro": "debian-12",
        "arch": "x86_64",
        "engine": "direct",
        "matrix": {},
        "abstract": False,
        "summary": "the base",
    }
    assert cli.data("recipe") == [
        {"name": "base", "extends": [], **same},
        {"name": "leaf", "extends": ["base"], **same},
    ]


def test_list_of_nothing(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "-C", str(make_project().root)]) == 0
    assert capsys.readouterr().out == ""


def test_options_before_the_verb(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-C", str(cli.project.root), "--json", "list"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["recipe"]["name"] == "base"


def test_show(cli: Cli) -> None:
    assert cli("show", "leaf") == 0
    assert "base → leaf" in cli.out
    assert "timezone Etc/UTC" in cli.out
    assert "geheim" not in cli.out
    assert cli("show", "leaf", "--json") == 0
    (recipe,) = cli.data("recipe")
    assert recipe["lineage"] == ["base", "leaf"]
    assert recipe["kernel"]["args"] == ["quiet", "debug"]
    assert "geheim" not in cli.out


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("kernel.args.1", ['recipes/leaf.toml:4: kernel.args.1 = "debug"']),
        ("summary", ['recipes/base.toml:1: summary = "the base"']),
        ("timezone", ["kickstarts/a.ks:1: timezone UTC", "kickstarts/b.ks:1: timezone Etc/UTC"]),
        ("rootpw", ["kickstarts/a.ks:2: rootpw --plaintext ********"]),
        ("%post", ["kickstarts/b.ks:6: %post"]),
        (
            "packages.bash",
            ["kickstarts/a.ks:4: wanted: bash", "kickstarts/b.ks:3: taken out: bash"],
        ),
    ],
)
def test_show_says_which_line_gave_a_value(cli: Cli, key: str, expected: list[str]) -> None:
    assert cli("show", "leaf", "--why", key) == 0
    lines = [line for line in cli.out.splitlines() if not line.startswith(" ")]
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines
    assert cli("show", "leaf", "--why", key, "--json") == 0
    assert len(cli.data("origin")) == len(expected)


def program(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "imagebuilder.cli", *argv], stderr=subprocess.PIPE, **options
    )


# ----- as a program -------------------------------------------------------------------------------


def test_a_reader_that_has_gone(make_project: MakeProject) -> None:
    root = make_project(FILES).root
    read, write = os.pipe()
    os.close(read)
    with program("-C", str(root), "show", "leaf", stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert err == b""


def test_as_a_program(make_project: MakeProject) -> None:
    root = make_project(FILES).root
    with program("list", "--json", cwd=root, stdout=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert [json.loads(line)["recipe"]["name"] for line in out.splitlines()] == ["base", "leaf"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (141_200_000, "141.2 MB"), (2e15, "2000.0 TB")],
)
def test_sizes(size: float, text: str) -> None:
    assert human_size(size) == text
