"""``[[files]]`` and ``preseed``: what is refused before all work, and what comes into the tree."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import MakeProject, written

from imagebuilder.engines.direct import files, preseed
from imagebuilder.engines.direct.files import Copy
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import InputError, StepError
from imagebuilder.project import ResolvedRecipe
from imagebuilder.secrets import Vault

HEAD = 'distro = "debian-12"\nparams.name = "World"\n'


@pytest.fixture
def resolved(make_project: MakeProject) -> Callable[..., ResolvedRecipe]:
    def make(more: str, sources: dict[str, str] | None = None) -> ResolvedRecipe:
        project = make_project({"recipes/r.toml": HEAD + more, **(sources or {})})
        return project.resolve("r")

    return make


Resolved = Callable[..., ResolvedRecipe]


def entry(source: str, path: str, more: str = "") -> str:
    return f'[[files]]\nsource = "{source}"\npath = "{path}"\n{more}\n'


def copies(resolved: ResolvedRecipe) -> tuple[Copy, ...]:
    return tuple(copy for _, _, each in files.find(resolved) for copy in each)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    written(
        root,
        {
            "etc/passwd": f"root:x:0:0::/root:/bin/sh\nme:x:{os.getuid()}:{os.getgid()}::/:\n",
            "etc/group": f"root:x:0:\nus:x:{os.getgid()}:\n",
            "usr/lib/there": "old",
        },
    )
    (root / "lib").symlink_to("usr/lib")
    return Tree(root=root, log=tmp_path / "log", epoch=0)


def test_a_folder_is_copied_in_order_with_modes_and_links(
    resolved: Resolved, tree: Tree, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    written(project, {"f/b/two": "2", "f/a": "1", "f/run": "#!/bin/sh\n"})
    (project / "f/run").chmod(0o700)
    (project / "f/link").symlink_to("/etc/passwd")
    found = copies(resolved(entry("f", "/lib/x", 'owner = "me:us"')))
    assert [(each.path, each.kind, f"{each.mode:o}") for each in found] == [
        ("/lib/x", "folder", "755"),
        ("/lib/x/a", "file", "644"),
        ("/lib/x/b", "folder", "755"),
        ("/lib/x/b/two", "file", "644"),
        ("/lib/x/link", "link", "0"),
        ("/lib/x/run", "file", "755"),
    ]
    files.copy_all(tree, found)
    assert (tree.root / "usr/lib/x/b/two").read_text() == "2"
    assert os.readlink(tree.root / "usr/lib/x/link") == "/etc/passwd"
    assert (tree.root / "usr/lib/x/run").stat().st_mode & 0o777 == 0o755
    assert (tree.root / "lib").is_symlink()


def test_a_link_of_the_image_does_not_lead_out_of_it(
    resolved: Resolved, tree: Tree, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree.root / "data").symlink_to(outside)
    (tree.root / "file").symlink_to(outside / "target")
    text = entry("a", "/data/x/a", 'owner = "me:us"') + entry("a", "/file", 'owner = "me:us"')
    files.copy_all(tree, copies(resolved(text, {"a": "1"})))
    assert list(outside.iterdir()) == []
    assert (tree.root / "file").read_text() == "1"
    assert tree.read("/data/x/a") == "1"


def test_templates_know_the_recipe_s_values(resolved: Resolved, tree: Tree) -> None:
    more = 'template = true\nmode = "0600"\nowner = "me"'
    made = resolved(entry("t", "/etc/t", more), {"t": "Hello {{ name }}\n{{ recipe }}\n"})
    (copy,) = copies(made)
    assert copy.text == "Hello World\nr\n"
    files.copy_all(tree, (copy,))
    assert tree.read("/etc/t") == copy.text
    assert (tree.root / "etc/t").stat().st_mode & 0o777 == 0o600


def test_a_secret_comes_into_the_text_only_on_its_way(
    resolved: Resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_SECRET_KEY", "geheimnis")
    made = resolved(entry("t", "/etc/t", "template = true"), {"t": "k={{ secret('key') }}\n"})
    (copy,) = copies(made)
    assert "geheimnis" not in copy.identity()
    assert copy.revealed(Vault()).text == "k=geheimnis\n"


def test_what_an_entry_follows_from(resolved: Resolved, tmp_path: Path) -> None:
    def said(more: str = "", text: str | None = "1") -> list[str]:
        sources = {} if text is None else {"a": text}
        return [each.identity() for each in copies(resolved(entry("a", "/a", more), sources))]

    first = said()
    os.utime(tmp_path / "project/a", (1, 1))
    assert said(text=None) == first
    (tmp_path / "project/a").write_text("2")
    os.utime(tmp_path / "project/a", (1, 1))
    assert said(text=None) != first
    assert said(text="22") != first
    assert said('mode = "0600"') != first
    assert said('owner = "x"') != first


@pytest.mark.parametrize(
    ("source", "path", "what"),
    [
        ("nosuch", "/a", "there is no file"),
        ("out", "/a", "leads out of the project"),
        ("out/passwd", "/a", "leads out of the project"),
        ("pipes", "/a", "no file, folder or link"),
        ("pipes/pipe", "/a", "no file, folder or link"),
        ("a", "/run/a", "would not be seen"),
        ("a", "/tmp/x/a", "would not be seen"),
    ],
)
def test_sources_that_cannot_be(
    resolved: Resolved, tmp_path: Path, source: str, path: str, what: str
) -> None:
    project = tmp_path / "project"
    written(project, {"a": "1", "pipes/x": ""})
    (project / "out").symlink_to("/etc")
    os.mkfifo(project / "pipes/pipe")
    with pytest.raises(InputError, match=what) as caught:
        files.find(resolved(entry(source, path)))
    assert str(caught.value.where) == "recipes/r.toml:3 (files.0)"


def test_all_that_is_wrong_is_said_at_once(resolved: Resolved) -> None:
    with pytest.raises(InputError) as caught:
        files.find(resolved(entry("a", "/a") + entry("b", "/b")))
    assert len(caught.value.also) == 1


def test_too_much(resolved: Resolved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LARGEST", 3)
    with pytest.raises(InputError, match="copies more than"):
        files.find(resolved(entry("a", "/a"), {"a": "1234"}))
    monkeypatch.setattr(files, "_LARGEST_TEMPLATE", 3)
    with pytest.raises(InputError, match="a template has at most"):
        files.find(resolved(entry("a", "/a", "template = true"), {"a": "1234"}))


@pytest.mark.parametrize(
    ("more", "path", "what"),
    [
        ('owner = "nobody"', "/a", "no user 'nobody'"),
        ('owner = "me:nogroup"', "/a", "no group 'nogroup'"),
        ('owner = "me"', "/usr/lib", "a folder of the image"),
        ('owner = "me"', "/usr/lib/there/a", "cannot be copied"),
    ],
)
def test_what_the_image_does_not_take(
    resolved: Resolved, tree: Tree, more: str, path: str, what: str
) -> None:
    with pytest.raises(StepError, match=what) as caught:
        files.copy_all(tree, copies(resolved(entry("a", path, more), {"a": "1"})))
    assert str(caught.value.where) == "recipes/r.toml:3 (files.0)"


def test_a_file_that_changes_meanwhile_fails_the_build(
    resolved: Resolved, tree: Tree, tmp_path: Path
) -> None:
    found = copies(resolved(entry("a", "/a", 'owner = "me"'), {"a": "1"}))
    (tmp_path / "project/a").write_text("2")
    with pytest.raises(StepError, match="changed while"):
        files.copy_all(tree, found)


# ----- preseed ------------------------------------------------------------------------------------


def test_answers(resolved: Resolved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEBUILDER_SECRET_PW", "geheimnis")
    made = resolved(
        """
        preseed = [
          "tzdata  tzdata/Areas select   Etc",
          "a a/pw password plainword",
          "a a/other password {{ secret('pw') }}",
          "d-i d-i/x boolean true",
          "a a/x seen false",
          "a a/empty string",
        ]
        """
    )
    answers = preseed.answers(made)
    text = preseed.selections(answers, made.vault())
    assert text.splitlines() == [
        "tzdata tzdata/Areas select Etc",
        "a a/pw password plainword",
        "a a/other password geheimnis",
        "d-i d-i/x boolean true",
        "a a/x seen false",
        "a a/empty string",
    ]
    assert preseed.passwords(answers) == ("plainword",)
    (note,) = preseed.notes(answers)
    assert "d-i/x has no effect" in note
    inputs = [*preseed.inputs(answers, made.vault())]
    assert "plainword" not in repr(inputs)
    assert "geheimnis" not in repr(inputs)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("tzdata tzdata/Areas choice Etc", "no type of question"),
        ("tzdata Areas select Etc", "no question of debconf"),
        ("a a/b boolean yes", "neither true nor false"),
        ("a a/b seen 1", "neither true nor false"),
    ],
)
def test_answers_that_are_none_have_their_line(resolved: Resolved, line: str, what: str) -> None:
    made = resolved(f'preseed = [\n"a a/x string y",\n"{line}",\n]\n')
    with pytest.raises(InputError, match=what) as caught:
        preseed.answers(made)
    assert str(caught.value.where) == "recipes/r.toml:5 (preseed.1)"
