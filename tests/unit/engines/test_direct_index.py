from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes import FakePrograms, fake_apt

from imagebuilder.engines.direct import index
from imagebuilder.engines.direct.index import Index, open_index
from imagebuilder.engines.direct.resolve import check, resolve, wanted
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import HostError, InputError, StepError
from imagebuilder.kickstart import Kickstart
from imagebuilder.progress import Event, Reporter

Parsed = Callable[[str], Kickstart]
SOURCES = Sources(lines=("deb https://me:geheim@site/debian bookworm main",), origin="a test")


class Looker:
    """Opens an index in a folder of its own, with a stand-in for apt."""

    def __init__(self, cache: Path, programs: FakePrograms) -> None:
        self.cache = cache
        self.programs = programs
        self.events: list[Event] = []
        self.reporter = Reporter(subject="r", observer=self.events.append)

    def open(
        self,
        *,
        refresh: bool = False,
        offline: bool = False,
        max_age: float = index.DAY,
        sources: Sources = SOURCES,
    ) -> Index:
        return open_index(
            self.cache,
            sources,
            "amd64",
            self.reporter,
            refresh=refresh,
            offline=offline,
            max_age=max_age,
        )

    def age(self, opened: Index, seconds: float) -> None:
        file = opened.folder / "index.json"
        data = json.loads(file.read_text())
        file.write_text(json.dumps({**data, "checked": time.time() - seconds}))

    def says(self, stderr: str, status: int = 100) -> None:
        self.programs.write("apt-get", f"cat >&2 <<'END'\n{stderr}\nEND\nexit {status}")

    def updates(self) -> int:
        return sum(call.startswith("apt-get update") for call in self.programs.calls())


@pytest.fixture
def looker(tmp_path: Path, fake_programs: FakePrograms) -> Looker:
    fake_apt(fake_programs)
    return Looker(tmp_path / "cache", fake_programs)


# ----- the index ----------------------------------------------------------------------------------


def test_an_index_is_looked_at_once_a_day(looker: Looker) -> None:
    opened = looker.open()
    assert looker.updates() == 1
    looker.programs.forget()
    assert looker.open() == opened
    looker.age(opened, 23 * 3600)
    assert looker.open() == opened
    assert looker.programs.calls() == []
    looker.age(opened, 25 * 3600)
    looker.open()
    assert looker.updates() == 1
    looker.open(refresh=True)
    assert looker.updates() == 2
    looker.age(opened, -3600)  # the clock was set back: the age is not known
    looker.open()
    assert looker.updates() == 3


def test_a_repository_of_this_host_is_looked_at_when_it_has_changed(
    looker: Looker, tmp_path: Path
) -> None:
    for name in ("flat", "dists/x"):
        (tmp_path / "repo" / name).mkdir(parents=True)
    for line, file in (
        (f"deb [trusted=yes] copy:{tmp_path}/repo flat/", "flat/Packages"),
        (f"deb copy:{tmp_path}/repo/ x main", "dists/x/InRelease"),
    ):
        sources = Sources(lines=(line,), origin="a test")
        (tmp_path / "repo" / file).write_text("one")
        looker.open(sources=sources)
        before = looker.updates()
        looker.open(sources=sources)
        assert looker.updates() == before
        time.sleep(0.02)
        (tmp_path / "repo" / file).write_text("two")
        looker.open(sources=sources)
        assert looker.updates() == before + 1


def test_the_digest_follows_from_the_release_files(looker: Looker) -> None:
    first = looker.open()
    assert looker.open(refresh=True).digest == first.digest
    fake_apt(looker.programs, date="7")
    second = looker.open(refresh=True)
    assert second.digest != first.digest
    other = Sources(lines=("deb http://other/debian bookworm main",), origin="")
    assert looker.open(sources=other).folder != first.folder


def test_an_old_index_does_when_the_mirrors_cannot_be_reached(looker: Looker) -> None:
    opened = looker.open()
    looker.age(opened, 48 * 3600)
    looker.says("Err:1 could not resolve 'site'\nE: Failed to fetch https://me:geheim@site/x")
    assert looker.open().digest == opened.digest
    note = looker.events[-1]
    assert note.kind == "note"
    assert "the mirrors could not be reached; going on with the index of 20" in note.text
    assert "geheim" not in json.dumps([each.to_dict() for each in looker.events])


def test_no_index_and_no_mirror(looker: Looker) -> None:
    looker.says("E: Failed to fetch https://me:geheim@site/x  Could not connect")
    with pytest.raises(StepError, match="fetching the package index") as caught:
        looker.open()
    assert "Could not connect" in caught.value.excerpt
    assert caught.value.log
    assert "geheim" not in str(caught.value) + caught.value.log.read_text()
    fake_apt(looker.programs)
    looker.open()


@pytest.mark.parametrize(
    "said",
    [
        "W: GPG error: the public key is not available: NO_PUBKEY 6ED0E7B82643E131",
        "   Missing key 41587F7DB8C774BCCF131416762F67A0B2C39DE4, which is needed",
    ],
)
def test_a_release_whose_key_the_host_does_not_know(looker: Looker, said: str) -> None:
    looker.says(f"{said}\nE: The repository is not signed.")
    with pytest.raises(HostError, match="does not know the key") as caught:
        looker.open()
    assert "a test" in caught.value.what
    assert "debian-archive-keyring" in caught.value.fix
    assert "not signed" in caught.value.excerpt


PACKAGES_FILE = """\
Package: bash
Essential: yes
Priority: required

Package: optional
Description: no line of this says
 Priority: required
Priority: optional

Package: login
Version: 1
Priority: required
"""


def test_the_packages_that_every_debian_has_are_known(looker: Looker, kickstart_of: Parsed) -> None:
    opened = looker.open()
    assert opened.required == ()
    (opened.lists / "mirror_main_binary-amd64_Packages").write_text(PACKAGES_FILE)
    (opened.lists / "mirror_updates_binary-amd64_Packages").touch()
    opened = looker.open(refresh=True)
    assert opened.required == ("bash", "login")
    assert looker.open().required == ("bash", "login")
    resolve(opened, kickstart_of(packages("zsh")), looker.reporter)
    (call,) = [each for each in looker.programs.calls() if "--simulate" in each]
    assert call.endswith("?essential apt bash login zsh")


def test_the_apt_of_the_index_reads_nothing_of_the_host_and_is_private(looker: Looker) -> None:
    folder = looker.open().folder
    assert (folder / "sources.list").stat().st_mode & 0o077 == 0
    conf = (folder / "apt.conf").read_text()
    for setting in ("State::lists", "Cache", "Etc::sourcelist", "Etc::parts"):
        (line,) = [each for each in conf.splitlines() if each.startswith(f"Dir::{setting} ")]
        assert str(folder) in line
    assert (folder / "status").read_text() == ""


def test_a_damaged_state_is_made_again(looker: Looker) -> None:
    opened = looker.open()
    (opened.folder / "index.json").write_text("{")
    assert looker.open() == opened
    assert looker.updates() == 2


# ----- wishes -------------------------------------------------------------------------------------


def packages(*lines: str) -> str:
    return "\n".join(["%packages", *lines, "%end", ""])


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


@pytest.mark.parametrize(("hours", "looks"), [(1, 0), (3, 1)])
def test_how_often_the_mirrors_are_looked_at_can_be_said(
    looker: Looker, hours: float, looks: int
) -> None:
    looker.age(looker.open(), hours * 3600)
    looker.programs.forget()
    looker.open(max_age=2 * 3600)
    assert looker.updates() == looks


def test_offline_takes_an_index_of_any_age_and_fetches_none(looker: Looker) -> None:
    with pytest.raises(StepError, match="none may be fetched") as caught:
        looker.open(offline=True)
    assert "--offline" in caught.value.fix
    looker.age(looker.open(), 90 * 24 * 3600)
    looker.programs.forget()
    assert looker.open(offline=True, refresh=True).digest
    assert looker.updates() == 0


# ----- groups and patterns ------------------------------------------------------------------------

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
