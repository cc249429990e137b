"""Which changes of a tree let dracut run again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from imagebuilder.cache import entries
from imagebuilder.engines.direct import initrd_reuse
from imagebuilder.engines.direct.initrd_reuse import FILE, changes, find, keep, may_matter, words

NAMED = frozenset({b"multipath", b"modprobe", b"curl", b"ssh", b"vconsole"})
TAKEN = frozenset({"usr/bin/bash", "etc/motd.d/taken"})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("etc/motd", False),
        ("srv/data/table.csv", False),
        ("usr/local/bin/own-tool", False),
        ("etc/motd.d/taken", True),  # it is in the initrd
        ("usr/bin/bash", True),
        ("usr/local/bin/curl", True),  # dracut takes programs by name, wherever they are
        ("etc/multipath/wwids", True),
        ("etc/modprobe.d/own.conf", True),
        ("root/.ssh/known_hosts", True),
        ("usr/lib/anything", True),
        ("usr/local/lib/libown.so", True),
        ("lib64", True),
        ("usr/libexec/own", True),
        ("usr/liberty", False),
        ("var/lib/dpkg/info/curl.list", False),  # what is recorded of packages
        ("var/lib/dpkg/status", False),
        ("var/lib/dpkg/curl", True),
        ("var/lib/apt/extended_states", False),
        ("usr/share/doc/curl/copyright", False),
        ("usr/share/docking/curl", True),
        ("etc/a/b", True),  # without words nothing can be said
        ("etc/x.conf", True),
    ],
)
def test_what_may_matter(path: str, expected: bool) -> None:
    assert may_matter(path, TAKEN, NAMED) is expected


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
    return root


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    root = tmp_path / "upper"
    (root / "etc").mkdir(parents=True)
    (root / "etc/motd").write_text("hello")
    (root / "etc/link").symlink_to("motd")
    return root


def test_words_of_scripts_programs_and_rules(lower: Path) -> None:
    found = words(lower)
    assert {b"ownfile", b"findword", b"probe"} <= found
    assert found.isdisjoint({b"hosts", b"remark"})


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


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "initrds/uid-0" / ("f" * 32)


def kept(store: Path, tmp_path: Path, changed: dict[str, str], data: bytes = b"initrd") -> None:
    made = tmp_path / "made"
    made.write_bytes(data)
    keep(store, made, changed, ["./usr/bin/bash", "etc/passwd"])


def test_the_same_changes_and_others_that_do_not_matter_find_it(
    store: Path, tmp_path: Path, lower: Path
) -> None:
    assert find(store, {}, lower) is None
    kept(store, tmp_path, {"etc/motd": "one"})
    for wanted in ({"etc/motd": "one"}, {"etc/motd": "two"}, {}, {"srv/site": "new"}):
        found = find(store, wanted, lower)
        assert found
        assert found.read_bytes() == b"initrd"


@pytest.mark.parametrize("path", ["etc/ownfile", "etc/passwd", "usr/lib/x", "usr/local/bin/probe"])
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
        kept(store, tmp_path, {"usr/lib/x": str(n)}, str(n).encode())
    assert find(store, {"usr/lib/x": "1"}, lower) is None
    found = find(store, {"usr/lib/x": "4"}, lower)
    assert found
    assert found.read_bytes() == b"4"
    for name in ("second", "third"):
        kept(store.parent / name, tmp_path, {})
    assert sorted(each.name for each in store.parent.iterdir()) == ["second", "third"]


def test_no_half_of_one_is_left(store: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="made"):
        keep(store, tmp_path / "made", {}, [])
    assert not list(store.iterdir())


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
    keep(store, made, {}, ())
    assert [path.name for path in store.glob(".new-*")] == [".new-young"]
    assert find(store, {}, lower)
