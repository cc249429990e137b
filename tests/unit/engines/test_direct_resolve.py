"""Which packages a wish comes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes import fake_apt
from indexkit import Looker, Parsed, packages

from imagebuilder.engines.direct import index
from imagebuilder.engines.direct.resolve import check, resolve, wanted
from imagebuilder.errors import InputError

# ----- wishes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["bash", "zsh"], ("bash", "zsh")),
        (["bash", "bash"], ("bash",)),
        (["bash", "-nano"], ("bash", "nano-")),
        (["bash", "-bash"], ("bash-",)),
        (["-bash", "bash"], ("bash",)),
        (["bash", "bash=5"], ("bash=5",)),
        (["bash=5", "-bash"], ("bash-",)),
        (["-bash=5"], ("bash-",)),
        (["libc6:i386", "bash=5.2-1+b1", "g++"], ("libc6:i386", "bash=5.2-1+b1", "g++")),
        ([], ()),
    ],
)
def test_wanted(kickstart_of: Parsed, lines: list[str], names: tuple[str, ...]) -> None:
    assert wanted(kickstart_of(packages(*lines))) == (names, ())


def test_what_is_no_package_is_refused_with_its_line(kickstart_of: Parsed) -> None:
    text = packages("bash", "Bash", "a b", "--option", "$(id)", "?(a)", "/etc/x", "@a b")
    with pytest.raises(InputError) as caught:
        check(kickstart_of(text))
    found = [caught.value, *caught.value.also]
    assert [each.where.line for each in found if each.where] == [3, 4, 5, 6, 7, 8, 9]
    check(kickstart_of(packages("linux-*", "lib[a-c]?-*", "@ssh-server", "@^gnome-desktop")))


# ----- what apt makes of them ---------------------------------------------------------------------


def test_versions(looker: Looker, kickstart_of: Parsed) -> None:
    looker.programs.write(
        "apt-get",
        """
        cat <<'END'
        Reading package lists...
        Inst bb (2:1.0~rc1-1+b2 Debian:12.5/stable [amd64])
        Inst aa [0.9] (1.0 Debian:12.5/stable [all]) []
        Conf bb (2:1.0~rc1-1+b2 Debian:12.5/stable [amd64])
        END
        """.replace("\n        ", "\n"),
    )
    opened = looker.open()
    looker.programs.forget()
    ks = kickstart_of(packages("aa", "-cc"))
    found = resolve(opened, ks, looker.reporter)
    assert found.versions == {"aa": "1.0", "bb": "2:1.0~rc1-1+b2"}
    assert found.asked == ("aa", "cc-")
    (call,) = looker.programs.calls()
    assert "--simulate" in call
    assert call.endswith("install ?essential apt aa cc-")
    assert "Install-Recommends=true" in call


def test_the_same_question_is_asked_once(looker: Looker, kickstart_of: Parsed) -> None:
    opened = looker.open()
    made = resolve(opened, kickstart_of(packages("bash")), looker.reporter)
    looker.programs.forget()
    # Where it stands does not matter.
    assert resolve(opened, kickstart_of("\n\n" + packages("bash")), looker.reporter) == made
    assert looker.programs.calls() == []
    for other in (
        packages("zsh"),
        packages("bash").replace("%packages", "%packages --exclude-weakdeps"),
        packages("bash").replace("%packages", "%packages --ignoremissing"),
    ):
        looker.programs.forget()
        resolve(opened, kickstart_of(other), looker.reporter)
        assert looker.programs.calls()
    fake_apt(looker.programs, date="3")
    newer = looker.open(refresh=True)
    looker.programs.forget()
    resolve(newer, kickstart_of(packages("bash")), looker.reporter)
    assert looker.programs.calls()


def test_unknown_packages_have_their_lines(looker: Looker, kickstart_of: Parsed) -> None:
    opened = looker.open()
    looker.says(
        "E: Unable to locate package nosuch\n"
        "E: Unable to locate package pyton3.11\n"
        "E: Couldn't find any package by glob 'pyton3.11'\n"
        "E: Couldn't find any package by regex 'pyton3.11'\n"
        "E: Package 'virtual' has no installation candidate\n"
        "E: Version '9' for 'bash' was not found\n"
    )
    ks = kickstart_of(packages("nosuch:amd64", "curl", "pyton3.11", "-virtual", "bash=9"))
    with pytest.raises(InputError) as caught:
        resolve(opened, ks, looker.reporter)
    found = [caught.value, *caught.value.also]
    assert [(each.where.line, each.what.split("'")[1]) for each in found if each.where] == [
        (2, "nosuch"),
        (4, "pyton3.11"),
        (5, "virtual"),
        (6, "bash"),
    ]
    assert all("in bookworm" in each.what for each in found)
    assert "--refresh" in caught.value.fix


def test_packages_that_conflict(looker: Looker, kickstart_of: Parsed) -> None:
    opened = looker.open()
    looker.says("The following packages have unmet dependencies:\n a : Conflicts: b\nE: broken")
    with pytest.raises(InputError, match="cannot be installed together") as caught:
        resolve(opened, kickstart_of("lang C\n" + packages("aa", "bb")), looker.reporter)
    assert "a : Conflicts: b" in caught.value.excerpt
    assert caught.value.where
    assert caught.value.where.line == 3


def test_unknown_packages_that_may_be_missing(looker: Looker, kickstart_of: Parsed) -> None:
    opened = looker.open()
    text = packages("curl", "nosuch", "-nano", "base-files=12.4").replace(
        "%packages", "%packages --ignoremissing"
    )
    looker.programs.forget()
    resolve(opened, kickstart_of(text), looker.reporter)
    assert looker.programs.calls()[-1].endswith("install ?essential apt curl base-files=12.4")
    notes = [each.text for each in looker.events if each.kind == "note"]
    assert any("package nosuch is missing" in note for note in notes)


def test_the_environment_of_apt_has_nothing_of_the_caller_s(
    looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "geheim")
    looker.programs.write("apt-get", f"env >{looker.cache}/env")
    looker.open()
    text = (looker.cache / "env").read_text()
    assert "geheim" not in text
    assert "APT_CONFIG=" in text
    assert "LC_ALL=C.UTF-8" in text
    assert os.environ["PATH"] in text


def test_many_may_write_the_same_answer_at_once(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(50):
            index.write(tmp_path / "answer", f"{number}" * 100)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len((tmp_path / "answer").read_text()) == 100
    assert [each.name for each in tmp_path.iterdir()] == ["answer"]


AVAILABLE = """
Package: adduser
Priority: important

Package: bash
Priority: required

Package: less
Priority: standard

Package: exim4
Provides: mail-transport-agent, default-mta (= 4)
Priority: optional

Package: linux-headers-6.1
Priority: optional

Package: linux-headers-6.12
Priority: optional

Package: task-desk
Priority: optional
Depends: tasksel (>= 1), xorg | xserver,
Recommends: editor-one | editor-two, nosuch
Suggests: exim4

Package: tagged
Task: web-server, desk-tools
Priority: optional

Package: editor-one
Priority: optional

"""


@pytest.fixture
def asked(looker: Looker, kickstart_of: Parsed) -> Callable[..., tuple[str, ...]]:
    """What apt is asked to install for lines of %packages."""
    looker.programs.write("apt-cache", f"cat <<'END'\n{AVAILABLE}\nEND")
    opened = looker.open()

    def ask(*lines: str, options: str = "") -> tuple[str, ...]:
        text = packages(*lines).replace("%packages", f"%packages {options}".strip())
        return resolve(opened, kickstart_of(text), looker.reporter).asked

    return ask


DESK = ("task-desk", "editor-one")


# ----- groups and patterns ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "options", "names"),
    [
        (["@core"], "", ("bash", "adduser")),
        (["@^minimal-environment"], "", ("bash", "adduser")),
        (["@standard"], "", ("bash", "adduser", "less")),
        (["zsh"], "--default", ("bash", "adduser", "less", "zsh")),
        (["@desk"], "", DESK),
        (["@^desk"], "", DESK),
        (["@desk --nodefaults"], "", ("xorg",)),
        (["@desk --optional"], "", (*DESK, "exim4")),
        (["@web-server"], "", ("tagged",)),
        (["@desk", "-@desk"], "", ()),
        (["@desk", "-editor-one"], "", ("task-desk", "editor-one-")),
        (["linux-headers-*"], "", ("linux-headers-6.1", "linux-headers-6.12")),
        (["linux-headers-6.1?"], "", ("linux-headers-6.12",)),
        (["linux-headers-*", "-*.12"], "", ("linux-headers-6.1", "linux-headers-6.12-")),
        (["-nosuch*", "zsh"], "", ("zsh",)),
        (["@nosuch", "nosuch*", "default-mta", "bash"], "--ignoremissing", ("default-mta", "bash")),
    ],
)
def test_groups_and_patterns(
    asked: Callable[..., tuple[str, ...]], lines: list[str], options: str, names: tuple[str, ...]
) -> None:
    assert asked(*lines, options=options) == names


def test_the_options_of_a_group_are_another_question(asked: Callable[..., tuple[str, ...]]) -> None:
    assert asked("@desk") == DESK
    assert asked("@desk --nodefaults") == ("xorg",)
    assert asked("@desk") == DESK


def test_unknown_groups_and_patterns_have_their_lines_and_what_there_is(
    asked: Callable[..., tuple[str, ...]],
) -> None:
    with pytest.raises(InputError) as caught:
        asked("bash", "@desktop", "nosuch-*", "-@nosuch")
    found = [caught.value, *caught.value.also]
    assert [each.where.line for each in found if each.where] == [3, 4, 5]
    assert "there is no group 'desktop'" in caught.value.what
    for name in ("core", "desk", "standard", "web-server", "desk-tools"):
        assert name in caught.value.fix


def test_a_pattern_for_the_whole_archive_is_refused(
    looker: Looker, asked: Callable[..., tuple[str, ...]]
) -> None:
    many = "\n\n".join(f"Package: p{n}" for n in range(1001))
    looker.programs.write("apt-cache", f"cat <<'END'\n{many}\nEND")
    fake_apt_again = looker.open(refresh=True)
    (fake_apt_again.folder / "available.json").unlink(missing_ok=True)
    with pytest.raises(InputError, match="stands for 1001 packages"):
        asked("*")
