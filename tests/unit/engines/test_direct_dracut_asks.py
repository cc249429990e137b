"""What dracut may ask for, as its scripts say."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.engines.direct import dracut_asks
from imagebuilder.engines.direct.dracut_asks import Asks, is_record, libraries, library

SETUP = r"""
# inst /etc/remark
install() {
    inst_multiple -o named $systemdutildir/systemd-helper.service --option
    inst_simple /etc/single/known.conf
    for each in "$root"/etc/whole/*.conf "$moddir"/collected/$name; do inst $each; done
    inst_libdir_file "libplug*.so*" {"/opt/x/",}braced
    inst /usr/libexec/deep/daemon "$dir/$name.own"
    for name in first second; do inst "/etc/$name".conf; done
    command -v "fsck".$fs mkfs.'*' /usr/share/last.
}
"""


@pytest.fixture
def asks(tmp_path: Path) -> Asks:
    place = tmp_path / "usr/lib/dracut/modules.d/99own"
    place.mkdir(parents=True)
    (place / "module-setup.sh").write_text(SETUP)
    (place / "README").write_text("read-me")
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/dracut").write_bytes(b"\0\0compiled-in\0")
    (tmp_path / "etc/udev/rules.d").mkdir(parents=True)
    (tmp_path / "etc/udev/rules.d/1.rules").write_text('PROGRAM="/usr/local/bin/probe $attr{x}"\n')
    (tmp_path / "etc/other").write_text("elsewhere")
    return dracut_asks.read(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/named",
        "opt/named",  # wherever it is
        "usr/lib/systemd/system/systemd-helper.service",
        "etc/systemd/system/systemd-helper.service.d/own.conf",
        "etc/single/known.conf",
        "etc/whole",
        "etc/whole/anything",
        "etc/whole/deep/anything",
        "srv/collected/anything",
        "usr/lib/libplug-in.so.1",
        "usr/sbin/fsck.own",
        "usr/sbin/mkfs.own",
        "usr/share/last",
        "usr/share/braced",
        "usr/bin/compiled-in",
        "usr/local/bin/probe",
        "usr/libexec/deep/daemon",
        "usr/sbin/daemon",  # dracut looks for it in PATH as well
        "etc/first.conf",
        "etc/second.own",
        # Whatever the scripts say:
        "lib64",
        "usr/lib",
        "usr/lib/modules/6.1/updates/own.ko",
        "usr/lib/firmware/own.bin",
        "usr/lib/x86_64-linux-gnu/ld-own.so.2",
        "usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libown.so",
        "etc/ld.so.conf.d/own.conf",
        "etc/ld.so.preload",
        "etc/dracut.conf.d/own.conf",
        "etc/modprobe.d/own.conf",
        "etc/udev/rules.d/own.rules",
    ],
)
def test_what_it_may_ask_for(asks: Asks, path: str) -> None:
    assert asks.may_read(path)
    assert not is_record(path)


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/own",
        "usr/bin/option",
        "usr/bin/remark",
        "usr/bin/read-me",
        "usr/bin/elsewhere",
        "usr/bin/named-not",
        "etc/single/other.conf",  # of that folder one file is taken
        "etc/collect/own",
        "usr/share/other/daemon",
        "etc/third.conf",
        "usr/lib/systemd/system/own.service",
        "etc/systemd/system/own.service.d/own.conf",
        "usr/lib/x86_64-linux-gnu/libown.so.1",
        "usr/lib/python3/dist-packages/own.py",
        "usr/liberty/own",
        "etc/own.conf",
    ],
)
def test_what_it_cannot_ask_for(asks: Asks, path: str) -> None:
    assert not asks.may_read(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("var/lib/dpkg/info/curl.list", True),
        ("var/lib/dpkg/status", True),
        ("var/lib/dpkg/curl", False),
        ("var/lib/apt/extended_states", True),
        ("etc/ld.so.cache", True),
        ("usr/share/doc/curl/copyright", True),
        ("usr/share/docking/curl", False),
        ("usr/share/locale/de/LC_MESSAGES/curl.mo", True),
        ("usr/share/locale/locale.alias", False),
    ],
)
def test_what_is_only_recorded(path: str, expected: bool) -> None:
    assert is_record(path) is expected


def test_a_tree_without_dracut_asks_for_nothing(tmp_path: Path) -> None:
    asks = dracut_asks.read(tmp_path)
    assert not asks.may_read("usr/bin/anything")
    assert asks.may_read("usr/lib/modules/6.1/own.ko")


def test_libraries_of_a_tree(tmp_path: Path) -> None:
    for name in ("usr/lib/x86_64-linux-gnu/libz.so.1.2", "usr/local/lib/libown-2.so", "opt/a/b.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "usr/lib/no.sound").touch()
    (tmp_path / "lib").symlink_to("usr/lib")
    assert libraries(tmp_path) == {"libz", "libown-2", "b"}
    assert library("ld.so.conf") == "ld"
    assert library("libc.a") == ""
