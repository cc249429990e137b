from __future__ import annotations

import re
from pathlib import Path

import pytest
from pykickstart.version import versionMap

from imagebuilder import distro
from imagebuilder.errors import InputError, Location

PAGE = (Path(__file__).parents[2] / "docs/distros.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", distro.names())
def test_each_is_found_by_its_id_and_has_a_kickstart_syntax(name: str) -> None:
    found = distro.find(name)
    assert found.id == name
    assert found.kickstart_version in versionMap
    assert found.version == str(found.major)
    assert bool(found.suite) == (found.family == "debian")
    assert (found.package_manager == "apt") == (found.family == "debian")
    assert found in distro.of_family(found.family)


@pytest.mark.parametrize(
    ("name", "family", "syntax", "baseline"),
    [
        ("debian-12", "debian", "RHEL9", "v1"),
        ("debian-13", "debian", "RHEL10", "v1"),
        ("fedora-40", "fedora", "F40", "v1"),
        ("fedora-44", "fedora", "F44", "v1"),
        ("rhel-8", "el", "RHEL8", "v1"),
        ("almalinux-9", "el", "RHEL9", "v2"),
        ("rocky-10", "el", "RHEL10", "v3"),
        ("centos-stream-10", "el", "RHEL10", "v3"),
    ],
)
def test_what_differs(name: str, family: str, syntax: str, baseline: str) -> None:
    found = distro.find(name)
    assert (found.family, found.kickstart_version, found.cpu_baseline) == (
        family,
        syntax,
        baseline,
    )


def test_a_name_as_os_release_has_it() -> None:
    assert distro.find("centos-stream-9").name == "centos"
    assert distro.find("almalinux-9").name == "almalinux"


def test_a_minor_release_is_its_major_one_with_another_version() -> None:
    minor, major = distro.find("rocky-9.6"), distro.find("rocky-9")
    assert (minor.id, minor.version, minor.major) == ("rocky-9.6", "9.6", 9)
    assert minor.kickstart_version == major.kickstart_version
    assert minor.cpu_baseline == major.cpu_baseline
    assert distro.find("rhel-10.0").version == "10.0"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nosuch",
        "debian-12.1",  # a point release of Debian is no release of its own
        "debian-12\n",
        "rhel-9.06",
        "rhel-7.9",
        "rhel-9.",
        "rhel-9.6\n",
        "centos-stream-9.6",
        "fedora-42.1",
    ],
)
def test_an_unknown_one_is_refused_with_its_place(name: str) -> None:
    where = Location(file="x", line=1)
    with pytest.raises(InputError) as caught:
        distro.find(name, where)
    assert caught.value.where == where
    assert "debian-13" in caught.value.fix


def test_what_its_packages_call_an_architecture() -> None:
    assert distro.find("debian-13").package_arch("x86_64") == "amd64"
    assert distro.find("debian-13").package_arch("aarch64") == "arm64"
    assert distro.find("rocky-9").package_arch("aarch64") == "aarch64"


def test_the_page_tells_of_each_with_its_syntax_and_baseline() -> None:
    rows = [row.split("|")[1:5] for row in PAGE.splitlines() if row.count("|") == 6]
    told = {}
    for ids, family, syntax, baseline in rows[2:]:  # after the head
        names = re.findall(r"`([^`]+)`", ids)
        if "…" in ids:
            first, last = (int(name.rpartition("-")[2]) for name in names)
            names = [f"fedora-{n}" for n in range(first, last + 1)]
            syntaxes = [f"F{n}" for n in range(first, last + 1)]
            assert syntax.split() == [syntaxes[0], "…", syntaxes[-1]]
        else:
            syntaxes = [syntax.strip()] * len(names)
        for name, each in zip(names, syntaxes, strict=True):
            told[name] = (family.strip(" `"), each, baseline.strip())
    known = map(distro.find, distro.names())
    assert told == {
        each.id: (each.family, each.kickstart_version, each.cpu_baseline) for each in known
    }
