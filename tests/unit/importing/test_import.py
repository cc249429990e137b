"""Kickstarts become recipes that mean the same, and nothing is lost or let out on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import MakeProject, written
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.errors import ImageBuilderError, InputError, Location, StepError
from imagebuilder.importing import Imported, import_kickstarts
from imagebuilder.importing.escape import escaped
from imagebuilder.kickstart import Kickstart, compose
from imagebuilder.kickstart.flatten import flatten
from imagebuilder.progress import Cancel, Reporter
from imagebuilder.project import Project
from imagebuilder.template import rendered

CHAIN = {
    "ks/role/web.ks": "# Web servers of the north.\n%include ../common/base.ks\n"
    "%packages\nnginx\n%end\n",
    "ks/common/base.ks": "lang C.UTF-8\n%include deep/er.ks\n%ksappend deep/er.ks\n",
    "ks/common/deep/er.ks": "keyboard us\n",
}


def texts(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for folder in ("recipes", "kickstarts")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }


def flat_of(path: Path) -> list[str]:
    lines = flatten([(path.name, Location(file="x"))], [path.parent], {}, ("*",))
    return [line.text for line in lines]


def composed(project: Project, name: str) -> Kickstart:
    return compose(Project.open(project.root).resolve(name))


def taken(project: Project, tmp_path: Path, text: str | bytes, **more: str) -> Imported:
    file = tmp_path / "some.ks"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    (made,) = import_kickstarts(project, [file], **more)
    return made


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return make_project({"recipes/base.toml": 'distro = "debian-12"\n'})


def test_all_that_is_included_comes_along(project: Project, tmp_path: Path) -> None:
    written(tmp_path, CHAIN)
    (made,) = import_kickstarts(project, [tmp_path / "ks/role/web.ks"])
    assert made.recipe == "web"
    assert set(made.files) == {
        "recipes/web.toml",
        "kickstarts/imported/role/web.ks",
        "kickstarts/imported/common/base.ks",
        "kickstarts/imported/common/deep/er.ks",
    }
    assert made.remarks == ()
    resolved = Project.open(project.root).resolve("web")
    assert resolved.recipe.summary == "Web servers of the north."
    assert [each.text for each in compose(resolved).lines] == [
        "# Web servers of the north.",
        "lang C.UTF-8",
        "keyboard us",
        "keyboard us",
        "%packages",
        "nginx",
        "%end",
    ]


def test_several_share_what_they_include(project: Project, tmp_path: Path) -> None:
    written(tmp_path, {**CHAIN, "ks/role/db.ks": "%include ../common/base.ks\n"})
    files = [tmp_path / f"ks/role/{name}.ks" for name in ("web", "db")]
    made = import_kickstarts(project, files)
    assert [each.recipe for each in made] == ["web", "db"]
    assert "kickstarts/imported/role/web.ks" not in made[1].files
    # What is there already and the same is no obstacle.
    before = texts(project.root)
    import_kickstarts(project, files)
    assert texts(project.root) == before


def test_a_shared_line_has_one_secret(project: Project, tmp_path: Path) -> None:
    written(
        tmp_path,
        {
            "ks/a.ks": "%include common.ks\n",
            "ks/b.ks": "%include common.ks\n",
            "ks/common.ks": "rootpw --plaintext geheim\n",
        },
    )
    made = import_kickstarts(project, [tmp_path / "ks/a.ks", tmp_path / "ks/b.ks"])
    said = [[each.text.split("'")[1] for each in one.remarks] for one in made]
    assert said == [["a_rootpw"], ["a_rootpw"]]
    fragment = texts(project.root)["kickstarts/imported/common.ks"]
    assert fragment == 'rootpw --plaintext {{ secret("a_rootpw") }}\n'


def test_a_file_from_elsewhere_is_found_by_a_new_name(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is below /tmp, as all of this test, would be for the installer to find.
    monkeypatch.setattr("imagebuilder.importing.sources.at_install_time", lambda _: False)
    written(tmp_path, {"lib/x/base.ks": "lang C.UTF-8\n", "lib/y/base.ks": "keyboard us\n"})
    made = taken(
        project, tmp_path, f"%include {tmp_path}/lib/x/base.ks\n%include {tmp_path}/lib/y/base.ks\n"
    )
    assert [each.kind for each in made.remarks] == ["changed", "changed"]
    assert "kickstarts/imported/outside/2-base.ks" in made.files
    assert [c.name for c in composed(project, "some").commands] == ["lang", "keyboard"]


def test_what_cannot_be_had_is_said_and_the_rest_is_there(project: Project, tmp_path: Path) -> None:
    made = taken(
        project,
        tmp_path,
        "lang C.UTF-8\n%include http://me:pass@x/y.ks\n%include gone.ks\n%include /tmp/parts\n"
        "%pre\necho lang C >/tmp/parts\n%end\n",
    )
    left = [each for each in made.remarks if each.kind == "left out"]
    assert [(each.where.line, each.text) for each in left] == [
        (2, "%include http://x/y.ks: it is elsewhere"),
        (3, "%include gone.ks: there is no such file"),
    ]
    assert "pass@" not in str(texts(project.root)) + str(made.to_dict())
    kickstart = composed(project, "some")
    assert [line.where.line for line in kickstart.lines] == [1, 2, 3, 4, 5, 6, 7]
    assert kickstart.lines[3].text == "%include /tmp/parts"
    # What the installer alone could have is the engine's to judge.
    assert [each.where.line for each in made.refused if each.where] == [4]


SECRETS = r"""
rootpw --plaintext "s3cret \"word{"
user --name=alice --password='wonder land' --plaintext
user --name=bob --iscrypted --password=$6$salt$hashhashhash
bootloader --password=grubgrub --append="quiet"
url --url=http://me:p%23ss@mirror/debian
repo --name="the site" --baseurl=http://site/{{ --proxy="http://me:word@proxy:1"
%post
echo root:fromscript | chpasswd
%end
"""


def test_no_password_in_plain_text_comes_into_the_project(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = taken(project, tmp_path, SECRETS)
    text = str(texts(project.root)) + str(made.to_dict())
    for word in ("s3cret", "wonder", "grubgrub", "p%23ss", "p#ss", ":word@"):
        assert word not in text
    names = [each.text.split("'")[1] for each in made.remarks if each.kind == "secret"]
    assert names == [
        "some_rootpw",
        "some_user_alice",
        "some_bootloader",
        "some_url",
        "some_repo_the_site",
    ]
    notes = {each.where.line: each.text for each in made.remarks if each.kind == "note"}
    assert "hash of a password" in notes[4]
    assert "plain text" in notes[9]
    # With the passwords in their places it says what it said.
    values = ('s3cret "word{', "wonder land", "grubgrub", "p#ss", "word")
    for name, value in zip(names, values, strict=True):
        monkeypatch.setenv(f"IMAGEBUILDER_SECRET_{name.upper()}", value)
    resolved = Project.open(project.root).resolve("some")
    kickstart, vault = compose(resolved), resolved.vault()
    by_name = {each.name: each for each in kickstart.commands}
    revealed = vault.reveal_command(by_name["rootpw"].text)
    assert revealed == "rootpw --plaintext 's3cret \"word{'"
    assert vault.reveal_url(by_name["url"].data.url) == "http://me:p%23ss@mirror/debian"
    assert by_name["repo"].data.baseurl == "http://site/{{"
    assert vault.reveal_url(by_name["repo"].data.proxy) == "http://me:word@proxy:1"


def test_one_password_is_one_secret_and_two_are_two(project: Project, tmp_path: Path) -> None:
    made = taken(
        project,
        tmp_path,
        "sshpw --username=a first\nsshpw --username=a second\nsshpw --username=a first\n",
    )
    names = [each.text.split("'")[1] for each in made.remarks]
    assert names == ["some_sshpw_a", "some_sshpw_a_2", "some_sshpw_a"]


def test_encodings_and_line_ends(project: Project, tmp_path: Path) -> None:
    made = taken(project, tmp_path, b"\xef\xbb\xbf# Gr\xc3\xbc\xc3\x9fe\r\nlang C.UTF-8\r\n")
    assert [each.text for each in made.remarks] == ["its lines end as on Unix now"]
    assert texts(project.root)["kickstarts/imported/some.ks"] == "# Grüße\nlang C.UTF-8\n"
    made = taken(project, tmp_path, b"# Gr\xfc\xdfe\nlang C\n", name="latin", into="latin")
    assert "taken for Latin-1" in made.remarks[0].text
    assert texts(project.root)["kickstarts/latin/some.ks"] == "# Grüße\nlang C\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"l\0ang\n", "it has NUL bytes"),
        ("lang C\n".encode("utf-16"), "it has NUL bytes"),
        (b"# x\n" * 300_000, "at most 1 MiB"),
        (b"lang C\nnosuchcommand\n", "not valid for debian-12"),
        (b"%packages\n", "not valid for debian-12"),
        (b"%include some.ks\n", "in a circle"),
        (b"%include\n", "takes one fragment"),
    ],
)
def test_what_is_no_kickstart_is_refused_whole(
    project: Project, tmp_path: Path, data: bytes, message: str
) -> None:
    before = texts(project.root)
    with pytest.raises(InputError, match=message) as caught:
        taken(project, tmp_path, data)
    assert caught.value.where
    assert texts(project.root) == before


def test_special_files_are_refused(project: Project, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.ks")
    for name in ("fifo.ks", ".", "gone.ks"):
        with pytest.raises(InputError, match=r"no file|cannot be read"):
            import_kickstarts(project, [tmp_path / name], name="x")
    (tmp_path / "{{ x }}.ks").write_text("lang C\n")
    with pytest.raises(InputError, match="no name for a fragment"):
        import_kickstarts(project, [tmp_path / "{{ x }}.ks"], name="x")


def test_another_release_takes_it(project: Project, tmp_path: Path) -> None:
    text = "%packages --instLangs=de\n%end\nauth --enableshadow\n"
    with pytest.raises(InputError, match="not valid for debian-13") as caught:
        taken(project, tmp_path, text, distro_id="debian-13")
    assert "valid for: " in caught.value.fix
    assert "rhel-8" in caught.value.fix
    assert taken(project, tmp_path, text).distro != "debian-13"


@pytest.mark.parametrize(
    ("text", "distro_id"),
    [
        ("#version=RHEL9\n", "rhel-9"),
        ("#version=F41\n", "fedora-41"),
        ("url --url=https://repo.almalinux.org/almalinux/10/BaseOS/x86_64/os/\n", "almalinux-10"),
        ("url --url=https://dl.rockylinux.org/pub/rocky/9/BaseOS/x86_64/os\n", "rocky-9"),
        (
            "url --mirrorlist=https://mirrors.fedoraproject.org/mirrorlist?repo=fedora-42&arch=x\n",
            "fedora-42",
        ),
        ('url --url="http://deb.debian.org/debian trixie main"\n', "debian-13"),
        ("# For Rocky Linux\n", "rocky-10"),
        ("lang C\n", "debian-12"),
        ("#version=F12\n", "debian-12"),
    ],
)
def test_the_distribution_is_guessed(
    project: Project, tmp_path: Path, text: str, distro_id: str
) -> None:
    made = taken(project, tmp_path, text)
    assert made.distro == distro_id
    assert made.guessed
    wanted = "direct" if distro_id.startswith("debian") else "livemedia"
    assert Project.open(project.root).resolve(made.recipe).recipe.engine == wanted
    named = taken(project, tmp_path, text, distro_id=distro_id)
    assert (named.distro, named.guessed) == (distro_id, "")


def test_nothing_is_overwritten(project: Project, tmp_path: Path) -> None:
    taken(project, tmp_path, "lang C\n")
    before = texts(project.root)
    with pytest.raises(InputError, match=r"has kickstarts/imported/some.ks already") as caught:
        taken(project, tmp_path, "lang C.UTF-8\n")
    assert "--into" in caught.value.fix
    with pytest.raises(InputError, match=r"recipes/base.toml already"):
        taken(project, tmp_path, "lang C\n", name="base")
    assert texts(project.root) == before


def test_a_dry_run_and_a_stop_write_nothing(project: Project, tmp_path: Path) -> None:
    before = texts(project.root)
    file = tmp_path / "some.ks"
    file.write_text("lang C\n")
    (made,) = import_kickstarts(project, [file], dry_run=True)
    assert made.files == ("recipes/some.toml", "kickstarts/imported/some.ks")
    cancel = Cancel()
    cancel.set("stop")
    with pytest.raises(ImageBuilderError, match="stop"):
        import_kickstarts(project, [file], reporter=Reporter(subject="x", cancel=cancel))
    assert texts(project.root) == before


def test_a_project_that_cannot_be_written_to_is_left_as_it_was(
    project: Project, tmp_path: Path
) -> None:
    (project.root / "kickstarts").mkdir(exist_ok=True)
    (project.root / "kickstarts/imported").write_text("a file")
    with pytest.raises(StepError, match="cannot be written"):
        taken(project, tmp_path, "lang C\n")
    assert "recipes/some.toml" not in texts(project.root)


@pytest.mark.parametrize("into", ["../x", "/abs", "", "a//b", "a b", "a/../b"])
def test_folders_that_are_none(project: Project, tmp_path: Path, into: str) -> None:
    with pytest.raises(InputError, match="is no folder below"):
        taken(project, tmp_path, "lang C\n", into=into)


def test_what_the_project_takes_as_it_stands_is_no_place(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project({"imagebuilder.toml": 'plain = ["imported/*"]\n'})
    with pytest.raises(InputError, match="would be no template"):
        taken(project, tmp_path, "lang C\n")
    assert taken(project, tmp_path, "lang C\n", into="other").recipe == "some"


def test_names_come_from_files(project: Project, tmp_path: Path) -> None:
    for name in ("A b_C.ks", "a-b-c.cfg"):
        (tmp_path / name).write_text("lang C\n")
    (made,) = import_kickstarts(project, [tmp_path / "A b_C.ks"])
    assert made.recipe == "a-b_c" or made.recipe == "a-b-c"
    with pytest.raises(InputError, match="a second recipe would be called"):
        import_kickstarts(project, [tmp_path / "a-b-c.cfg"] * 2)
    with pytest.raises(InputError, match="one name"):
        import_kickstarts(project, [tmp_path / "A b_C.ks", tmp_path / "a-b-c.cfg"], name="x")
    with pytest.raises(InputError, match="no kickstart is named"):
        import_kickstarts(project, [])


def test_a_kickstart_s_name_need_not_end_in_ks(project: Project, tmp_path: Path) -> None:
    (tmp_path / "anaconda-ks.cfg").write_text("lang C.UTF-8\n%include common.cfg\n")
    (tmp_path / "common.cfg").write_text("keyboard us\n")
    (tmp_path / "web").write_text("%include anaconda-ks.cfg\n")
    paths = [tmp_path / "anaconda-ks.cfg", tmp_path / "web"]
    first, second = import_kickstarts(project, paths, distro_id="debian-12")
    assert first.recipe == "anaconda-ks"
    assert "it is called anaconda-ks.ks now" in str(first.remarks)
    assert second.files == (
        "recipes/web.toml",
        "kickstarts/imported/anaconda-ks.ks",
        "kickstarts/imported/common.cfg",
        "kickstarts/imported/web.ks",
    )
    for name in ("anaconda-ks", "web"):
        assert [each.name for each in composed(project, name).commands] == ["lang", "keyboard"]


def test_what_the_engine_says_is_told(project: Project, tmp_path: Path) -> None:
    made = taken(project, tmp_path, "part / --size=1\nreboot\n")
    assert len(made.without_effect) == 2
    assert "kickstarts/imported/some.ks:1" in made.without_effect[0]
    made = taken(project, tmp_path, "harddrive --dir=/x --partition=sda\n", name="y", into="y")
    assert [str(each.where) for each in made.refused] == ["kickstarts/y/some.ks:1"]
    assert made.refused[0].fix


MARKS = ["{{", "}}", "{%", "%}", "{% ", " %}", "{#", "#}", "<#--", "--#>", "raw", "endraw", "{"]
PIECE = st.sampled_from([*MARKS, "{{.State}}", "${x}", "$(y)", "'", '"', "\\", " ", "é", "😀", "a"])
LINE = st.lists(PIECE, max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(LINE)
def test_an_escaped_line_renders_to_itself(line: str) -> None:
    assert rendered(f"a\n{escaped(line)}\nb\n", {}, "x").texts == ("a", line, "b")
    secret = '{{ "secret" }}'
    assert rendered(f"{escaped(line, secret)}{secret}\n", {}, "x").texts == (f"{line}secret",)


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(LINE, max_size=6), comments=st.lists(LINE, max_size=4))
def test_a_kickstart_means_the_same_whatever_its_scripts_hold(
    lines: list[str], comments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("import")
    (root / "project/recipes").mkdir(parents=True)
    file = root / "any.ks"
    body = "\n".join(f"echo {line}" for line in lines)
    file.write_text(
        "\n".join(f"# {line}" for line in comments) + f"\nlang C\n%post\n{body}\n%end\n"
    )
    project = Project.open(root / "project")
    import_kickstarts(project, [file])
    assert [line.text for line in composed(project, "any").lines] == flat_of(file)
