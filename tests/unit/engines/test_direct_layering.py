"""In which layers packages are installed, by a real apt: what recipes share is one layer."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from apt_repository import BASE, AptRepository, Signer
from fakes import MakeProject

from imagebuilder.engines import Request
from imagebuilder.engines.direct import DirectEngine, resolve
from imagebuilder.engines.direct.index import Index
from imagebuilder.engines.direct.layering import Stage
from imagebuilder.engines.direct.simulate import simulate
from imagebuilder.kickstart import compose
from imagebuilder.lockfile import read
from imagebuilder.locks import lock_recipe
from imagebuilder.options import Options
from imagebuilder.pipeline import plan_image
from imagebuilder.plan import Plan
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

NEEDED = ("dracut-core", "dracut-live", "dracut-network", "curl", "linux-image-amd64")
Stages = Callable[[str], list[Stage]]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    made = Signer(tmp_path_factory.mktemp("keys") / "home")
    yield made
    made.end()


@pytest.fixture
def project(make_project: MakeProject, signer: Signer, tmp_path: Path) -> Project:
    mirror = AptRepository(tmp_path / "mirror", signer)
    for name, fields in BASE.items():
        mirror.put(name, "1", fields)
    for name in ("tool", "more", "other"):
        mirror.put(f"{name}-lib", "1")
        mirror.put(name, "1", f"Depends: {name}-lib\n")
    mirror.put("rival", "1", "Conflicts: tool\n")
    mirror.publish()
    packages = "\n".join(["%packages", *NEEDED, "tool", "%end", ""])
    return make_project(
        {
            "imagebuilder.toml": f'[mirrors]\ndebian-12 = ["{mirror.line()}"]\n',
            "recipes/base.toml": 'distro = "debian-12"\nkickstarts = ["base.ks"]\n',
            "recipes/child.toml": 'extends = "base"\nkickstarts = ["child.ks"]\n',
            "kickstarts/base.ks": packages,
            "kickstarts/child.ks": "%packages\nmore\n%end\n",
        }
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def plan(project: Project, cache: Path) -> Callable[..., Plan]:
    def made(name: str, *, locked: bool = False) -> Plan:
        options = Options.make(cache_dir=cache, locked=locked)
        return plan_image(Project.open(project.root), name, options)

    return made


@pytest.fixture
def stages(project: Project, cache: Path) -> Stages:
    def found(name: str) -> list[Stage]:
        resolved = Project.open(project.root).resolve(name)
        request = Request(
            resolved=resolved,
            kickstart=compose(resolved),
            cache_dir=cache,
            reporter=Reporter(subject=name),
            vault=resolved.vault(),
        )
        return list(DirectEngine()._stages(request))

    return found


def ids(found: list[Stage]) -> list[str]:
    return [each.layer_id for each in found]


def say(project: Project, file: str, text: str) -> None:
    (project.root / file).write_text(textwrap.dedent(text))


def test_a_child_is_installed_on_its_parent_and_that_on_what_boots(
    plan: Callable[..., Plan], stages: Stages
) -> None:
    base, child = stages("base"), stages("child")
    assert ids(child)[:2] == ids(base)
    assert [set(each.new) for each in child] == [
        set(BASE),
        {"tool", "tool-lib"},
        {"more", "more-lib"},
    ]
    assert plan("base").steps[0].id == ids(base)[-1]
    assert plan("child").steps[0].id == ids(child)[-1]
    assert plan("child").steps[0].text.endswith(" in layers of 7, 2 and 2")


def test_apt_is_asked_once_for_each_layer(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def noted(index: Index, names: Sequence[str], *more: Any, **options: Any) -> Any:
        asked.append(tuple(names))
        return simulate(index, names, *more, **options)

    monkeypatch.setattr(resolve, "simulate", noted)
    plan("child")
    assert sorted(asked) == sorted(
        [(*NEEDED, "tool", "more"), (*NEEDED, "tool"), tuple(sorted(NEEDED))]
    )
    asked.clear()
    plan("base")  # its parent's layers have been asked for with the child's
    assert asked == []


def test_a_child_without_packages_of_its_own_has_its_parents_layer(
    project: Project, stages: Stages
) -> None:
    say(project, "kickstarts/child.ks", "%post\ntrue\n%end\n")
    assert ids(stages("child")) == ids(stages("base"))


def test_a_package_more_keeps_what_boots(project: Project, stages: Stages) -> None:
    before = ids(stages("base"))
    say(project, "kickstarts/base.ks", "%packages\nother\n" + "\n".join(NEEDED) + "\ntool\n%end\n")
    after = ids(stages("base"))
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_recipe_packages_count_for_the_recipe_that_names_them(
    project: Project, stages: Stages
) -> None:
    say(project, "recipes/child.toml", 'extends = "base"\npackages = ["more"]\n')
    assert ids(stages("child"))[:2] == ids(stages("base"))
    say(
        project,
        "recipes/base.toml",
        'distro = "debian-12"\nkickstarts = ["base.ks"]\npackages = ["other"]\n',
    )
    assert ids(stages("child"))[:2] == ids(stages("base"))


@pytest.mark.parametrize(
    ("fragment", "new"),
    [
        ("%packages\n-tool\nmore\n%end\n", [{"more", "more-lib"}]),  # what the parent put in
        ("%packages\n-tool\nrival\n%end\n", [{"rival"}]),
        # Documents and recommended packages: the parent was installed in another way.
        ("%packages --excludedocs\nmore\n%end\n", [{"more", "more-lib", "tool", "tool-lib"}]),
        ("%packages --exclude-weakdeps\nmore\n%end\n", [{"more", "more-lib", "tool", "tool-lib"}]),
    ],
)
def test_a_parent_that_is_no_part_of_its_child_is_no_layer(
    project: Project, stages: Stages, fragment: str, new: list[set[str]]
) -> None:
    say(project, "kickstarts/child.ks", fragment)
    found = stages("child")
    assert [set(each.new) for each in found] == [set(BASE), *new]
    base = ids(stages("base"))
    assert base[-1] not in ids(found)
    assert (base[0] in ids(found)) is ("--excludedocs" not in fragment)


def test_an_answer_is_given_in_the_layer_of_its_package(project: Project, stages: Stages) -> None:
    base = ids(stages("base"))
    say(
        project,
        "recipes/child.toml",
        """\
        extends = "base"
        kickstarts = ["child.ks"]
        preseed = ["more more/how string well"]
        """,
    )
    found = stages("child")
    assert ids(found)[:2] == base
    assert [[each.package for each in stage.answers] for stage in found] == [[], [], ["more"]]
    say(
        project,
        "recipes/child.toml",
        'extends = "base"\nkickstarts = ["child.ks"]\npreseed = ["tool tool/how string x"]\n',
    )
    found = stages("child")
    assert ids(found)[0] == base[0]
    assert ids(found)[1] != base[1]
    # Nobody here owns the question: it is told before all else.
    say(
        project,
        "recipes/child.toml",
        'extends = "base"\nkickstarts = ["child.ks"]\npreseed = ["any any/how string x"]\n',
    )
    assert [len(each.answers) for each in stages("child")] == [1, 0, 0]


def test_a_lock_file_has_the_layers(
    project: Project, cache: Path, plan: Callable[..., Plan]
) -> None:
    free = plan("child")
    lock_recipe(project, "child", Options.make(cache_dir=cache))
    lock = read(project.root, "child")
    assert lock
    assert [set(each.packages) - set(BASE) for each in lock.layers] == [set(), {"tool", "tool-lib"}]
    assert [each.id for each in plan("child", locked=True).steps] == [
        each.id for each in free.steps
    ]


def test_a_lock_file_without_layers_has_one(
    project: Project, cache: Path, plan: Callable[..., Plan]
) -> None:
    made = lock_recipe(project, "child", Options.make(cache_dir=cache))
    made.path.write_text(made.lock.model_copy(update={"layers": ()}).to_json())
    assert " in layers of " not in plan("child", locked=True).steps[0].text
