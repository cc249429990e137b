"""What is kept from one kickstart for the next changes nothing but the time it takes."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from fakes import MakeProject, written
from kickstart_samples import all_of, said

from imagebuilder.errors import InputError
from imagebuilder.kickstart import compose
from imagebuilder.kickstart.compose import forget
from imagebuilder.project import Project

FRAGMENTS = {
    "base.ks": "lang C.UTF-8\n%include part/a.inc\n%packages --ignoremissing\nbash\n"
    "%include part/list.inc\n%end\n",
    "part/a.inc": "timezone UTC --isUtc\nservices --enabled={{ service }}\n",
    "part/list.inc": "{% for each in names %}\n{{ each }}\n{% endfor %}\n-nano\n",
    "users.ks": "user --name={{ user }}\nuser --name=op\nservices --disabled=x\n",
    "twice.ks": "user --name=op\nrepo --name=r --baseurl=http://h/{{ recipe }}\n",
    "disk.ks": "part / --size=1000\n",
    "auto.ks": "autopart\n",
    "post.ks": "%post --erroronfail\necho {{ user }} {{ flags }}\n%end\n%post\n\n%end\n",
    "open.ks": "%post\necho {{ recipe }}\n",
    "wrong.ks": "nosuch {{ user }}\nlang\nuser\n",
    "old.ks": "install\nauthconfig --enableshadow\n",
    "odd.ks": "rootpw 'x\n",
}
RECIPES = [
    (["base.ks", "users.ks", "post.ks"], {"user": "a"}),
    (["base.ks", "users.ks", "post.ks"], {"user": "b", "flags": 1}),
    (["base.ks", "users.ks", "post.ks"], {"user": "b", "flags": True}),
    (["base.ks", "users.ks", "post.ks"], {"user": "b", "flags": 1.0}),
    (["base.ks", "users.ks", "post.ks"], {"user": "b", "flags": "1"}),
    (["users.ks", "base.ks"], {"user": "op"}),
    (["users.ks", "twice.ks"], {"user": "a"}),
    (["twice.ks", "users.ks"], {"user": "a"}),
    (["disk.ks", "auto.ks"], {}),
    (["disk.ks", "base.ks"], {"names": ["x", "y"]}),
    (["open.ks", "base.ks"], {}),
    (["post.ks", "open.ks"], {}),
    (["wrong.ks", "base.ks"], {"user": "a"}),
    (["wrong.ks", "base.ks"], {"user": "b"}),
    (["old.ks", "base.ks"], {}),
    (["odd.ks", "wrong.ks"], {}),
    (["base.ks", "nosuch.ks"], {}),
    ([], {}),
]


def toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    files = {f"kickstarts/{name}": text for name, text in FRAGMENTS.items()}
    for n, (names, params) in enumerate(RECIPES):
        given = {"service": "ssh", "names": ["zsh"], "user": "u", "flags": "", **params}
        lines = "".join(f"{name} = {toml(value)}\n" for name, value in given.items())
        distro = "rhel-8" if n % 5 == 3 else "debian-12"
        files[f"recipes/r{n:02}.toml"] = (
            f'distro = "{distro}"\nkickstarts = {names!r}\npackages = ["p{n}", "-bash"]\n'
            f"[params]\n{lines}"
        )
    return make_project(files)


def outcome(project: Project, name: str) -> Any:
    try:
        return all_of(compose(project.resolve(name)))
    except InputError as error:
        return said(error)


def test_cold_and_warm_say_the_same(project: Project) -> None:
    cold = {}
    for name in project.names():
        forget()
        cold[name] = outcome(project, name)
    whole = {name for name, each in cold.items() if isinstance(each, dict)}
    assert whole == {f"r{n:02}" for n in (*range(8), 9, 17)}
    names = list(project.names()) * 3
    for seed in range(3):
        random.Random(seed).shuffle(names)
        forget()
        for name in names:
            assert outcome(project, name) == cold[name], name


def test_recipes_share_what_is_the_same(project: Project) -> None:
    forget()
    first, second = (compose(project.resolve(name)) for name in ("r02", "r04"))
    assert first.commands[0].data is second.commands[0].data
    assert first.commands[-1].data is second.commands[-1].data
    assert first.commands[0].via != second.commands[0].via
    assert first.scripts[0].body != second.scripts[0].body


def settled(path: Path) -> None:
    """Let a file look as if nobody had written to it for a while."""
    os.utime(path, ns=(10**18, 10**18))


@pytest.mark.parametrize("aged", [True, False])
def test_a_changed_fragment_is_read_again(make_project: MakeProject, aged: bool) -> None:
    recipe = 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
    project = make_project({"recipes/r.toml": recipe, "kickstarts/a.ks": "lang aa\n"})
    path = project.root / "kickstarts/a.ks"
    for text in ("aa", "bb", "cc", "dd"):  # of one size, within one tick of the clock
        path.write_text(f"lang {text}\n")
        if aged:
            settled(path)
        made = compose(project.resolve("r"))
        assert [each.text for each in made.commands] == [f"lang {text}"]


def test_a_fragment_that_comes_or_goes_is_seen(make_project: MakeProject) -> None:
    recipe = 'distro = "debian-12"\nkickstarts = ["deep/a.ks"]\n'
    project = make_project(
        {
            "recipes/r.toml": recipe,
            "kickstarts/deep/a.ks": "%include b.ks\n",
            "kickstarts/b.ks": "lang far\n",
        }
    )
    root = project.root / "kickstarts"
    assert compose(project.resolve("r")).commands[0].text == "lang far"
    written(root, {"deep/b.ks": "lang near\n"})
    assert compose(project.resolve("r")).commands[0].text == "lang near"
    (root / "deep/b.ks").unlink()
    assert compose(project.resolve("r")).commands[0].text == "lang far"
    (root / "b.ks").unlink()
    with pytest.raises(InputError, match="no fragment"):
        compose(project.resolve("r"))
    (root / "b.ks").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="outside"):
        compose(project.resolve("r"))


def test_one_recipe_s_lines_do_not_reach_another(make_project: MakeProject) -> None:
    project = make_project(
        {
            "recipes/a.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
            "recipes/b.toml": 'distro = "debian-12"\nkickstarts = ["b.ks"]\n',
            "kickstarts/a.ks": "services --enabled=x\nuser --name=u\nautopart\n%include c.ks\n",
            "kickstarts/b.ks": "services --disabled=y\nuser --name=u\nmount /dev/x /\n"
            "%include c.ks\n",
            "kickstarts/c.ks": "timezone UTC\n",
        }
    )
    for name in ("a", "b", "a", "b"):
        made = compose(project.resolve(name))
        assert made.warnings == ()
        assert made.all("services")[0].data.enabled == (["x"] if name == "a" else [])
        assert made.all("services")[0].data.disabled == (["y"] if name == "b" else [])
