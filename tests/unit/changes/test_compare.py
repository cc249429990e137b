"""How images differ, thing by thing, in lines and in Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from history import commit, git

from imagebuilder.changes import Difference, compare_recipes, find_changes, words
from imagebuilder.cli.main import main
from imagebuilder.errors import InputError
from imagebuilder.lockfile import LockFile
from imagebuilder.project import Project

FRAGMENT = """\
lang C.UTF-8
rootpw --plaintext first-password
user --name=al --groups=wheel --password=second-password --plaintext
network --device=eth0 --bootproto=dhcp
network --device=eth1 --bootproto=dhcp
services --enabled=sshd
firewall --enabled --port=22:tcp
bootloader --append="quiet"
repo --name=site --baseurl=https://me:third-password@mirror.example/x
%packages
vim
-nano
%end
%post
echo one
echo two
%end
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "recipes/a.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
        "recipes/b.toml": 'extends = "a"\n[[files]]\nsource = "motd"\npath = "/etc/motd"\n',
        "kickstarts/a.ks": FRAGMENT,
        "motd": "hello\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch=main", ".")
    commit(tmp_path)
    return tmp_path


def edit(root: Path, *pairs: tuple[str, str]) -> None:
    path = root / "kickstarts/a.ks"
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def told(root: Path, name: str = "a") -> list[str]:
    found = find_changes(Project.open(root), in_detail=True)
    return [str(each) for image in found.images if image.name == name for each in image.differences]


def test_these_four_things_and_no_others(root: Path) -> None:
    edit(root, ("vim\n", "vim\nhtop\n"), ("quiet", "quiet debug"), ("=sshd", "=sshd,chrony"))
    (root / "motd").write_text("good day\n")
    assert told(root, "b") == [
        "+ kernel argument debug",
        "+ package htop",
        "+ unit chrony: enabled",
        "~ file /etc/motd: its content → another content",
    ]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("vim\n", "", ["- package vim"]),
        ("-nano", "nano", ["~ package nano: not wanted → yes"]),
        ("--enabled=sshd", "--disabled=sshd", ["~ unit sshd: enabled → disabled"]),
        ("22:tcp", "22:tcp,80:tcp", ["+ port 80:tcp: open"]),
        (
            "lang C.UTF-8",
            "lang de_DE.UTF-8",
            ["~ kickstart command lang: C.UTF-8 → de_DE.UTF-8"],
        ),
        (
            "eth1 --bootproto=dhcp",
            "eth1 --noipv4",
            ["~ kickstart command network eth1: --device=eth1 --bootproto=dhcp → "
             "--device=eth1 --noipv4"],
        ),
        ("--groups=wheel", "--groups=wheel,adm", None),
        ("echo two\n", "echo three\n", ["~ script %post of kickstarts/a.ks"]),
        ("lang C.UTF-8", "lang  C.UTF-8   # the same", []),
        ("vim\n", "# an editor\nvim\n", []),
    ],
)  # fmt: skip
def test_each_kind(root: Path, old: str, new: str, wanted: list[str] | None) -> None:
    edit(root, (old, new))
    found = told(root)
    if wanted is None:
        (one,) = found
        assert one.startswith("~ user al: ")
    else:
        assert found == wanted


def test_secrets_are_compared_and_never_shown(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(
        root,
        ("first-password", "fourth-password"),
        ("second-password", "fifth-password"),
        ("third-password", "sixth-password"),
    )
    found = told(root)
    assert [each.rpartition(":")[0] for each in found[:1]] == ["~ kickstart command rootpw"]
    assert found[0].endswith(": another")
    assert any(each.startswith("~ user al") for each in found)
    for argv in (["diff", "--since", "HEAD"], ["diff", "--since", "HEAD", "--json"]):
        assert main(["-C", str(root), *argv]) == 0
    out = capsys.readouterr().out
    assert "al" in out
    for number in ("first", "second", "third", "fourth", "fifth", "sixth"):
        assert f"{number}-password" not in out


def test_a_check_is_told_by_its_title(root: Path) -> None:
    with (root / "recipes/a.toml").open("a") as file:
        file.write(
            '[[checks]]\nname = "it answers"\ncommand = """\nping host\nping other\n"""\n'
            '[[checks]]\nunit = "ssh.service"\n'
        )
    of_a = next(
        each for each in find_changes(Project.open(root), in_detail=True).images if each.name == "a"
    )
    assert [(str(each), each.detail) for each in of_a.differences] == [
        ("+ check it answers", "+command: ping host\n+ping other"),
        ("+ check unit ssh.service active", ""),
    ]
    commit(root)
    path = root / "recipes/a.toml"
    path.write_text(path.read_text().replace("ping other", "ping another"))
    of_a = next(
        each for each in find_changes(Project.open(root), in_detail=True).images if each.name == "a"
    )
    assert [(str(each), each.detail) for each in of_a.differences] == [
        ("~ check it answers", " command: ping host\n-ping other\n+ping another"),
    ]


def test_copied_files_show_their_lines(root: Path) -> None:
    (root / "motd").write_text("hello\nfleet\n")
    (found,) = find_changes(Project.open(root), in_detail=True).images[0].differences
    assert found.detail == " hello\n+fleet"
    commit(root)
    (root / "motd").write_text("bye\n")
    commit(root)
    changes = find_changes(Project.open(root), since="HEAD~1", to="HEAD", in_detail=True)
    assert changes.images[0].differences[0].detail == "-hello\n-fleet\n+bye"
    (root / "motd").chmod(0o755)
    assert told(root, "b") == ["~ file /etc/motd: mode 0644 → mode 0755"]
    (root / "motd").write_bytes(b"\xff\0")
    assert told(root, "b") == ["~ file /etc/motd: mode 0644 → mode 0755, another content"]
    git(root, "checkout", "--quiet", "motd")
    (root / "motd").write_text("http://me:hidden@host/\n")
    (found,) = find_changes(Project.open(root), in_detail=True).images[0].differences
    assert "+http://host/" in found.detail


def test_a_file_that_is_copied_anew_is_shown(root: Path) -> None:
    (root / "issue").write_text("welcome\n")
    with (root / "recipes/a.toml").open("a") as file:
        file.write('[[files]]\nsource = "issue"\npath = "/etc/issue"\n')
    (found,) = find_changes(Project.open(root), in_detail=True).images[0].differences
    assert (str(found), found.detail) == (
        "+ file /etc/issue: issue its own mode root:root",
        "+welcome",
    )


def test_of_a_copied_folder_each_file_is_told(root: Path) -> None:
    (root / "recipes/b.toml").write_text(
        'extends = "a"\n[[files]]\nsource = "conf/"\npath = "/etc/conf"\n'
    )
    (root / "conf").mkdir()
    (root / "conf/one").write_text("1\n")
    commit(root)
    (root / "conf/one").unlink()
    (root / "conf/two words").write_text("2\n")
    assert told(root, "b") == [
        "- file /etc/conf/one: copied",
        "+ file /etc/conf/two words: copied",
    ]


def test_scripts_that_only_moved_are_the_same(root: Path) -> None:
    text = (root / "kickstarts/a.ks").read_text()
    head, _, script = text.partition("%post\n")
    (root / "kickstarts/a.ks").write_text(f"{head}%include b.ks\n")
    (root / "kickstarts/b.ks").write_text(f"%post\n{script}")
    assert find_changes(Project.open(root), in_detail=True).images == ()
    commit(root)
    (root / "kickstarts/b.ks").write_text(f"%post\n{script}%post\nx\n%end\n")
    (found,) = find_changes(Project.open(root), in_detail=True).images[0].differences
    assert str(found) == "+ script %post of kickstarts/b.ks"
    assert found.detail.splitlines()[-1] == "+x"
    commit(root)
    (root / "kickstarts/b.ks").write_text(f"%post\nx\n%end\n%post\n{script}")
    assert told(root) == ["~ script (their order): another"]


def lock(root: Path, **packages: tuple[str, str]) -> None:
    """Write a lock file for recipe ``a``: versions and where they are from."""
    made = LockFile.model_validate(
        {
            "recipe": "a",
            "distro": "debian-12",
            "arch": "amd64",
            "made": "2026-01-02T03:04:05Z",
            "sources": [],
            "wishes": {
                "packages": [], "weak_dependencies": True, "ignore_missing": False, "default": True,
            },
            "asked": [],
            "packages": [
                {
                    "name": name, "version": version, "arch": "amd64", "size": 1,
                    "sha256": "0" * 64, "origin": f"Debian:12/{suite}",
                }
                for name, (version, suite) in sorted(packages.items())
            ],
        }
    )  # fmt: skip
    (root / "recipes/a.lock.json").write_text(made.to_json())


def test_a_lock_file_says_versions(root: Path) -> None:
    with (root / "recipes/a.toml").open("a") as file:
        file.write("locked = true\n")
    lock(root, vim=("1", "stable"), ssl=("1", "stable"), tz=("2", "stable"), old=("1", "stable"))
    commit(root)
    lock(
        root, vim=("2", "stable"), ssl=("2", "stable-security"), tz=("1", "stable"),
        new=("1", "stable"),
    )  # fmt: skip
    assert told(root) == [
        "+ package new: 1",
        "- package old: 1",
        "~ package ssl: 1 → 2 (security)",
        "~ package tz: 2 → 1 (a step back)",
        "~ package vim: 1 → 2",
    ]
    commit(root)
    edit(root, ("vim\n", "vim\nhtop\n"), ("quiet", "quiet debug"))
    lock(
        root, vim=("2", "stable"), ssl=("2", "stable"), tz=("1", "stable"), new=("1", "stable"),
        htop=("3", "stable"), libnl=("4", "stable"),
    )  # fmt: skip
    assert told(root) == [
        "+ package htop: 3",
        "+ package libnl: 4 (along with others)",
        "+ kernel argument debug",
    ]
    (root / "recipes/a.lock.json").write_text("{")
    assert told(root) == ["+ kernel argument debug", "+ package htop"]


def test_two_recipes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project.open(root)
    assert compare_recipes(project, "a", "a") == ()
    (found,) = compare_recipes(project, "a", "b")
    assert found == Difference(
        kind="file", name="/etc/motd", new="motd its own mode root:root", where=found.where
    )
    with pytest.raises(InputError, match="no recipe 'gone'"):
        compare_recipes(project, "a", "gone")
    assert main(["-C", str(root), "diff", "a", "b"]) == 0
    said = capsys.readouterr().out
    assert said == ("a → b\n  + file /etc/motd: motd its own mode root:root  (recipes/b.toml:2)\n")
    assert main(["-C", str(root), "diff", "a", "b", "-q"]) == 1
    assert main(["-C", str(root), "diff", "b", "b", "-q"]) == 0
    assert main(["-C", str(root), "diff", "a"]) == 2


def test_markdown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["-C", str(root), "diff", "--since", "HEAD", "--format", "markdown"]
    assert main(command) == 0
    assert capsys.readouterr().out == "**No effective change: no image differs.**\n"
    edit(root, ("vim\n", "vim\nhtop\n"), ("echo two\n", "echo '```</details>'\n"))
    (root / "recipes/c.toml").write_text('extends = "gone"\n')
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "**3 images are affected.**" in said
    assert "#### `a`, `b`\n" in said  # what is alike stands together
    assert "- `+ package htop`" in said
    assert "  ````diff\n" in said  # longer than what is in it
    assert "#### `c` (broken)" in said
    assert "because of `kickstarts/a.ks`" in said


def test_a_page_of_a_change(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["-C", str(root), "diff", "--since", "HEAD", "--format", "html"]
    assert main(command) == 0
    assert "No effective change." in capsys.readouterr().out
    edit(root, ("vim\n", "vim\n<b>htop\n"))
    (root / "recipes/c.toml").write_text('extends = "gone"\n')
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "&lt;b&gt;htop" in said
    assert "3 images are affected." in said
    assert "because of kickstarts/a.ks</p>" in said
    assert "there is no recipe &#39;gone&#39;" in said
    assert main(["-C", str(root), "diff", "a", "b", "--format", "html"]) == 0
    assert "/etc/motd" in capsys.readouterr().out
    assert main(["-C", str(root), "diff", "a", "b", "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("#### `a` → `b`\n\n- `+ file /etc/motd")


def test_names_are_shown_as_they_are() -> None:
    each = Difference(kind="check", name="a `b` | <img src=x>", new="yes")
    assert words.code(str(each)) == "``+ check a `b` | <img src=x>``"


def test_a_comment_is_bounded(root: Path) -> None:
    edit(root, ("vim\n", "".join(f"package-{n}-with-a-long-name\n" for n in range(4000))))
    made = words.markdown(find_changes(Project.open(root), in_detail=True))
    assert len(made) < 65_536
    assert "too long for a comment" in made


def test_only_some_of_the_images(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(root, ("vim\n", "vim\nhtop\n"))
    assert main(["-C", str(root), "diff", "b", "--since", "HEAD", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["diff"]
    assert [each["name"] for each in data["images"]] == ["b"]
    assert data["images"][0]["differences"][0]["kind"] == "package"
