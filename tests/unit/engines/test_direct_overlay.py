"""What an overlay changes, as its upper folder tells."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from imagebuilder.engines.direct.overlay import changes


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    root = tmp_path / "lower"
    for name in ("etc/hosts", "usr/share/old/deep/one", "usr/share/old/two", "usr/bin/tool"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    root = tmp_path / "upper"
    (root / "etc").mkdir(parents=True)
    (root / "etc/motd").write_text("hello")
    (root / "etc/link").symlink_to("motd")
    return root


def test_folders_that_are_as_below_are_no_changes(lower: Path, upper: Path) -> None:
    assert set(changes(upper, lower)) == {"etc/motd", "etc/link"}
    (upper / "etc").chmod(0o700)
    (upper / "new").mkdir()
    assert set(changes(upper, lower)) == {"etc", "new", "etc/motd", "etc/link"}


@pytest.mark.parametrize("what", ["text", "mode", "time", "target", "kind", "gone"])
def test_every_change_differs(lower: Path, upper: Path, what: str) -> None:
    before = changes(upper, lower)
    if what == "text":
        (upper / "etc/motd").write_text("HELLO")
    elif what == "mode":
        (upper / "etc/motd").chmod(0o600)
    elif what == "time":
        os.utime(upper / "etc/motd", (1, 1))
    elif what == "gone":
        (upper / "etc/motd").unlink()
    else:
        (upper / "etc/link").unlink()
        if what == "target":
            (upper / "etc/link").symlink_to("hosts")
        else:
            (upper / "etc/link").write_text("motd")
    assert changes(upper, lower) != before


BELOW = {"usr/share/old/deep", "usr/share/old/deep/one", "usr/share/old/two"}


@pytest.mark.parametrize("instead", ["nothing", "file", "link"])
def test_what_is_removed_with_its_folder_is_told_one_by_one(
    lower: Path, upper: Path, instead: str
) -> None:
    place = upper / "usr/share/old"
    place.parent.mkdir(parents=True)
    if instead == "nothing":
        os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))  # overlayfs' sign of what is gone
    elif instead == "file":
        place.write_text("a file")
    else:
        place.symlink_to("/elsewhere")
    found = set(changes(upper, lower))
    assert found >= {"usr/share/old", *BELOW}
    assert "usr/bin/tool" not in found


def test_a_folder_that_hides_the_one_below_tells_what_is_hidden(lower: Path, upper: Path) -> None:
    place = upper / "usr/share/old"
    place.mkdir(parents=True)
    (place / "two").write_text("new")
    try:
        os.setxattr(place, "user.overlay.opaque", b"y")
    except OSError:  # a tmpfs of an older kernel
        os.setxattr(place, "trusted.overlay.opaque", b"y")
    found = changes(upper, lower)
    assert set(found) >= {"usr/share/old", *BELOW}
    assert found["usr/share/old/two"] != found["usr/share/old/deep/one"]
