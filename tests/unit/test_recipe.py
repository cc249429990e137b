from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from imagebuilder.checks import CommandCheck, FileCheck, NoFailedUnitsCheck, PortCheck, UnitCheck
from imagebuilder.declaration import declare, read, validate
from imagebuilder.errors import InputError, Location
from imagebuilder.names import check_name
from imagebuilder.recipe import Recipe


def refusal(folder: Path, text: str | bytes, name: str = "r.toml") -> InputError:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError) as caught:
        read(path, f"recipes/{name}")
    return caught.value


def test_an_unknown_key_is_named_with_its_line_and_those_that_are_known(tmp_path: Path) -> None:
    error = refusal(tmp_path, 'summary = "x"\n\n[kernel]\nargs = []\narg = ["a"]\n')
    assert error.where == Location(file="recipes/r.toml", line=5, key="kernel.arg")
    assert "'arg'" in error.what
    assert error.fix == "known here are: args"


def test_an_unknown_key_at_the_top(tmp_path: Path) -> None:
    error = refusal(tmp_path, 'distros = "debian-12"\n')
    assert error.where == Location(file="recipes/r.toml", line=1, key="distros")
    assert "distro, " in error.fix
    assert "name" not in error.fix


def test_an_unknown_key_of_a_check(tmp_path: Path) -> None:
    error = refusal(tmp_path, '[[checks]]\nunit = "a.service"\nstatus = 1\n')
    assert error.where == Location(file="recipes/r.toml", line=3, key="checks.0.status")
    assert "state" in error.fix


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    error = refusal(tmp_path, "distro = 12\n[image]\ncompression = 'zip'\n[smoke]\ncpus = 0\n")
    found = [error, *error.also]
    assert [each.where.line for each in found if each.where] == [1, 3, 5]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('kickstarts = "a.ks"\n', 1, "kickstarts"),
        ('[kernel]\nargs = ["a", "||", "chain"]\n', 2, "ends the command"),
        ('[kernel]\nargs = [\n"a=${net0/mac}"]\n', 3, "names a setting"),
        ('[kernel]\nargs = [\n"a",\n"b c",\n]\n', 4, "one word"),
        ('kickstarts = [\n"a.ks",\n"../b.ks"]\n', 3, "below kickstarts/"),
        ('kickstarts = ["/b.ks"]\n', 1, "below kickstarts/"),
        ('kickstarts = ["b.txt"]\n', 1, "ends in .ks"),
        ("[params]\n1a = 1\n", 2, "1a"),
        ("[image]\ncompression = 'xz'\ncompression_level = 3\n", 1, "takes no level"),
        ("[image]\ncompression = 'gzip'\ncompression_level = 10\n", 1, "takes 1 to 9"),
        ("[image]\ncompression = 'gzip'\nsmall_level = 10\n", 1, "takes 1 to 9"),
        ("[image]\nfilesystem = 'ext4'\n", 2, "filesystem"),
        (
            "[image]\nfilesystem = 'erofs'\ncompression = 'gzip'\n",
            1,
            "erofs is made with lz4, zstd, xz here",
        ),
        (
            "[image]\nfilesystem = 'erofs'\ncompression = 'lz4'\ncompression_level = 13\n",
            1,
            "takes 1 to 12",
        ),
        ("[[checks]]\nunit = 'ssh.service'\n[[checks]]\nname = 'x'\n", 3, "one of the keys unit"),
        ("[[checks]]\nunit = 'ssh'\n", 2, "full name"),
        ("[[checks]]\nport = 0\n", 2, "port"),
        ("[[checks]]\nfile = 'etc/x'\n", 2, "file"),
        ("[[checks]]\nfile = '/x'\nmode = '999'\n", 3, "mode"),
        ("[smoke]\nboot_timeout = 0\n", 2, "boot_timeout"),
        ("extends = 'a/../b'\n", 1, "extends"),
        ("checks = 3\n", 1, "checks"),
        ("params = []\n", 1, "params"),
        ("a = 1\na = 2\n", 2, "not valid TOML"),
        ("a = [\n1,\n", 2, "not valid TOML"),
        ("name = 'other'\n", 1, "that of its file"),
    ],
)
def test_each_wrong_value_has_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    error = refusal(tmp_path, text)
    assert what in error.what
    assert error.where
    assert (error.where.file, error.where.line) == ("recipes/r.toml", line)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    assert "UTF-8" in refusal(tmp_path, b"summary = '\xff'").what
    assert "1 MiB" in refusal(tmp_path, b"#" * (1 << 20) + b"\n").what
    assert refusal(tmp_path, "a = " + "[" * 50_000 + "]" * 50_000).exit_status == 2
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match="a recipe is a file"):
        read(tmp_path / "folder.toml", "x")


@pytest.mark.parametrize(
    "name",
    ["../a", "a/b", "", ".a", "-a", "A", "a\n", "a b", "a" * 64, "ä", "a\0", "a\\b", "..", "a:b"],
)
def test_names_that_no_recipe_has(name: str) -> None:
    with pytest.raises(InputError, match="no recipe name"):
        check_name(name)
    with pytest.raises(ValidationError):
        Recipe(name=name)
    with pytest.raises(ValidationError):
        Recipe(name="a", extends=name)


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=70))
def test_what_is_a_name_stays_in_its_folder(name: str) -> None:
    try:
        check_name(name)
    except InputError:
        return
    path = Path("/build") / name
    assert path.parent == Path("/build")
    assert path.name == name
    assert Recipe(name=name).name == name


@pytest.mark.parametrize("name", ["a", "debian-12.1", "x86_64+kvm", "9", "a" * 63])
def test_names(name: str) -> None:
    assert check_name(name) == name


def test_a_recipe_made_in_python_gets_the_same_checks() -> None:
    with pytest.raises(ValidationError, match="one word"):
        Recipe(name="a", kernel={"args": ["a b"]})  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Recipe(name="a", distros="debian-12")  # type: ignore[call-arg]
    unchecked = Recipe.model_construct(name="a", kickstarts=("../x.ks",))
    with pytest.raises(InputError) as caught:
        validate(declare(unchecked))
    assert caught.value.where
    assert caught.value.where.file == "<recipe a>"


def test_json_and_back() -> None:
    recipe = Recipe(
        name="a",
        distro="debian-12",
        params={"bridges": ["br0"], "deep": {"a": None}},
        checks=(
            UnitCheck(unit="a.service", enabled=True),
            CommandCheck(command="true", status=3),
            FileCheck(file="/a", exists=False),
            PortCheck(port=53, protocol="udp"),
            NoFailedUnitsCheck(no_failed_units=True, allow=("b.service",)),
        ),
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert [each.kind for each in recipe.checks] == [
        "unit",
        "command",
        "file",
        "port",
        "no_failed_units",
    ]
    assert [each.title for each in recipe.checks] == [
        "unit a.service active",
        "command true",
        "no file /a",
        "port 53/udp",
        "no failed units",
    ]
    assert PortCheck(port=1, name="my own").title == "my own"


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b'\xef\xbb\xbfdistro = "debian-12"\r\nsummary = "x"\r\n')
    found = read(path, "recipes/r.toml")
    assert found.data == {"distro": "debian-12", "summary": "x"}
    assert found.origins["summary"].line == 2
