from __future__ import annotations

import io
import json
import sys

import pytest

from imagebuilder.cli.output import Output
from imagebuilder.errors import StepError
from imagebuilder.progress import Event


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(kind: str, **more: object) -> Event:
    return Event(kind=kind, subject="base", step="packages", **more)  # type: ignore[arg-type]


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show = Output(as_json=False).observer()
    show(event("started", text="installing"))
    for n in range(100):
        show(event("progress", done=n, total=100, unit="steps"))
    show(event("finished", seconds=2.0))
    show(event("note", text="look"))
    show(event("reused", text="nothing changed"))
    show(event("failed", seconds=1.0))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "base: packages: installing",
        "base: packages: done in 2.0 s",
        "base: packages: look",
        "base: packages: up to date: nothing changed",
        "base: packages: failed after 1.0 s",
    ]


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    out = Output(as_json=False)
    show = out.observer()
    show(event("started", text="installing"))
    show(event("progress", done=50, total=100, unit="steps", text="bash"))
    show(event("note", text="look"))
    show(event("finished", seconds=2.0))
    show(event("started", text="again"))
    out.close()
    text = terminal.getvalue()
    assert "base: packages" in text
    assert "50%" in text
    assert "look" in text
    assert "done in 2.0 s" in text


def test_each_image_has_one_bar_whatever_of_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    out = Output(as_json=False)
    show = out.observer()

    def lines() -> int:
        return len(out._bars)

    def of(subject: str, kind: str, step: str) -> Event:
        return Event(kind=kind, subject=subject, step=step, seconds=1.0)  # type: ignore[arg-type]

    show(of("base", "started", "initrd"))
    show(of("base", "started", "rootfs"))
    assert lines() == 1
    show(of("leaf", "started", "packages"))
    assert lines() == 2
    show(of("base", "finished", "initrd"))
    assert lines() == 2
    show(of("base", "failed", "rootfs"))
    assert lines() == 1
    show(of("leaf", "finished", "packages"))
    assert lines() == 0
    assert "base: initrd and rootfs" in terminal.getvalue()


def test_json_has_everything_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=True)
    out.say("for people")
    out.observer()(event("progress", done=1, total=2))
    out.data("pulled", {"path": "ä"})
    out.error(StepError("it failed"), "base")
    stdout, stderr = capsys.readouterr()
    lines = [json.loads(line) for line in stdout.splitlines()]
    assert [next(iter(line)) for line in lines] == ["event", "pulled", "error"]
    assert lines[2]["error"] == StepError("it failed").to_dict() | {"recipe": "base"}
    assert stderr == ""


def test_quiet_says_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=False, quiet=True)
    out.say("x")
    out.table([["a", "b"]])
    out.data("image", {})
    out.observer()(event("started"))
    out.error(StepError("it failed"))
    assert capsys.readouterr() == ("", "error: it failed\n")


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=False)
    out.table([])
    out.table([["a", "long", ""], ["longer", "b", "c"]])
    assert capsys.readouterr().out == "a       long\nlonger  b     c\n"


def test_no_control_character_reaches_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=False)
    out.error(StepError("Unknown command: \x1b[31mevil\x9b0m\r\u202e"))
    out.say("a\tb\nç → \x07")
    shown, said = capsys.readouterr()
    assert said == "error: Unknown command: \\x1b[31mevil\\x9b0m\\r\\u202e\n"
    assert shown == "a\tb\nç → \\x07\n"
