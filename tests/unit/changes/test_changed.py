"""Which images a change affects: against all recipes rendered, and kind by kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from brute import affected, images
from history import History, commit, git

from imagebuilder.changes import find_changes, github_matrix, gitlab_pipeline, grouped, sides
from imagebuilder.cli.main import main
from imagebuilder.errors import InputError
from imagebuilder.kickstart import flat_lines
from imagebuilder.project import Project


@pytest.mark.parametrize("seed", range(2))
def test_it_is_what_rendering_everything_says(tmp_path: Path, seed: int) -> None:
    history = History(tmp_path, recipes=20, fragments=14, seed=seed)
    project = Project.open(tmp_path)
    before = images(project)
    kinds: set[str] = set()
    for n in range(20):
        kinds.add(history.step())
        project = Project.open(tmp_path)
        after = images(project)
        wanted, removed = affected(before, after)
        found = find_changes(project, since="HEAD~1", to="HEAD" if n % 10 == 9 else "")
        shown = git(tmp_path, "show", "--stat", "HEAD")
        assert {each.name for each in found.images} == wanted, shown
        assert set(found.removed) == removed, shown
        for each in found.images:
            assert each.reasons, shown
            assert all(reason.path in found.paths for reason in each.reasons)
        before = after
    assert len(kinds) > 9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project in a repository: recipe b extends a, which has a fragment that includes one."""
    files = {
        "recipes/a.toml": 'distro = "debian-12"\nkickstarts = ["role/a.ks"]\n[params]\nx = 1\n',
        "recipes/b.toml": 'extends = "a"\n[kernel]\nargs = ["quiet"]\n'
        '[[files]]\nsource = "files/conf"\npath = "/etc/conf"\n',
        "recipes/c.toml": 'distro = "debian-13"\nkickstarts = ["c.ks"]\n',
        "kickstarts/role/a.ks": "%include net/n.ks\n%post\necho {{ x }}\n%end\n",
        "kickstarts/net/n.ks": "%packages\nvim\n%end\n",
        "kickstarts/c.ks": "%packages\nvim\n%end\n",
        "files/conf/one": "1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch=main", ".")
    commit(tmp_path)
    return tmp_path


def said(root: Path, **how: Any) -> dict[str, list[str]]:
    """Return each affected image with its effect and reasons in words."""
    found = find_changes(Project.open(root), **how)
    return {each.name: [each.effect, *map(str, each.reasons)] for each in found.images}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


WAY = ", included by kickstarts/role/a.ks, named by recipes/a.toml"


def test_nothing_changed(root: Path) -> None:
    found = find_changes(Project.open(root))
    assert (found.images, found.removed, found.paths) == ((), (), ())


def test_a_fragment_has_its_way_in(root: Path) -> None:
    edit(root / "kickstarts/net/n.ks", "vim", "nano")
    why = ["image", f"kickstarts/net/n.ks{WAY}"]
    assert said(root) == {"a": why, "b": why}


def test_a_key_of_a_parent_is_named(root: Path) -> None:
    edit(root / "recipes/a.toml", "x = 1", "x = 2")
    assert said(root) == {
        "a": ["image", "recipes/a.toml (params.x)"],
        "b": ["image", "recipes/a.toml (params.x), extended by recipes/b.toml"],
    }


def test_a_key_that_is_taken_out_is_named(root: Path) -> None:
    (root / "recipes/b.toml").write_text('extends = "a"\n[remove]\nkickstarts = ["role/a.ks"]\n')
    assert said(root) == {"b": ["image", "recipes/b.toml (files, kernel, kickstarts)"]}


def test_another_parent(root: Path) -> None:
    edit(root / "recipes/b.toml", 'extends = "a"', 'extends = "c"')
    ((name, (effect, reason)),) = said(root).items()
    assert (name, effect) == ("b", "image")
    assert reason.startswith("recipes/b.toml (")
    assert "extends" in reason


def test_what_is_rendered_to_the_same_is_not_affected(root: Path) -> None:
    edit(root / "recipes/a.toml", "x = 1", "x   =  1 # one\nunused = 5")
    git(root, "mv", "kickstarts/net/n.ks", "kickstarts/net/m.ks")
    edit(root / "kickstarts/role/a.ks", "net/n.ks", "net/m.ks <#-- moved --#>")
    (root / "kickstarts/nobody.ks").write_text("lang C\n")
    (root / "files/other").write_text("2\n")
    assert said(root) == {}
    commit(root)
    assert said(root, since="HEAD~1") == {}


def test_checks_alone(root: Path) -> None:
    with (root / "recipes/c.toml").open("a") as file:
        file.write('[[checks]]\nunit = "x.service"\n')
    assert said(root) == {"c": ["tests", "recipes/c.toml (checks)"]}


def test_scripts_and_waivers_of_checks(root: Path) -> None:
    with (root / "recipes/c.toml").open("a") as file:
        file.write('[[checks]]\nscript = "checks/disk.sh"\n')
    (root / "checks").mkdir()
    (root / "checks/disk.sh").write_text("true\n")
    commit(root)
    (root / "checks/disk.sh").write_text("false\n")
    assert said(root) == {"c": ["tests", "checks/disk.sh, run by recipes/c.toml"]}
    commit(root)
    waiver = '[[waivers]]\n{} = "{}"\nreason = "r"\nuntil = 2099-01-01\n'
    with (root / "recipes/c.toml").open("a") as file:
        file.write(waiver.format("code", "IB104"))
    assert said(root) == {}
    with (root / "recipes/c.toml").open("a") as file:
        file.write(waiver.format("check", "script checks/disk.sh"))
    assert said(root) == {"c": ["tests", "recipes/c.toml (waivers)"]}


def test_copied_files(root: Path) -> None:
    (root / "files/conf/two words").write_text("2\n")
    why = "files/conf/two words, added, copied by recipes/b.toml"
    assert said(root) == {"b": ["image", why]}
    commit(root)
    (root / "files/conf/one").chmod(0o755)
    assert said(root) == {"b": ["image", "files/conf/one, copied by recipes/b.toml"]}
    (root / "files/conf/one").unlink()
    assert said(root) == {"b": ["image", "files/conf/one, deleted, copied by recipes/b.toml"]}


def test_what_is_copied_by_a_link(root: Path) -> None:
    (root / "store/v1").mkdir(parents=True)
    (root / "store/v1/conf").write_text("1\n")
    (root / "files/now").symlink_to("../store/v1")
    (root / "recipes/d.toml").write_text(
        'extends = "c"\n[params]\nwhich = "now"\n'
        '[[files]]\nsource = "files/{{ which }}/conf"\npath = "/x"\n'
    )
    (root / "recipes/e.toml").write_text(
        'extends = "c"\n[[files]]\nsource = "files/now/conf"\npath = "/x"\n'
    )
    commit(root)
    (root / "store/v1/conf").write_text("2\n")
    wanted = {
        name: ["image", f"store/v1/conf, copied by recipes/{name}.toml"] for name in ("d", "e")
    }
    assert said(root) == wanted
    commit(root)
    assert said(root, since="HEAD~1", to="HEAD") == wanted
    (root / "files/now").unlink()
    (root / "files/now").symlink_to("../files")
    assert set(said(root)) == {"d", "e"}


def test_recipes_and_fragments_that_are_links(root: Path) -> None:
    (root / "shared").mkdir()
    (root / "shared/d").write_text('extends = "c"\n[kernel]\nargs = ["a"]\n')
    (root / "recipes/d.toml").symlink_to("../shared/d")
    (root / "kickstarts/other.ks").symlink_to("c.ks")
    (root / "recipes/e.toml").write_text('distro = "debian-12"\nkickstarts = ["other.ks"]\n')
    commit(root)
    edit(root / "shared/d", '"a"', '"b"')
    assert said(root) == {"d": ["image", "shared/d"]}
    commit(root)
    assert set(said(root, since="HEAD~1", to="HEAD")) == {"d"}
    edit(root / "kickstarts/c.ks", "vim", "nano")
    assert set(said(root)) == {"c", "d", "e"}


def test_lock_files_count_where_they_hold(root: Path) -> None:
    (root / "recipes/c.lock.json").write_text("{}")
    assert said(root) == {}
    edit(root / "recipes/c.toml", 'distro = "debian-13"', 'distro = "debian-13"\nlocked = true')
    commit(root)
    (root / "recipes/c.lock.json").write_text("{ }")
    assert said(root) == {"c": ["image", "recipes/c.lock.json"]}


def test_the_project_file(root: Path) -> None:
    (root / "imagebuilder.toml").write_text('channel = "beta"\n')
    assert said(root) == {}
    line = "deb http://mirror.example/debian trixie main"
    (root / "imagebuilder.toml").write_text(f'[mirrors]\ndebian-13 = ["{line}"]\n')
    assert said(root) == {"c": ["image", "imagebuilder.toml (mirrors.debian-13), added"]}
    commit(root)
    (root / "imagebuilder.toml").write_text("nothing = [")
    with pytest.raises(InputError, match="cannot be read"):
        said(root)
    commit(root)
    (root / "imagebuilder.toml").write_text("")
    assert set(said(root)) == {"a", "b", "c"}  # what it was before cannot be told


def test_new_renamed_and_removed(root: Path) -> None:
    (root / "recipes/d.toml").write_text('extends = "c"\n')
    git(root, "mv", "recipes/b.toml", "recipes/e.toml")
    git(root, "rm", "--quiet", "recipes/a.toml", "--force")
    edit(root / "recipes/e.toml", 'extends = "a"', 'extends = "c"')
    commit(root)
    found = find_changes(Project.open(root), since="HEAD~1")
    assert [(each.name, each.effect, each.renamed_from) for each in found.images] == [
        ("d", "new", ""),
        ("e", "new", "b"),
    ]
    assert found.removed == ("a", "b")


def test_what_is_wrong_now_is_told_once(root: Path) -> None:
    edit(root / "kickstarts/role/a.ks", "net/n.ks", "net/gone.ks")
    found = find_changes(Project.open(root))
    assert [(each.name, each.effect) for each in found.images] == [("a", "broken"), ("b", "broken")]
    error = found.images[0].error
    assert error
    assert str(error.where) == "kickstarts/role/a.ks:1"
    assert str(found.images[0].reasons[0]) == "kickstarts/role/a.ks, named by recipes/a.toml"
    commit(root)
    edit(root / "kickstarts/net/n.ks", "vim", "nano")
    assert said(root) == {}  # as wrong as before
    edit(root / "kickstarts/role/a.ks", "net/gone.ks", "net/n.ks")
    assert set(said(root)) == {"a", "b"}


def test_variants_of_a_matrix(root: Path) -> None:
    text = 'kickstarts = ["{{ matrix.flavour }}.ks"]\ndistro = "debian-12"\n'
    (root / "recipes/m.toml").write_text(f'{text}[matrix]\nflavour = ["one", "two"]\n')
    (root / "recipes/n.toml").write_text('extends = "m-two"\n')
    for name in ("one", "two"):
        (root / f"kickstarts/{name}.ks").write_text("lang C\n")
    commit(root)
    edit(root / "kickstarts/two.ks", "lang C", "lang de_DE.UTF-8")
    found = said(root)
    assert set(found) == {"m-two", "n"}
    assert found["m-two"] == ["image", "kickstarts/two.ks, named by recipes/m.toml"]


def test_a_fragment_put_before_one_of_ours(root: Path) -> None:
    (root / "recipes/s.toml").write_text('extends = "imagebuilder/base"\n')
    commit(root)
    before = find_changes(Project.open(root)).images
    name = next(
        block.file
        for block in flat_lines(Project.open(root).resolve("s")).blocks
        if block.file.startswith("kickstarts/")
    )
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("lang C\n")
    assert not before
    assert set(said(root)) == {"s"}


def test_what_others_did_to_the_branch_does_not_count(root: Path) -> None:
    git(root, "checkout", "--quiet", "-b", "mine")
    edit(root / "kickstarts/c.ks", "vim", "nano")
    commit(root)
    git(root, "checkout", "--quiet", "main")
    edit(root / "recipes/a.toml", "x = 1", "x = 3")
    commit(root)
    git(root, "checkout", "--quiet", "mine")
    assert set(said(root, since="main")) == {"c"}
    assert set(said(root, since="mine", to="main")) == {"a", "b"}


def test_a_project_in_a_folder_of_a_repository(root: Path, tmp_path_factory: Any) -> None:
    whole = tmp_path_factory.mktemp("whole")
    inside = whole / "infra" / "päth with spaces"
    inside.parent.mkdir()
    shutil.copytree(root, inside, ignore=shutil.ignore_patterns(".git"))
    (whole / "elsewhere").write_text("x")
    git(whole, "init", "--quiet", "--initial-branch=main", ".")
    commit(whole)
    (whole / "elsewhere").write_text("y")
    assert said(inside) == {}
    edit(inside / "kickstarts/c.ks", "vim", "nano")
    assert said(inside) == {"c": ["image", "kickstarts/c.ks, named by recipes/c.toml"]}


def test_paths_from_somebody_else(root: Path) -> None:
    shutil.rmtree(root / ".git")
    why = ["image", f"kickstarts/net/n.ks{WAY}"]
    assert said(root, files=["./kickstarts/net/n.ks"]) == {"a": why, "b": why}
    assert set(said(root, files=[str(root / "recipes/c.toml"), "files/x"])) == {"c"}
    assert said(root, files=["README"]) == {}
    with pytest.raises(InputError, match="not below the project"):
        said(root, files=["/etc/passwd"])
    with pytest.raises(InputError, match="in no git repository"):
        said(root)


def test_what_git_does_not_know(root: Path, tmp_path_factory: Any) -> None:
    with pytest.raises(InputError, match="knows no commit 'gone'"):
        said(root, since="gone")
    with pytest.raises(InputError, match="knows no commit"):
        said(root, since="--output=/tmp/x")
    for n in range(3):
        edit(root / "recipes/a.toml", "[params]", f"[params]\ny{n} = 1")
        commit(root)
    shallow = tmp_path_factory.mktemp("shallow")
    git(shallow, "clone", "--quiet", "--depth=1", f"file://{root}", "clone")
    first = git(root, "rev-parse", "HEAD~3")
    with pytest.raises(InputError, match="shallow clone") as caught:
        said(shallow / "clone", since=first)
    assert "git fetch --unshallow" in caught.value.fix
    git(root, "checkout", "--quiet", "--orphan", "other")
    commit(root)
    with pytest.raises(InputError, match="no commit in common"):
        said(root, since="main")


def test_nothing_stays_behind_and_what_did_goes(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("memory")
    monkeypatch.setattr(sides, "_IN_MEMORY", str(place))
    left, used, foreign = (place / f"{sides._PREFIX}{name}" for name in ("left", "used", "link"))
    (left / "project").mkdir(parents=True)
    used.mkdir()
    foreign.symlink_to(root)
    edit(root / "kickstarts/c.ks", "vim", "nano")
    with sides._locked(used):
        assert set(said(root)) == {"c"}
    assert sorted(place.iterdir()) == [foreign, used]
    assert (root / "recipes").is_dir()
    monkeypatch.setattr(sides, "_IN_MEMORY", "/dev/full")  # where nothing can be made
    assert set(said(root)) == {"c"}


def test_groups_share_their_packages(root: Path) -> None:
    (root / "recipes/d.toml").write_text('extends = "a"\npackages = ["nano"]\n')
    (root / "recipes/e.toml").write_text('extends = "gone"\n')
    project = Project.open(root)
    found = grouped(project, ["e", "d", "c", "b", "a"], 20)
    assert [each.images for each in found] == [("a", "b"), ("c",), ("d",), ("e",)]
    few = grouped(project, ["e", "d", "c", "b", "a"], 2)
    assert sorted(name for each in few for name in each.images) == ["a", "b", "c", "d", "e"]
    assert len(few) == 2
    assert any({"a", "b"} <= set(each.images) for each in few)
    assert grouped(project, [], 5) == ()
    matrix = github_matrix(found)
    assert matrix["include"][0] == {"group": 1, "title": "a and 1 more", "images": "a b"}
    pipeline = gitlab_pipeline(found, "ci/image.yml", ".image")
    assert pipeline["include"] == [{"local": "ci/image.yml"}]
    assert pipeline["images 1: a and 1 more"]["variables"] == {"IMAGES": "a b"}
    assert "script" in gitlab_pipeline((), "", ".image")["nothing"]


def test_the_command(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(root / "kickstarts/c.ks", "vim", "nano")
    monkeypatch.chdir(root)
    assert main(["changed"]) == 0
    assert capsys.readouterr().out == "c: kickstarts/c.ks, named by recipes/c.toml\n"
    assert main(["changed", "--format", "names"]) == 0
    assert capsys.readouterr().out == "c\n"
    assert main(["changed", "--format", "github"]) == 0
    assert json.loads(capsys.readouterr().out)["include"][0]["images"] == "c"
    assert main(["changed", "--format", "gitlab", "--include", "x.yml"]) == 0
    assert json.loads(capsys.readouterr().out)["images 1: c"]["extends"] == ".imagebuilder"
    assert main(["changed", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["changed"]
    assert data["images"][0]["reasons"][0]["via"] == [
        {"file": "recipes/c.toml", "line": 2, "key": "kickstarts.0"}
    ]
    assert main(["changed", "-q"]) == 1
    assert main(["changed", "-q", "--since", "main", "--to", "main"]) == 0
    assert capsys.readouterr().out == ""
