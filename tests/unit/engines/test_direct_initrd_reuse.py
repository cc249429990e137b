"""Which changes of a tree let dracut run again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from imagebuilder.cache import entries
from imagebuilder.engines.direct import initrd_reuse
from imagebuilder.engines.direct.dracut_asks import Asks
from imagebuilder.engines.direct.initrd_reuse import FILE, Kept, find, keep, may_matter, note_taken

KEPT = Kept(
    sha256="",
    changes={},
    taken=frozenset({"usr/bin/bash", "etc/motd.d/taken", "usr/lib/libz.so.1", "etc/ld.so.cache"}),
    libraries=frozenset({"libz", "libcurl"}),
)
ASKS = Asks(
    names=frozenset({"curl", "ssh", "vconsole.conf"}),
    patterns=frozenset({"fsck.*"}),
    programs=frozenset({"curl"}),
    endings=frozenset(),
    folders=frozenset({"multipath"}),
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("etc/motd", False),
        ("usr/local/bin/own-tool", False),
        ("etc/motd.d/taken", True),  # it is in the initrd
        ("usr/bin/bash", True),
        ("usr/local/bin/bash", True),  # it may be found in the place of the other
        ("usr/share/doc/x/bash", False),
        ("usr/local/bin/curl", True),  # dracut asks for it
        ("usr/share/doc/curl", False),
        ("usr/lib/libz.so.1.3", True),  # another version of a library that is in the initrd
        ("usr/lib/libcurl.so.4", True),  # and of one that a program may load
        ("opt/own/libz.so", True),
        ("usr/lib/libown.so.1", False),  # no program that worked asked for it
        ("usr/lib/libown-z.so.1", False),
        ("etc/ld.so.cache", False),  # the initrd has one of its own
    ],
)
def test_what_may_matter(path: str, expected: bool) -> None:
    assert may_matter(path, KEPT, ASKS) is expected


def test_without_a_list_of_libraries_each_may_matter() -> None:
    old = KEPT.model_copy(update={"libraries": None})
    assert may_matter("usr/lib/libown.so.1", old, ASKS)


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    root = tmp_path / "lower"
    (root / "usr/lib/dracut/modules.d/99own").mkdir(parents=True)
    setup = root / "usr/lib/dracut/modules.d/99own/module-setup.sh"
    setup.write_text("# a remark\ninst /etc/ownfile\n")
    (root / "usr/bin").mkdir()
    (root / "usr/bin/dracut").write_bytes(b"\0\0findword\0")
    (root / "etc/udev/rules.d").mkdir(parents=True)
    (root / "etc/udev/rules.d/1.rules").write_text('PROGRAM="/usr/local/bin/probe"\n')
    (root / "etc/hosts").write_text("hosts")
    (root / "usr/lib/libold.so.1").touch()
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "initrds/uid-0" / ("f" * 32)


def kept(store: Path, tmp_path: Path, changed: dict[str, str], data: bytes = b"initrd") -> None:
    made = tmp_path / "made"
    made.write_bytes(data)
    keep(store, made, changed, ["./usr/bin/bash", "etc/passwd"], tmp_path / "lower")


def test_the_same_changes_and_others_that_do_not_matter_find_it(
    store: Path, tmp_path: Path, lower: Path
) -> None:
    assert find(store, {}, lower) is None
    kept(store, tmp_path, {"etc/motd": "one"})
    for wanted in ({"etc/motd": "one"}, {"etc/motd": "two"}, {}, {"srv/site": "new"}):
        found = find(store, wanted, lower)
        assert found
        assert found.read_bytes() == b"initrd"


@pytest.mark.parametrize(
    "path",
    ["etc/ownfile", "etc/passwd", "usr/lib/udev/x", "usr/local/bin/probe", "usr/lib/libold.so.2"],
)
def test_changes_that_may_matter_do_not_find_it(
    store: Path, tmp_path: Path, lower: Path, path: str
) -> None:
    kept(store, tmp_path, {"etc/motd": "one", path: "as it was"})
    assert find(store, {"etc/motd": "one", path: "as it was"}, lower)
    assert find(store, {"etc/motd": "one", path: "changed"}, lower) is None
    assert find(store, {"etc/motd": "one"}, lower) is None
    kept(store, tmp_path, {}, b"another")
    assert find(store, {path: "new"}, lower) is None


def test_a_damaged_one_is_thrown_away(store: Path, tmp_path: Path, lower: Path) -> None:
    kept(store, tmp_path, {})
    (file,) = store.glob(f"*/{FILE}")
    file.write_bytes(b"INITRD")
    assert find(store, {}, lower) is None
    assert not list(store.iterdir())
    kept(store, tmp_path, {})
    (facts,) = store.glob("*/initrd.json")
    facts.write_text("{")
    assert find(store, {}, lower) is None


def test_the_oldest_of_too_many_are_removed(
    store: Path, tmp_path: Path, lower: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initrd_reuse, "_KEPT", 3)
    monkeypatch.setattr(initrd_reuse, "_LAYERS", 2)
    for n in range(5):
        kept(store, tmp_path, {"etc/ownfile": str(n)}, str(n).encode())
    assert find(store, {"etc/ownfile": "1"}, lower) is None
    found = find(store, {"etc/ownfile": "4"}, lower)
    assert found
    assert found.read_bytes() == b"4"
    for name in ("second", "third"):
        kept(store.parent / name, tmp_path, {})
    assert sorted(each.name for each in store.parent.iterdir()) == ["second", "third"]


def test_no_half_of_one_is_left(store: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="made"):
        keep(store, tmp_path / "made", {}, [], tmp_path)
    assert not list(store.iterdir())


def test_what_is_noted_of_one_that_is_taken_is_of_the_image_that_takes_it(
    store: Path, tmp_path: Path, lower: Path
) -> None:
    kept(store, tmp_path, {"etc/motd": "one", "etc/private": "digest"})
    wanted = {"etc/motd": "two", "usr/lib/libnew.so.1": "new"}
    found = find(store, wanted, lower)
    assert found
    into = tmp_path / "image/initrd.img"
    note_taken(found, wanted, into)  # without a folder of logs nothing is noted
    (into.parent / "logs").mkdir(parents=True)
    note_taken(found, wanted, into)
    record = into.parent / initrd_reuse.RECORD
    noted = Kept.model_validate_json(record.read_bytes())
    assert noted.changes == wanted
    assert noted.libraries == {"libold", "libnew"}
    assert noted.taken == {"usr/bin/bash", "etc/passwd"}
    assert noted.family == store.name
    assert record.stat().st_mode & 0o777 == 0o600


def test_use_is_noted_where_the_cache_looks_for_it(
    store: Path, tmp_path: Path, lower: Path
) -> None:
    kept(store, tmp_path, {})
    (facts,) = store.glob("*/initrd.json")
    os.utime(facts, (1, 1))
    assert find(store, {}, lower)
    (entry,) = entries(store.parents[2])
    assert entry.path == facts.parent
    assert entry.used > 1


def test_nobody_else_may_read_what_was_changed(store: Path, tmp_path: Path) -> None:
    kept(store, tmp_path, {"etc/secret": "digest"})
    (facts,) = store.glob("*/initrd.json")
    assert facts.stat().st_mode & 0o777 == 0o600


def test_half_of_one_hides_no_other(store: Path, tmp_path: Path, lower: Path) -> None:
    kept(store, tmp_path, {})
    (store / "half").mkdir()
    assert find(store, {}, lower)


def test_halves_of_builds_long_killed_are_removed(store: Path, lower: Path, tmp_path: Path) -> None:
    made = tmp_path / "initrd.img"
    made.write_bytes(b"initrd")
    for name, age in ((".new-old", initrd_reuse._HALF + 60), (".new-young", 0)):
        (store / name).mkdir(parents=True)
        then = time.time() - age
        os.utime(store / name, (then, then))
    keep(store, made, {}, (), tmp_path)
    assert [path.name for path in store.glob(".new-*")] == [".new-young"]
    assert find(store, {}, lower)
