"""What CI systems read in our lines, and what they must not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject
from hypothesis import example, given
from hypothesis import strategies as st

from imagebuilder.cli.ci_log import Annotation, GitHubLog, GitLabLog, log_of, repository_path
from imagebuilder.cli.main import main
from imagebuilder.cli.output import Output
from imagebuilder.engines import Request
from imagebuilder.errors import InputError, Location, StepError

HOSTILE = "100% a,b:c::d\r\n::error file=x::y ##[add-mask]z"


def commands(line: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Read a line as the runner of GitHub Actions does: both forms of its commands."""

    def plain(text: str, *, value: bool = False) -> str:
        pairs = [("%0D", "\r"), ("%0A", "\n")] + ([("%3A", ":"), ("%2C", ",")] if value else [])
        for code, sign in pairs:
            text = text.replace(code, sign)
        return text.replace("%25", "%")

    found = re.match(r"::([\w-]+)(?: ([^\n]*?))?::(.*)", line.lstrip(), re.DOTALL)
    if found:
        given = (each.partition("=") for each in (found[2] or "").split(",") if each)
        yield (
            found[1],
            {key: plain(value, value=True) for key, _, value in given},
            plain(found[3]),
        )
    else:
        yield from ((each, {}, "") for each in re.findall(r"##\[([\w-]+)", line))


def all_commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    return [each for line in text.split("\n") for each in commands(line)]


def test_which_system_runs_us(tmp_path: Path) -> None:
    assert type(log_of({"GITHUB_ACTIONS": "true"}, tmp_path)) is GitHubLog
    assert type(log_of({"GITLAB_CI": "true"}, tmp_path)) is GitLabLog
    other = log_of({"CI": "true"}, tmp_path)
    assert other.begin("x") == other.end() == other.annotation(
        Annotation(level="error", title="t", text="x")
    ) == ""  # fmt: skip
    assert other.harmless(HOSTILE) == HOSTILE


def test_an_annotation_is_read_as_it_was_meant(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "images, a:b").mkdir()
    (tmp_path / "images, a:b/100%.ks").write_text("")
    log = GitHubLog(tmp_path / "images, a:b")
    line = log.annotation(
        Annotation(
            level="warning", title=HOSTILE, text=HOSTILE, where=Location(file="100%.ks", line=7)
        )
    )
    assert "\n" not in line
    assert list(commands(line)) == [
        ("warning", {"file": "images, a:b/100%.ks", "line": "7", "title": HOSTILE}, HOSTILE)
    ]


def test_paths_start_at_the_repository(tmp_path: Path) -> None:
    project = tmp_path / "work/fleet"
    (project / "kickstarts").mkdir(parents=True)
    (project / "kickstarts/a.ks").write_text("")
    assert repository_path(project, "kickstarts/a.ks") is None  # in no repository
    (tmp_path / "work/.git").write_text("gitdir: elsewhere")  # as in a work tree
    assert repository_path(project, "kickstarts/a.ks") == "fleet/kickstarts/a.ks"
    assert repository_path(project, str(project / "kickstarts/a.ks")) == "fleet/kickstarts/a.ks"
    assert repository_path(project, "../fleet/kickstarts/a.ks") == "fleet/kickstarts/a.ks"
    for none in (
        "kickstarts/gone.ks",
        "s3://bucket/index.json",
        "<recipe x>",
        "a\0b",
        "kickstarts",
    ):
        assert repository_path(project, none) is None


@given(st.text(alphabet=st.sampled_from(" \t\n\r:#[]abe-%"), max_size=40))
@example("  ::error::x\n##[warning]x")
@example("\r::error::x")
@example("\x0b::error::x")
def test_what_others_wrote_is_no_command(text: str) -> None:
    assert all_commands(GitHubLog(Path()).harmless(text)) == []


def test_what_others_wrote_is_no_command_in_any_output(capsys: pytest.CaptureFixture[str]) -> None:
    text = "::set-output name=x::1\n  ::add-mask::a\nfrom a guest: ##[stop-commands]x"
    for as_json in (True, False):
        out = Output(as_json=as_json, ci_log=GitHubLog(Path()))
        out.say(text)
        out.data("pulled", {"path": text})
        out.error(StepError(text, excerpt=text))
        out, err = capsys.readouterr()
        assert all_commands(out) == []
        assert [each[0] for each in all_commands(err)] == ["error"]
        for line in out.splitlines() if as_json else ():
            assert text in json.dumps(json.loads(line)).encode().decode("unicode_escape")


def test_sections_of_gitlab(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=False, ci_log=GitLabLog())
    with out.group("röle a\x1b/b"):
        out.say("\x1b[0Ksection_end:1:x\r\x1b[0K")
    said, err = capsys.readouterr()
    begin, end, _ = err.split("\n")
    found = re.fullmatch(
        r"\x1b\[0Ksection_start:\d{10}:([\w.-]+)\[collapsed=true\]\r\x1b\[0K(.*)", begin
    )
    assert found
    assert re.fullmatch(rf"\x1b\[0Ksection_end:\d{{10}}:{re.escape(found[1])}\r\x1b\[0K", end)
    assert "\x1b" not in found[2]
    assert "\x1b" not in said  # a section that others end


def test_errors_of_a_recipe(
    make_project: MakeProject, fake_engine: FakeEngine, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    toml = 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
    project = make_project(
        {"recipes/r.toml": toml, "recipes/s.toml": toml, "kickstarts/a.ks": "timezone UTC\n"}
    )
    (tmp_path / ".git").mkdir()
    at = ["-C", str(project.root)]
    assert main([*at, "build", "r", "s"]) == 0
    err = capsys.readouterr().err
    assert [each[::2] for each in all_commands(err)] == [
        ("group", "r"), ("endgroup", ""), ("group", "s"), ("endgroup", ""),
    ]  # fmt: skip
    # Several at a time: their lines are mixed.
    assert main([*at, "build", "-B", "-j2", "r", "s"]) == 0
    assert all_commands(capsys.readouterr().err) == []

    def fail(request: Request, into: Path) -> None:
        raise StepError("it broke", where=Location(file="kickstarts/a.ks", line=1), fix="mend it")

    fake_engine.before_make = fail
    assert main([*at, "build", "-B", "r"]) == 1
    err = capsys.readouterr().err
    group, end, error = all_commands(err)
    # What went wrong stands outside of what folds.
    assert (group[0], end[0]) == ("group", "endgroup")
    where = {"file": "project/kickstarts/a.ks", "line": "1", "title": "imagebuilder: r"}
    assert error == ("error", where, "it broke\nmend it")
    # All that is wrong has an annotation of its own; with --json too, and not among the results.
    make_project({"kickstarts/a.ks": "\nnonsense\nlang\n"})
    assert main([*at, "--json", "build", "r"]) == 2
    out, err = capsys.readouterr()
    found = [
        (each[1]["file"], each[1].get("line")) for each in all_commands(err) if each[0] == "error"
    ]
    assert ("project/kickstarts/a.ks", "2") in found
    assert all(list(json.loads(line)) for line in out.splitlines())


def test_findings_of_lint(
    make_project: MakeProject, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    files = {
        "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
        "kickstarts/a.ks": "timezone UTC\n\nnonsense\n",
        "kickstarts/unused.ks": "timezone UTC\n",
    }
    project = make_project(files)
    (project.root / ".git").mkdir()
    status = main(["-C", str(project.root), "lint", "--all", "--offline"])
    assert status == InputError.exit_status
    found = {
        (level, at.get("file"), at.get("line"))
        for level, at, _ in all_commands(capsys.readouterr().err)
    }
    assert ("error", "kickstarts/a.ks", "3") in found
    assert any(file == "kickstarts/unused.ks" for level, file, _ in found if level != "error")
