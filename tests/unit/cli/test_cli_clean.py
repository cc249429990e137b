"""``doctor --clean`` lists, asks, removes; what it finds is tested with the engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from imagebuilder.cli.main import main
from imagebuilder.engines.livemedia import leftovers
from imagebuilder.engines.livemedia.leftovers import Leftover

FOUND = (
    Leftover(kind="mount", name="/mnt/sysimage", text="/dev/loop7"),
    Leftover(kind="folder", name="/var/tmp/lmc-work-1", text="its files", kept="it has results"),
)


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was removed; the second is found to be in use after all."""
    gone: list[str] = []

    def remove(wanted: Iterable[Leftover]) -> Iterator[Leftover]:
        for each in wanted:
            gone.append(each.name)
            yield replace(each, kept="it is busy") if "busy" in each.text else each

    monkeypatch.setattr(leftovers, "find", lambda tops: FOUND)
    monkeypatch.setattr(leftovers, "remove", remove)
    return gone


def test_without_a_terminal_it_lists_and_removes_nothing(
    removed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--clean"]) == 0
    said = capsys.readouterr().out
    assert "mount  /mnt/sysimage" in said
    assert "stays: it has results" in said
    assert "with --yes it is" in said
    assert removed == []


def test_yes_removes_what_may_be(removed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--clean", "--yes", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [next(iter(line)) for line in lines] == ["leftover", "leftover", "removed"]
    assert removed == ["/mnt/sysimage"]


def test_what_cannot_be_removed_is_a_failure(
    removed: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "find", lambda tops: (replace(FOUND[0], text="busy"),))
    assert main(["doctor", "--clean", "--yes"]) == 1
    assert "not removed: /mnt/sysimage: it is busy" in capsys.readouterr().out


def test_nothing_is_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "find", lambda tops: ())
    assert main(["doctor", "--clean"]) == 0
    assert "nothing is to be removed" in capsys.readouterr().out
