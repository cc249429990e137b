"""Which version of a tool of the host an image is made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder import tools

STATUS = """\
Package: mmdebstrap
Status: install ok installed
Architecture: all
Version: 2:1.9.9-3+deb13u1
Description: a tool
 with a long description

Package: squashfs-tools
Status: deinstall ok config-files
Version: 1:4.5.1-1

Package: apt-utils
Status: install ok installed
Version: 2.9
"""


@pytest.fixture
def dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of dpkg, on a host without any program."""
    status = tmp_path / "status"
    status.write_text(STATUS)
    monkeypatch.setattr(tools, "DPKG", status)
    monkeypatch.setattr(tools, "find", lambda name: None)
    return status


def test_what_dpkg_knows_is_told_without_epoch_and_revision(dpkg: Path) -> None:
    assert tools.installed_version("mmdebstrap") == "1.9.9"
    dpkg.write_text(STATUS.replace("1.9.9", "1.10"))
    assert tools.installed_version("mmdebstrap") == "1.10"


@pytest.mark.parametrize(
    ("package", "version"), [("squashfs-tools", "4.5.1"), ("apt", "2.6.1"), ("erofs-utils", "1.5")]
)
def test_one_that_is_not_installed_counts_as_that_of_debian_12(
    dpkg: Path, package: str, version: str
) -> None:
    assert tools.installed_version(package) == version
    dpkg.unlink()
    assert tools.installed_version(package) == version


@pytest.mark.parametrize(
    ("folder", "version"),
    [
        ("/usr/local/bin", "4.6.1"),  # in the place of the distribution's
        ("/usr/bin", "4.4"),
    ],
)
def test_the_administrators_own_is_asked(
    dpkg: Path, monkeypatch: pytest.MonkeyPatch, folder: str, version: str
) -> None:
    tools._asked.cache_clear()
    dpkg.write_text("Package: squashfs-tools\nStatus: hold ok installed\nVersion: 1:4.4-2\n")
    monkeypatch.setattr(tools, "find", lambda name: f"{folder}/{name}")
    said = "mksquashfs version 4.6.1 (2023/03/25)"
    monkeypatch.setattr(tools, "versions", lambda *names: dict.fromkeys(names, said))
    assert tools.installed_version("squashfs-tools") == version


def test_without_dpkg_the_program_is_asked(dpkg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools._asked.cache_clear()
    dpkg.unlink()
    monkeypatch.setattr(tools, "find", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(tools, "versions", lambda *names: dict.fromkeys(names, "apt 3.0.3 (amd64)"))
    assert tools.installed_version("apt") == "3.0.3"
    monkeypatch.setattr(tools, "versions", lambda *names: dict.fromkeys(names, ""))
    tools._asked.cache_clear()
    assert tools.installed_version("apt") == "2.6.1"
