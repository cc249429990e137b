from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import MakeProject

from imagebuilder import command
from imagebuilder.engines import Input
from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import compose
from imagebuilder.kickstart.flatten import Line
from imagebuilder.kickstart.reveal import reveal
from imagebuilder.recipe import SecretSource
from imagebuilder.secrets import Vault, names_in, reference

WHERE = Location(file="kickstarts/a.ks", line=3)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test hides is no secret to the next."""
    monkeypatch.setattr(command, "_hidden_values", set())
    monkeypatch.setattr(command, "_hidden", command.re.compile(""))


def refusal(vault: Vault, name: str = "pw") -> InputError:
    with pytest.raises(InputError) as caught:
        vault.value(name, WHERE)
    assert caught.value.where == WHERE
    return caught.value


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEBUILDER_SECRET_ROOT_PW", "opensesame")
    assert Vault().value("root-pw") == "opensesame"
    monkeypatch.setenv("SITE_PW", "swordfish")
    assert Vault(sources={"x": SecretSource(env="SITE_PW")}).value("x") == "swordfish"


def test_from_a_file_and_a_command_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SecretSource(env="SITE_PW", file="pw.txt", command=("printf", "%s", "of the command"))
    monkeypatch.delenv("SITE_PW", raising=False)

    def value() -> str:
        return Vault(sources={"pw": source}, root=tmp_path).value("pw")

    assert value() == "of the command"
    (tmp_path / "pw.txt").write_text("of the file\n")
    assert value() == "of the file"
    monkeypatch.setenv("SITE_PW", "of the environment")
    assert value() == "of the environment"


def test_a_secret_of_several_lines_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN-----\nabcd\n-----END-----\n")
    vault = Vault(sources={"key": SecretSource(file="key")}, root=tmp_path)
    assert vault.value("key") == "-----BEGIN-----\nabcd\n-----END-----"
    said = SecretSource(command=("cat", "key"))
    assert Vault(sources={"k": said}, root=tmp_path).value("k") == vault.value("key")


def test_it_is_asked_for_once(tmp_path: Path) -> None:
    source = SecretSource(command=("sh", "-c", "echo x >> count; echo a secret"))
    vault = Vault(sources={"pw": source}, root=tmp_path)
    assert [vault.value("pw"), vault.value("pw")] == ["a secret"] * 2
    assert (tmp_path / "count").read_text() == "x\n"


def test_what_cannot_be_had_is_said_without_what_was_found(tmp_path: Path) -> None:
    missing = refusal(Vault())
    assert "the environment variable IMAGEBUILDER_SECRET_PW" in missing.what
    assert "[secrets.pw]" in missing.fix
    failing = SecretSource(command=("sh", "-c", "echo half-of-it; exit 3"))
    error = refusal(Vault(sources={"pw": failing}, root=tmp_path))
    assert "exit status 3" in error.what
    assert "half-of-it" not in str(error)
    absent = SecretSource(command=("/no/such/program",))
    assert "/no/such/program" in refusal(Vault(sources={"pw": absent}, root=tmp_path)).what
    (tmp_path / "short").write_text("abc\n")
    short = refusal(Vault(sources={"pw": SecretSource(file="short")}, root=tmp_path))
    assert "fewer than 4" in short.what
    assert "abc" not in str(short)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0\0")
    binary = refusal(Vault(sources={"pw": SecretSource(file="binary")}, root=tmp_path))
    assert "not UTF-8" in binary.what
    (tmp_path / "long").write_text("x" * (1 << 17))
    assert "64 KiB" in refusal(Vault(sources={"pw": SecretSource(file="long")}, root=tmp_path)).what


@pytest.mark.parametrize("name", ["", "a b", "1a", "a@b", "../x", "a\n"])
def test_names_that_no_secret_has(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a secret"):
        reference(name)


def test_values_take_their_places_on_the_way_to_the_engine() -> None:
    vault = Vault(sources={"a": SecretSource(command=("printf", "%s", "two words; $x '"))})
    lines = [
        Line("rootpw @secret:a@", WHERE),
        Line('user --name=x --password="@secret:a@"', WHERE),
        Line("%post", WHERE),
        Line("echo '%packages' '@secret:a@'", WHERE),
        Line("%end", WHERE),
        Line("# nothing", WHERE),
    ]
    quoted = "'two words; $x '\"'\"''"
    assert [line.text for line in reveal(lines, vault)] == [
        f"rootpw {quoted}",
        f"user --name=x --password={quoted}",
        "%post",
        "echo '%packages' 'two words; $x ''",
        "%end",
        "# nothing",
    ]


def test_several_lines_are_for_sections(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("first line\nsecond line\n")
    vault = Vault(sources={"k": SecretSource(file="k")}, root=tmp_path)
    script = [Line(text, WHERE) for text in ("%post", "cat <<E", "@secret:k@", "E", "%end")]
    assert [line.text for line in reveal(script, vault)] == [
        "%post",
        "cat <<E",
        "first line",
        "second line",
        "E",
        "%end",
    ]
    with pytest.raises(InputError, match="has several lines"):
        reveal([Line("rootpw @secret:k@", WHERE)], vault)
    (tmp_path / "end").write_text("first\n %end of it\n%post\nrm -rf /\n")
    vault = Vault(sources={"k": SecretSource(file="end")}, root=tmp_path)
    with pytest.raises(InputError, match="would end the section"):
        reveal(script, vault)


def test_a_known_secret_is_masked_wherever_it_is_written(tmp_path: Path) -> None:
    vault = Vault(sources={"a": SecretSource(command=("printf", "%s", "s3cr'et/x"))})
    vault.value("a")
    log = tmp_path / "log"
    result = command.run(
        ["sh", "-xc", """echo "s3cr'et/x" https://u:s3cr%27et%2Fx@host/"""], timeout=10, log=log
    )
    for text in (result.stdout, result.stderr, log.read_text(), command.redact("s3cr'et/x")):
        assert "s3cr" not in text
        assert "****" in text


def test_the_kickstart_that_is_saved_never_had_it(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_SECRET_PW", "opensesame")
    project = make_project(
        {
            "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
            "kickstarts/a.ks": 'rootpw --plaintext {{ secret("pw") }}\n'
            "%post\necho root:{{ secret('pw') }} | chpasswd\n%end\n",
        }
    )
    resolved = project.resolve("r")
    kickstart = compose(resolved)
    for text in (
        kickstart.text,
        kickstart.redacted(),
        json.dumps(kickstart.to_dict()),
        repr(resolved),
    ):
        assert "opensesame" not in text
    assert names_in(kickstart.text) == ("pw",)
    revealed = "\n".join(line.text for line in reveal(kickstart.lines, resolved.vault()))
    assert revealed.count("opensesame") == 2


def test_a_filter_on_a_secret_is_refused(make_project: MakeProject) -> None:
    project = make_project(
        {
            "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
            "kickstarts/a.ks": "lang C.UTF-8\nrootpw {{ secret('pw') | upper }}\n",
        }
    )
    with pytest.raises(InputError, match="a filter is applied") as caught:
        compose(project.resolve("r"))
    assert str(caught.value.where) == "kickstarts/a.ks:2"


@pytest.mark.parametrize(
    "text",
    [
        "[kernel]\nargs = [\"pw={{ secret('pw') }}\"]\n",
        "[[checks]]\ncommand = \"echo {{ secret('pw') }}\"\n",
        "packages = [\"{{ secret('pw') }}\"]\n",
    ],
)
def test_what_is_published_has_no_secrets(make_project: MakeProject, text: str) -> None:
    project = make_project({"recipes/r.toml": f'distro = "debian-12"\n{text}'})
    with pytest.raises(InputError, match="this is published"):
        project.resolve("r")


def test_the_recipes_own_source_goes_before_the_projects(make_project: MakeProject) -> None:
    project = make_project(
        {
            "imagebuilder.toml": '[secrets.a]\ncommand = ["echo", "of the project"]\n'
            '[secrets.b]\ncommand = ["echo", "of the project too"]\n',
            "recipes/r.toml": 'distro = "debian-12"\n[secrets.a]\ncommand = ["echo", "its own"]\n',
        }
    )
    vault = project.resolve("r").vault()
    assert (vault.value("a"), vault.value("b")) == ("its own", "of the project too")


def test_ids_follow_from_a_secret_and_do_not_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def inputs(value: str) -> tuple[Input, ...]:
        monkeypatch.setenv("IMAGEBUILDER_SECRET_PW", value)
        return Input.of_text("%post", "echo @secret:pw@", "a script", Vault())

    first, again, other = inputs("opensesame"), inputs("opensesame"), inputs("opensesami")
    assert first == again
    assert [each.kind for each in first] == ["%post", "secret"]
    assert first[0] == other[0]
    assert first[1].digest != other[1].digest
    assert first[1].digest != Input.of("secret", "pw=opensesame").digest  # it is slow to guess
