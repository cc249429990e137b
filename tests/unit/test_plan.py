from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from fakes import PACKAGES, FakeEngine, FakePrograms, MakeProject, fake_apt, written

from imagebuilder import tools
from imagebuilder.build import build
from imagebuilder.errors import InputError
from imagebuilder.plan import Plan, changed, make_plan
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

MIRRORS = '[mirrors]\ndebian-12 = ["deb http://user:pass@mirror.example/debian bookworm main"]\n'
RECIPE = """
    summary = "a base"
    distro = "debian-12"
    kickstarts = ["a.ks", "b.ks"]
    [params]
    zone = "UTC"
    unused = 1
    [kernel]
    args = ["quiet"]
    """
FRAGMENT_A = """
    timezone {{ zone }}
    bootloader --append="nosmt"
    reboot
    """
FRAGMENT_B = """
    %packages
    curl
    %end
    %post --erroronfail
    echo one
    %end
    """
LZ4 = "    compression = 'lz4'\n"
SECRETS = """
    rootpw --plaintext geheim
    user --name=op --password=geheim --plaintext
    """
FILES = {
    "imagebuilder.toml": MIRRORS,
    "recipes/base.toml": RECIPE,
    "kickstarts/a.ks": FRAGMENT_A,
    "kickstarts/b.ks": FRAGMENT_B,
}


def planned(project: Project, name: str = "base", **options: bool) -> Plan:
    cache = project.root.parent / "cache"
    return make_plan(project, name, cache_dir=cache, reporter=Reporter(subject=name), **options)


@pytest.fixture
def apt(fake_programs: FakePrograms) -> FakePrograms:
    fake_apt(fake_programs)
    return fake_programs


@pytest.fixture
def base(make_project: MakeProject, apt: FakePrograms) -> Plan:
    """The plan of the project in its first state."""
    return planned(make_project(FILES))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The same, made once for all tests that only compare with it."""
    folder = tmp_path_factory.mktemp("before")
    (folder / "programs").mkdir()
    programs = FakePrograms(folder / "programs")
    fake_apt(programs)
    written(folder / "project", {"recipes/base.toml": RECIPE, **FILES})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs.folder}:/usr/sbin:/usr/bin:/sbin:/bin")
        return planned(Project.open(folder / "project"))


def step(plan: Plan, name: str) -> str:
    return next(each.id for each in plan.steps if each.name == name)


# ----- what ids follow from -----------------------------------------------------------------------


SAME = {
    "the same once more": {},
    "a comment moves all lines": {
        "recipes/base.toml": "# a comment\n\n" + RECIPE.replace("\n    ", "\n"),
        "kickstarts/a.ks": "# a comment\n\n" + FRAGMENT_A.replace("\n    ", "\n"),
        "kickstarts/b.ks": "\n" + FRAGMENT_B.replace("\n    ", "\n"),
    },
    "the keys stand in another order": {
        "recipes/base.toml": """
            kickstarts = ["a.ks", "b.ks"]
            distro = "debian-12"
            summary = "a base"
            [kernel]
            args = ["quiet"]
            [params]
            unused = 1
            zone = "UTC"
            """
    },
    "a parent has half of it": {
        "recipes/parent.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n',
        "recipes/base.toml": """
            summary = "a base"
            extends = "parent"
            kickstarts = ["b.ks"]
            [params]
            zone = "UTC"
            [kernel]
            args = ["quiet"]
            """,
    },
    "a fragment is cut in two": {
        "kickstarts/a.ks": "%include deep/c.ks\n",
        "kickstarts/deep/c.ks": FRAGMENT_A,
    },
    "a param that nothing uses": {"recipes/base.toml": RECIPE.replace("unused = 1", "unused = 2")},
    "checks, which are asked of the image that is there": {
        "recipes/base.toml": RECIPE + "\n    [[checks]]\n    unit = 'a.service'\n"
    },
    "other credentials for the mirror": {
        "imagebuilder.toml": MIRRORS.replace("user:pass", "other:secret")
    },
    "a command without effect": {"kickstarts/a.ks": FRAGMENT_A.replace("reboot", "poweroff")},
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_what_changes_nothing(
    before: Plan, make_project: MakeProject, apt: FakePrograms, change: dict[str, str]
) -> None:
    other = planned(make_project({**FILES, **change}, folder="deep/er/elsewhere"))
    assert other.image_id == before.image_id
    assert [each.id for each in other.steps] == [each.id for each in before.steps]


CONFIGURE = ("configure", "initrd", "rootfs", "image")
CHANGES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "a param": ({"recipes/base.toml": RECIPE.replace("UTC", "Etc/UTC")}, CONFIGURE),
    "a command": ({"kickstarts/a.ks": FRAGMENT_A + "    lang C.UTF-8\n"}, CONFIGURE),
    "a script": ({"kickstarts/b.ks": FRAGMENT_B.replace("echo one", "echo two")}, CONFIGURE),
    "a script's option": ({"kickstarts/b.ks": FRAGMENT_B.replace(" --erroronfail", "")}, CONFIGURE),
    "a script's interpreter": (
        {"kickstarts/b.ks": FRAGMENT_B.replace("--erroronfail", "--erroronfail --interpreter=/x")},
        CONFIGURE,
    ),
    "a wish": (
        {"kickstarts/b.ks": FRAGMENT_B.replace("curl", "curl\n    -nano")},
        ("packages", *CONFIGURE),
    ),
    "the mirror": (
        {"imagebuilder.toml": MIRRORS.replace("bookworm main", "bookworm main contrib")},
        ("packages", *CONFIGURE),
    ),
    "the compression": (
        {"recipes/base.toml": RECIPE + "    [image]\n    compression = 'gzip'\n"},
        ("rootfs", "image"),
    ),
    "the compression's level": (
        {"recipes/base.toml": RECIPE + "    [image]\n    compression_level = 4\n"},
        ("rootfs", "image"),
    ),
    "the file system": (
        {"recipes/base.toml": RECIPE + "    [image]\n    filesystem = 'erofs'\n" + LZ4},
        ("rootfs", "image"),
    ),
    "the summary": ({"recipes/base.toml": RECIPE.replace("a base", "the base")}, ("image",)),
    "a kernel argument": (
        {"recipes/base.toml": RECIPE.replace('"quiet"', '"quiet", "debug"')},
        ("image",),
    ),
    "bootloader --append": ({"kickstarts/a.ks": FRAGMENT_A.replace("nosmt", "mem=1G")}, ("image",)),
}


@pytest.mark.parametrize(("change", "steps"), CHANGES.values(), ids=CHANGES.keys())
def test_what_changes_which_steps(
    before: Plan,
    make_project: MakeProject,
    apt: FakePrograms,
    change: dict[str, str],
    steps: tuple[str, ...],
) -> None:
    other = planned(make_project({**FILES, **change}, folder="other"))
    differ = {
        each.name for each, was in zip(other.steps, before.steps, strict=True) if each.id != was.id
    }
    assert differ == set(steps)
    assert other.image_id != before.image_id


def test_an_erofs_that_the_kernel_cannot_read_is_refused(
    make_project: MakeProject, apt: FakePrograms
) -> None:
    recipe = RECIPE + "    [image]\n    filesystem = 'erofs'\n"
    with pytest.raises(InputError, match=r"kernel of debian-12 \(6\.1\) reads") as caught:
        planned(make_project({**FILES, "recipes/base.toml": recipe}))
    assert caught.value.where
    assert (caught.value.where.file, caught.value.where.line) == ("recipes/base.toml", 10)
    assert 'compression = "lz4"' in caught.value.fix


def test_the_name_and_the_order_of_fragments_count(
    before: Plan, make_project: MakeProject, apt: FakePrograms
) -> None:
    more = {
        "recipes/other.toml": RECIPE,
        "recipes/turned.toml": RECIPE.replace('"a.ks", "b.ks"', '"b.ks", "a.ks"'),
        "recipes/user.toml": RECIPE.replace('"a.ks", "b.ks"', '"c.ks", "b.ks"'),
        "kickstarts/c.ks": FRAGMENT_A.replace("timezone", "lang C.UTF-8\n    timezone"),
    }
    project = make_project({**FILES, **more})
    assert planned(project, "other").image_id != before.image_id
    assert step(planned(project, "other"), "rootfs") == step(before, "rootfs")
    assert step(planned(project, "user"), "configure") != step(before, "configure")


def test_a_new_version_of_a_package_counts(
    base: Plan, make_project: MakeProject, apt: FakePrograms
) -> None:
    fake_apt(apt, {**PACKAGES, "curl": "7.89"}, date="1")
    project = base.resolved.project
    assert planned(project).image_id == base.image_id  # within a day the index is not looked at
    newer = planned(project, refresh=True)
    assert newer.image_id != base.image_id
    assert step(newer, "packages") != step(base, "packages")


@pytest.mark.parametrize(
    ("package", "changed"),
    [
        ("squashfs-tools", {"rootfs", "image"}),
        ("mmdebstrap", {"packages", "configure", "initrd", "rootfs", "image"}),
        ("apt", {"packages", "configure", "initrd", "rootfs", "image"}),
        ("erofs-utils", set()),
    ],
)
def test_another_version_of_a_tool_counts(
    base: Plan,
    apt: FakePrograms,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    changed: set[str],
) -> None:
    was = tools.installed_version
    monkeypatch.setattr(
        tools, "installed_version", lambda name: "9.9" if name == package else was(name)
    )
    newer = planned(base.resolved.project)
    assert {each.name for each in newer.steps if each.id != step(base, each.name)} == changed


def test_a_new_index_with_the_same_packages_changes_nothing(base: Plan, apt: FakePrograms) -> None:
    fake_apt(apt, date="1")
    assert planned(base.resolved.project, refresh=True).image_id == base.image_id


def test_passwords_count_and_cannot_be_guessed_from_a_plan(
    make_project: MakeProject, apt: FakePrograms
) -> None:
    project = make_project({**FILES, "kickstarts/a.ks": SECRETS})
    base = planned(project)
    text = json.dumps(base.to_dict())
    assert "geheim" not in text
    assert "pass@" not in text
    lines = [line.text for line in base.kickstart.lines if "geheim" in line.text]
    assert len(lines) == 2
    for line in (*lines, "geheim"):
        for guess in (line, line.strip(), f"{line}\n"):
            for digest in (hashlib.sha256(guess.encode()), hashlib.sha1(guess.encode())):
                assert digest.hexdigest()[:16] not in text
    for word in ("plaintext geheim", "password=geheim"):
        make_project({"kickstarts/a.ks": SECRETS.replace(word, f"{word}2")})
        assert planned(project).image_id != base.image_id


def test_the_id_is_sixteen_digits_and_what_to_dict_says(base: Plan) -> None:
    data = json.loads(json.dumps(base.to_dict()))
    assert data["recipe"] == "base"
    assert data["image_id"] == base.image_id
    assert len(base.image_id) == 16
    assert data["kernel_args"] == ["nosmt", "quiet"]
    assert [each["name"] for each in data["steps"]] == ["packages", *CONFIGURE]
    assert not data["up_to_date"]
    assert any("reboot has no effect" in note for note in data["notes"])
    assert base.folder == base.resolved.project.root / "build/base" / base.image_id


@pytest.mark.parametrize("word", ["||", "&&", ";", "a=${net0/mac}"])
def test_what_ipxe_would_not_hand_to_the_kernel_is_refused(
    make_project: MakeProject, apt: FakePrograms, word: str
) -> None:
    text = FRAGMENT_A.replace("nosmt", f"nosmt {word} chain")
    with pytest.raises(InputError, match="in a boot script it") as caught:
        planned(make_project({**FILES, "kickstarts/a.ks": text}))
    assert caught.value.where
    assert (caught.value.where.file, caught.value.where.line) == ("kickstarts/a.ks", 2)


# ----- reasons ------------------------------------------------------------------------------------


KS = {
    "recipes/r.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n[kernel]\nargs = ["quiet"]\n',
    "kickstarts/a.ks": "timezone UTC\nlang C\n%packages\nbash\n%end\n",
}


def reasons(plan: Plan) -> dict[str, str]:
    return {each.name: each.reason for each in plan.steps}


def test_reasons_in_words(make_project: MakeProject, fake_engine: FakeEngine) -> None:
    project = make_project(KS)
    first = planned(project, "r")
    assert set(reasons(first).values()) == {"it was never made here"}
    assert not first.up_to_date
    image = build(first)

    again = planned(project, "r")
    assert again.up_to_date
    assert again.image == image
    assert all("nothing changed since 20" in each for each in reasons(again).values())
    assert not planned(project, "r", again=True).up_to_date
    assert set(reasons(planned(project, "r", again=True)).values()) == {
        "asked to make everything again"
    }

    fake_engine.cached = {"packages"}
    project = make_project({"kickstarts/a.ks": "timezone Etc/UTC\nlang C\n%packages\nbash\n%end\n"})
    plan = planned(project, "r")
    assert plan.image is None
    assert reasons(plan) == {
        "packages": "its result is in the cache",
        "configure": "timezone of kickstarts/a.ks:1 changed",
        "image": "configure changed",
    }
    assert [each.reused for each in plan.steps] == [True, False, False]

    fake_engine.cached = set()
    project = make_project({"kickstarts/a.ks": KS["kickstarts/a.ks"].replace("bash", "bash\nzsh")})
    assert reasons(planned(project, "r")) == {
        "packages": "package zsh is new",
        "configure": "packages changed",
        "image": "configure changed",
    }

    project = make_project(
        {**KS, "recipes/r.toml": KS["recipes/r.toml"].replace("quiet", "mem=1G")}
    )
    assert reasons(planned(project, "r")) == {
        "packages": "its result is no longer there",
        "configure": "its result is no longer there",
        "image": "the kernel arguments changed",
    }


def test_a_reason_does_not_name_everything(
    make_project: MakeProject, fake_engine: FakeEngine
) -> None:
    project = make_project(KS)
    build(planned(project, "r"))
    fake_engine.extra = {f"kind{n}": "x" for n in range(9)}
    reason = reasons(planned(project, "r"))["packages"]
    assert reason == "kind0 is new; kind1 is new; kind2 is new and 6 more"


def a(label: str, digest: str, kind: str = "package") -> tuple[str, str, str]:
    return (kind, label, digest)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ([], [], []),
        ([a("x", "1")], [a("x", "1")], []),
        ([a("x of a:1", "1")], [a("x of a:9", "1")], []),
        ([], [a("x", "1")], ["x is new"]),
        ([a("x", "1")], [], ["x is gone"]),
        ([a("x 1", "1")], [a("x 2", "2")], ["x 2 changed"]),
        ([a("x", "1", "k")], [a("y", "1", "l")], ["y is new", "x is gone"]),
        ([a("x", "1"), a("y", "2")], [a("y", "2"), a("x", "1")], ["the order changed"]),
        ([a("x", "1")], [a("x", "1"), a("x", "1")], ["the order changed"]),
        ([a("x", "1")], [a("x", "2"), a("y", "3")], ["x changed", "y is new"]),
        ([a("x", "1"), a("y", "2")], [a("x", "3")], ["x changed", "y is gone"]),
    ],
)
def test_changed(
    old: list[tuple[str, str, str]], new: list[tuple[str, str, str]], words: list[str]
) -> None:
    assert changed(old, new) == words


# ----- errors -------------------------------------------------------------------------------------


def test_an_unknown_engine(make_project: MakeProject) -> None:
    project = make_project({"recipes/r.toml": 'distro = "debian-12"\nengine = "nosuch"\n'})
    with pytest.raises(InputError, match="unknown engine 'nosuch'") as caught:
        planned(project, "r")
    assert caught.value.where
    assert (caught.value.where.file, caught.value.where.line) == ("recipes/r.toml", 2)
    assert "direct" in caught.value.fix


def test_a_plan_makes_no_files_in_the_project(base: Plan) -> None:
    root: Path = base.resolved.project.root
    assert sorted(path.name for path in root.iterdir()) == [
        "imagebuilder.toml",
        "kickstarts",
        "recipes",
    ]


@pytest.mark.parametrize(
    ("image", "level"),
    [
        ("", 19),
        ("small_level = 22", 22),
        ("compression = 'gzip'", 9),
        ("compression = 'xz'", None),
        ("filesystem = 'erofs'\n    compression = 'lz4'", 12),
    ],
)
def test_a_small_image_is_another_image_that_is_packed_in_another_way(
    make_project: MakeProject, apt: FakePrograms, image: str, level: int | None
) -> None:
    recipe = f"{RECIPE}    [image]\n    {image}\n"
    project = make_project({**FILES, "recipes/base.toml": recipe})
    quick, small = planned(project), planned(project, small=True)
    assert quick.resolved.recipe.image.compression_level is None
    assert small.resolved.recipe.image.compression_level == level
    differ = {a.name for a, b in zip(quick.steps, small.steps, strict=True) if a.id != b.id}
    assert differ == ({"rootfs", "image"} if level else set())
    assert (quick.image_id != small.image_id) is (level is not None)
    if level:
        assert f" at level {level}" in small.steps[3].text
