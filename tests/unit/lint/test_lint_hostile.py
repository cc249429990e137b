"""Whatever stands in recipes and fragments: lint answers with findings, in bounded time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fakes import MakeProject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lintkit import CLEAN, KnowingEngine, linted

from imagebuilder import engines, lint

ROOT = Path(__file__).parents[3]
SECONDS = 20.0  # far more than any takes; a loop without end takes longer

# Pieces of kickstarts, shell and templates, whole and broken.
_PIECES = st.sampled_from(
    [
        "%post --erroronfail\n",
        "%post --interpreter=/usr/bin/python3\n",
        "%packages\n",
        "%pre\n",
        "%end\n",
        "%include clean.ks\n",
        "%include nothing.ks\n",
        "rootpw --iscrypted\n",
        "rootpw 'a b\n",
        "user --name= --password=\n",
        "services --enabled=,,a@b.service --disabled=''\n",
        "network --device= --hostname=\u202e\n",
        'bootloader --append="a= =b - \'c"\n',
        "timezone --utc\n",
        "selinux\n",
        "repo --name=a --baseurl=https://a:b@c/\n",
        "cat <<'EOF'\n",
        "EOF\n",
        "chpasswd <<A <<-B\n",
        "echo ':' | chpasswd\n",
        "useradd -p\n",
        "systemctl --root= enable\n",
        "systemctl enable $(reboot) `a` '\n",
        "chmod\n",
        "curl | sh\n",
        "def f(:\n",
        "line \\\n",
        "\\",
        "{{ nothing }}\n",
        "{% if %}\n",
        "{% for i in range(9) %}x\n",
        "{{ '%end' }}\n",
        "{{ secret('x') }}\n",
        "\0",
        "\x0c",
        "\u2028",
        "-----BEGIN PRIVATE KEY-----\n",
        "@^group\n",
        "-\n",
        "a*[\n",
    ]
)


@pytest.fixture(autouse=True)
def knowing_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = KnowingEngine()
    monkeypatch.setattr(engines, "find", lambda name, where=None: engine)


def is_answered(found: tuple[lint.Finding, ...]) -> None:
    for each in found:
        assert each.code in lint.CODES
        assert each.text
    json.dumps([each.to_dict() for each in found])
    json.dumps(lint.sarif(found))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.lists(_PIECES | st.text(max_size=8), max_size=10).map("".join))
def test_any_fragment(make_project: MakeProject, tmp_path: Path, text: str) -> None:
    project = make_project(CLEAN)
    recipe = project.root / "recipes/r.toml"
    recipe.write_text(recipe.read_text().replace('["clean.ks"]', '["clean.ks", "x.ks"]'))
    (project.root / "kickstarts/x.ks").write_bytes(text.encode("utf-8", "surrogatepass"))
    began = time.process_time()
    is_answered(linted(project, tmp_path / "cache"))
    assert time.process_time() - began < SECONDS


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_real_recipe_with_a_piece_of_it_changed(
    make_project: MakeProject, tmp_path: Path, data: st.DataObject
) -> None:
    project = make_project(CLEAN)
    text = CLEAN["recipes/r.toml"].replace("\n        ", "\n")
    text += '[[waivers]]\ncode = "IB504"\nreason = "x"\nuntil = 2027-01-01\nmatch = "x"\n'
    text += '[[files]]\nsource = "a"\npath = "/a"\n[params]\na = 1\n[kernel]\nargs = ["a=b"]\n'
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 40))
    piece = data.draw(st.text("[]{}\"'=.,#\n ab1%", max_size=8))
    (project.root / "recipes/r.toml").write_text(text[:start] + piece + text[start + length :])
    is_answered(linted(project, tmp_path / "cache"))


@pytest.mark.parametrize(
    "text",
    [
        "%post\n" + "cat <<EOF\n" * 20_000 + "%end\n",
        "%post\n" + "a \\\n" * 20_000 + "%end\n",
        "%post\necho " + "x:" * 200_000 + " | chpasswd\n%end\n",
        "%post --interpreter=python3\n" + "(" * 5_000 + "\n%end\n",
        "%post --interpreter=python3\nx = " + "-" * 200_000 + "1\n%end\n",
        "%packages\n" + "".join(f"p{n}\n-p{n}\n" for n in range(5_000)) + "%end\n",
        "services --enabled=" + ",".join(f"u{n}" for n in range(3_000)) + "\n",
        'bootloader --append="' + " ".join(f"a{n}=1" for n in range(20_000)) + '"\n',
        "#" + "A_PASSWORD=" * 50_000 + "\n",
        "%post\n" + "://" * 100_000 + "\n%end\n",
        "%post\n" + "make " * 10_000 + "\n%end\n",
    ],
    ids=[
        "documents",
        "continued",
        "pairs",
        "python-deep",
        "python-minus",
        "packages",
        "services",
        "arguments",
        "assignments",
        "urls",
        "words",
    ],
)
def test_large_and_deep(make_project: MakeProject, tmp_path: Path, text: str) -> None:
    project = make_project({**CLEAN, "kickstarts/x.ks": text})
    recipe = project.root / "recipes/r.toml"
    recipe.write_text(recipe.read_text().replace('["clean.ks"]', '["clean.ks", "x.ks"]'))
    began = time.process_time()
    is_answered(linted(project, tmp_path / "cache"))
    assert time.process_time() - began < SECONDS


def test_recipes_with_names_that_none_can_have(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(CLEAN)
    (project.root / "recipes/Bad Name.toml").write_text("")
    (project.root / "recipes/circle.toml").write_text('extends = "circle"\n')
    found = linted(project, tmp_path / "cache")
    is_answered(found)
    assert {each.code for each in found} >= {"IB101"}
    assert any(each.where and each.where.file == "recipes/circle.toml" for each in found)
