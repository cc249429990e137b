"""``init``, ``import`` and ``schema`` by the command line, and the pages that speak of them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from imagebuilder.cli.main import main
from imagebuilder.recipe import json_schema

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_init_then_list_show_and_lint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "-n", "it's new"]) == 0
    assert "would write" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main(["init", "it's new", "--name", "edge"]) == 0
    assert 'imagebuilder publish edge --catalog "file://$PWD/catalog"' in capsys.readouterr().out
    assert main(["-C", "it's new", "list"]) == 0
    assert capsys.readouterr().out == "edge  debian-12  A live system of our own\n"
    assert main(["init", "it's new"]) == 2
    assert "nothing was written" in capsys.readouterr().err
    # The folder is that of -C, if none is named.
    assert main(["--json", "-C", "other", "init"]) == 0
    made = json.loads(capsys.readouterr().out)["project"]
    assert made["root"] == str(tmp_path / "other")
    assert "recipes/server.toml" in made["files"]


def test_import_says_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipes").mkdir()
    file = tmp_path / "old.ks"
    file.write_text(
        "lang C\n%include gone.ks\nrootpw --plaintext hidden-word\nharddrive --dir=/x "
        "--partition=sda\n"
    )
    assert main(["-C", str(tmp_path), "import", "-n", str(file)]) == 0
    assert "would become the recipe old" in capsys.readouterr().out
    assert main(["-C", str(tmp_path), "import", str(file)]) == 0
    said = capsys.readouterr().out
    assert "is the recipe old, for debian-12" in said
    assert "could not be carried over:\n  kickstarts/imported/old.ks:2: %include gone.ks" in said
    assert "IMAGEBUILDER_SECRET_OLD_ROOTPW" in said
    assert "will not be built as it is:\n  kickstarts/imported/old.ks:4: " in said
    assert "hidden-word" not in said
    args = ["--json", "-C", str(tmp_path), "import", str(file), "--name", "two", "--into", "two"]
    assert main(args) == 0
    made = json.loads(capsys.readouterr().out)["imported"]
    assert [each["kind"] for each in made["remarks"]] == ["left out", "secret"]
    assert [each["where"]["line"] for each in made["refused"]] == [4]
    assert main(["-C", str(tmp_path), "import", str(tmp_path / "no.ks")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


@pytest.mark.parametrize("page", ["start.md", "import.md"])
def test_the_examples_of_the_pages_run(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if page == "import.md":
        assert main(["init", "."]) == 0
    count = 0
    for kind, text in re.findall(
        r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
    ):
        if kind != "sh":
            path = Path(text.splitlines()[0].removeprefix("# "))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            continue
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "cd":
                monkeypatch.chdir(words[1])
            elif words[1] in ("lint", "plan"):
                assert words[2:]  # they ask an index: run by the slow tests
            else:
                assert words[0] == "imagebuilder"
                assert main(words[1:]) == 0, (line, capsys.readouterr().err)
                count += 1
    assert count >= 2
    said = capsys.readouterr().out
    if page == "import.md":
        assert "swordfish" not in said
        fragment = Path("kickstarts/imported/web.ks").read_text()
        assert "docker ps --format '{{.Names}}'\n" in fragment
        assert 'rootpw --plaintext {{ secret("web_rootpw") }}' in fragment
    else:
        assert "imagebuilder/kickstarts" in said or "openvswitch.ks" in said
