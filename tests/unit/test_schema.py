"""The JSON Schema of recipe files, as editors use it, takes what the models take."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(json.loads((ROOT / "docs/schemas/recipe.json").read_text()))


def as_json(text: str) -> Any:
    return json.loads(json.dumps(tomllib.loads(text), default=str))  # dates are strings there


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_our_own_recipes_are_valid(path: Path) -> None:
    VALIDATOR.validate(as_json(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        'extends = "imagebuilder/base"\n',
        '[remove]\nkickstarts = ["a.ks"]\nparams.deep = ["x"]\n[replace]\nkernel.args = []\n',
        '[matrix]\ndistro = ["debian-12"]\n[matrix.flavour.a]\npackages = ["x"]\n',
        '[[waivers]]\ncode = "IB101"\nreason = "x"\nuntil = 2027-01-31\n',
        '[[files]]\nsource = "files/motd"\npath = "/etc/motd"\nmode = "0644"\n',
        '[[checks]]\nport = "{{ port }}"\n[[checks]]\nport = 22\naddress = "::1"\n',
        '[declare.vlan]\ntype = "integer"\nmin = 1\n[secrets.pw]\ncommand = ["pass", "pw"]\n',
    ],
)
def test_what_is_valid(text: str) -> None:
    VALIDATOR.validate(as_json(text))


@pytest.mark.parametrize(
    "text",
    [
        "zoo = 1\n",
        'name = "x"\n',
        'kickstarts = "a.ks"\n',
        '[remove]\nsummary = ["x"]\n',
        '[matrix]\ncolour = ["red"]\n',
        '[[checks]]\nunit = "a.service"\nzoo = 1\n',
        '[[waivers]]\ncode = "x"\nreason = "x"\nuntil = 2027-01-31\n',
        '[declare.vlan]\ntype = "int"\n',
        '[[checks]]\nport = "many"\n',
        '[image]\ncompression = "zip"\n',
        'arch = "vax"\n',
    ],
)
def test_what_is_not(text: str) -> None:
    assert list(VALIDATOR.iter_errors(as_json(text)))
