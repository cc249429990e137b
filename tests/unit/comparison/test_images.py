"""How two images differ: each kind of thing once, and what follows from it never again."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import images
import pytest
import zstandard
from images import KICKSTART, REPORT, make

from imagebuilder import cpio
from imagebuilder.comparison import Comparison, compare_images
from imagebuilder.comparison.boots import Boots
from imagebuilder.comparison.members import of_initrd
from imagebuilder.engines import erofs
from imagebuilder.errors import StepError
from imagebuilder.image import EROFS
from imagebuilder.options import Options
from imagebuilder.progress import Cancel


class Compared:
    """Compares the image that a test starts from with others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first = make(folder)

    def __call__(self, *, files: bool | None = None, **other: Any) -> Comparison:
        options = Options.make(cache_dir=self.folder / "cache")
        found = compare_images(self.first, make(self.folder, **other), files=files, options=options)
        assert list((self.folder / "cache/work").iterdir()) == []
        return found

    def told(self, **other: Any) -> list[str]:
        return [str(each) for each in self(**other).differences]


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    return Compared(tmp_path)


ADDED = {
    "etc/motd": "hello\nfleet\n",
    "usr/bin/htop": "a program\n",
    "var/lib/dpkg/status": "vim htop\n",
    "var/lib/dpkg/info/htop.list": "/.\n/usr\n/bin/htop\n/usr/lib/libnl.so\n",
    "usr/lib/libnl.so": "a library\n",
    "etc/ld.so.cache": "x",
    "usr/bin/top": "-> /etc/alternatives/top",
    "etc/alternatives/top": "-> /usr/bin/htop",
    "etc/systemd/system/multi-user.target.wants/chrony.service": "-> /lib/systemd/system/x",
    "etc/systemd/system/chronyd.service": "-> /lib/systemd/system/chrony.service",
}


def test_these_four_things_and_no_others(compared: Compared) -> None:
    found = compared(
        tree=ADDED,
        packages={"htop": "3.2"},
        kernel_args=("quiet", "debug"),
        kickstart=KICKSTART.replace("vim\n", "vim\nhtop\n"),
        initrd={"etc/ld.so.cache": "x"},
    )
    assert [str(each) for each in found.differences] == [
        "+ kernel argument debug",
        "+ package htop: 3.2",
        "~ unit chrony.service: disabled → enabled",
        "~ file /etc/motd: size 6 B → size 12 B",
    ]
    assert found.differences[-1].detail == " hello\n+fleet"
    assert found.notes == ()


def test_an_image_and_itself(compared: Compared) -> None:
    found = compared(kickstart=f"# in other words\n{KICKSTART}", notes=("other",))
    assert found.is_same
    assert found.with_files
    assert found.measures[0].name == "rootfs.squashfs"
    assert not any(each.change for each in found.measures)


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ({"kernel_args": ("quiet", "quiet")}, ["~ kernel argument quiet: 1 time → 2 times"]),
        ({"kernel_release": "6.1.1"}, ["~ kernel release: 6.1.0 → 6.1.1"]),
        ({"tree": {"etc/motd": None}}, ["- file /etc/motd: mode 0644, owner root:root, size 6 B"]),
        ({"modes": {"etc/motd": 0o600}}, ["~ file /etc/motd: mode 0644 → mode 0600"]),
        ({"tree": {"etc/motd": "olleh\n"}},
         ["~ file /etc/motd: content of the same size → another content"]),
        ({"tree": {"etc/secret": "two\n"}},
         ["~ file /etc/secret: content of the same size → another content"]),
        ({"tree": {"etc/systemd/system/ssh.service": "-> /dev/null"}},
         ["~ unit ssh.service: enabled → masked"]),
        ({"tree": {"etc/systemd/system/multi-user.target.wants/ssh.service": None}},
         ["~ unit ssh.service: enabled → disabled"]),
        ({"tree": {"etc/systemd/system/getty.target.wants/getty@tty2.service": "-> x"}},
         ["~ unit getty@tty2.service: disabled → enabled"]),
        ({"tree": {"etc/systemd/system/default.target": "-> rescue.target"}},
         ["~ setting default.target: multi-user.target → rescue.target"]),
        ({"tree": {"etc/systemd/system/own.service": "[Unit]\n",
                   "etc/systemd/system/multi-user.target.wants/own.service": "-> ../own.service"}},
         ["+ unit own.service: enabled",
          "+ file /etc/systemd/system/own.service: mode 0644, owner root:root, size 7 B"]),
        ({"initrd": {"usr/lib/modules/6.1.0/kernel/nvme-core.ko.xz": "x"}},
         ["+ initrd driver nvme_core"]),
        ({"initrd": {"usr/lib/dracut/modules.txt": "base\n", "usr/lib/livenet.sh": "x"}},
         ["- initrd module livenet",
          "+ initrd file /usr/lib/livenet.sh: mode 0644, owner root:root, size 1 B"]),
        ({"packages": {"vim": None}}, ["- package vim: 2:9.0-1"]),
        ({"packages": {"vim": "1:9.1-1"}}, ["~ package vim: 2:9.0-1 → 1:9.1-1 (a step back)"]),
        ({"packages": {"vim": "2:9.10-1"}}, ["~ package vim: 2:9.0-1 → 2:9.10-1"]),
        ({"kickstart": KICKSTART.replace("22:tcp", "22:tcp,80:tcp"),
          "tree": {"etc/nftables.conf": "table b\n"}}, ["+ port 80:tcp: open"]),
        ({"tree": {"etc/nftables.conf": "table b\n"}},
         ["~ file /etc/nftables.conf: content of the same size → another content"]),
    ],
)  # fmt: skip
def test_each_kind(compared: Compared, other: dict[str, Any], wanted: list[str]) -> None:
    assert compared.told(**other) == wanted


def test_users_are_told_in_their_words_and_passwords_never(compared: Compared) -> None:
    found = compared(
        tree={
            "etc/passwd": images.TREE["etc/passwd"].replace("/bin/sh", "/bin/zsh")
            + "bo:x:1001:1001:Bo:/home/bo:/bin/sh\n",
            "etc/shadow": "root:!:1::::::\nal:$6$second:1::::::\nbo:$6$third:1::::::\n",
            "etc/group": "root:x:0:\nadm:x:4:al\nal:x:1000:\nbo:x:1001:\n",
        }
    )
    assert [str(each) for each in found.differences] == [
        "~ user al: groups none, shell /bin/sh → groups adm, shell /bin/zsh",
        "+ user bo: uid 1001, group bo, name Bo, home /home/bo, shell /bin/sh, password set",
        "+ group bo: gid 1001",
    ]
    only = compared(tree={"etc/shadow": "root:!:1::::::\nal:$6$second:1::::::\n"})
    assert [str(each) for each in only.differences] == ["~ user al: a password → another password"]
    assert "$6$" not in str([found.to_dict(), only.to_dict()])


def test_what_others_may_not_read_is_compared_and_not_shown(compared: Compared) -> None:
    (open_file,) = compared(tree={"etc/motd": "hallo\n"}).differences
    assert open_file.detail == "-hello\n+hallo"
    (secret,) = compared(tree={"etc/secret": "two\n"}).differences
    assert secret.detail == ""
    (opened,) = compared(tree={"etc/secret": "two\n"}, modes={"etc/secret": 0o644}).differences
    assert opened.detail == ""  # what it was before was a secret
    (line,) = compared(tree={"etc/motd": "http://me:hidden@host/\n"}).differences
    assert "hidden" not in line.detail


def test_owners(compared: Compared) -> None:
    found = compared.told(owner=1000)
    assert "~ file /etc/motd: owner root:root → owner al:root" in found


def test_a_new_folder_is_told_with_all_that_is_in_it(compared: Compared) -> None:
    many: dict[str, str | None] = {f"opt/app/{n}/file": "x" * 100 for n in range(9)}
    assert compared.told(tree=many) == ["+ file /opt/: 9 files, 900 B"]
    few: dict[str, str | None] = {"opt/app/file": "x"}
    assert compared.told(tree=few)[-1].startswith("+ file /opt/app/file: mode")


def test_what_is_not_told_is_counted(compared: Compared) -> None:
    many: dict[str, str | None] = {f"etc/f{n}": "x" for n in range(503)}
    found = compared(tree=many)
    assert len(found.differences) == 500
    assert found.notes == ("3 more files differ",)


def test_packages_that_nobody_asked_for_came_along(compared: Compared) -> None:
    found = compared(
        packages={"htop": "3", "libnl": "1", "vim": None, "base-files": "12.5"},
        kickstart=KICKSTART.replace("vim\n", "htop\n"),
    )
    assert [(each.name, each.note) for each in found.differences] == [
        ("base-files", "up"),
        ("htop", ""),
        ("libnl", "along"),
        ("vim", ""),
    ]


def test_files_of_rpms_are_counted(compared: Compared, tmp_path: Path) -> None:
    """No list of theirs can be read, but they are where packages put files."""
    both = []
    for version in ("1.0-1", "1.0~rc1-1"):
        tree = {"usr/bin/tool": version, "usr/local/bin/own": version, "etc/tool.conf": version}
        image = make(tmp_path, tree=tree, packages={"tool": version})
        listed = image.path / "packages.json"
        listed.write_text(listed.read_text().replace('"dpkg"', '"rpm"'))
        both.append(image)
    options = Options.make(cache_dir=tmp_path / "cache")
    found = compare_images(both[0], both[1], options=options)
    assert [str(each).partition(": size")[0] for each in found.differences] == [
        "~ package tool: 1.0-1 → 1.0~rc1-1 (a step back)",
        "~ file /etc/tool.conf",
        "~ file /usr/local/bin/own",
    ]
    assert found.notes[-1] == "below /usr, 1 file taken for those of the packages"


def test_without_files_the_kickstart_says_what_it_can(compared: Compared) -> None:
    found = compared(
        files=False,
        tree={"etc/motd": "other\n"},
        kickstart=KICKSTART.replace("lang C.UTF-8", "lang C.UTF-8\nservices --enabled=chrony"),
    )
    assert [str(each) for each in found.differences] == ["+ unit chrony: enabled"]
    assert not found.with_files
    (only,) = compared.told(files=False, tree={"etc/motd": "other\n"})
    assert only.startswith("~ artefact rootfs.squashfs: ")
    assert only.endswith("; --files says how")


def test_measures_and_tests(compared: Compared) -> None:
    boot = REPORT["boots"][0]
    slower = {
        **boot, "seconds_to_multi_user": 12.5, "checks": [{"title": "ssh", "outcome": "failed"}],
        "memory_peak_mib": 300.5,
    }  # fmt: skip
    report = {
        "passed": False,
        "boots": [slower, {**boot, "machine": 2}],
        "memory": {"mib": 512, "too_little_mib": 480},
    }
    found = compared(report=report, tree_size=2_000_000)
    assert [str(each) for each in found.differences] == ["~ test ssh, pxe-bios: passed → failed"]
    said = [str(each) for each in found.measures]
    assert "files, unpacked: 1.0 MB → 2.0 MB (+1.0 MB)" in said
    assert "time to boot, pxe-bios: 10.0 s → 12.5 s (+2.5 s)" in said
    assert "packages: 2" in said
    assert "most memory in use, pxe-bios: not known → 315.1 MB" in said
    assert "memory that it needs: not known → 536.9 MB" in said
    assert "time to boot, pxe-bios, machine 2: not known → 10.0 s" in said
    untested = compared(report={})
    assert "time to boot, pxe-bios: 10.0 s → not known" in map(str, untested.measures)


def test_reports_of_other_versions_are_read() -> None:
    first = b'{"format": 1, "passed": true, "boot_path": "pxe-uefi", "seconds_to_multi_user": 3}'
    found = Boots.read(first)
    assert found
    assert found.by_path()["pxe-uefi"].seconds_to_multi_user == 3
    assert Boots.read(b'{"passed": true, "boots": [], "of a later version": 1}')
    assert Boots.read(b"[]") is None


def test_components_that_are_called_otherwise(compared: Compared) -> None:
    other = make(compared.folder, tree_size=5)
    sbom = other.path / "sbom.cdx.json"
    sbom.write_text(sbom.read_text().replace("pkg:deb/12.4", "pkg:deb/other"))
    options = Options.make(cache_dir=compared.folder / "cache")
    found = compare_images(compared.first, other, options=options)
    assert [str(each) for each in found.differences] == [
        "~ component base-files:amd64: pkg:deb/12.4 → pkg:deb/other"
    ]
    sbom.write_text("[")
    broken = compare_images(compared.first, other, options=options)
    assert broken.is_same
    assert broken.notes == (f"base {other.id}: its bill of materials cannot be read",)


def test_zeros_may_follow_an_initrd_and_nothing_may_lack(tmp_path: Path) -> None:
    path = tmp_path / "initrd.img"
    entry = cpio.Entry(path="x", content=bytes(range(256)) * 100, mode=0o644)
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(cpio.archive([entry]))
    path.write_bytes(packed)
    cpio.align(path)
    with path.open("ab") as file:
        file.write(bytes(4))
    assert of_initrd(path, tmp_path, Cancel())["x"].data == entry.content
    for wrong in (packed[:-5], packed[:50] + bytes(20) + packed[70:]):
        path.write_bytes(wrong)
        with pytest.raises(StepError, match=r"initrd\.img is damaged"):
            of_initrd(path, tmp_path, Cancel())


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, lambda data: data])
def test_an_initrd_that_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Any
) -> None:
    monkeypatch.setattr("imagebuilder.comparison.members._MOST_INITRD", 100_000)
    path = tmp_path / "initrd.img"
    path.write_bytes(
        compress(cpio.archive([cpio.Entry(path="x", content=bytes(200_000), mode=0o644)]))
    )
    if compress in (gzip.compress, zstandard.compress):
        with pytest.raises(StepError, match="unpacks to more"):
            of_initrd(path, tmp_path, Cancel())
    else:
        assert len(of_initrd(path, tmp_path, Cancel())["x"].data) == 200_000


@pytest.mark.parametrize(
    ("name", "most", "said"),
    [("_MOST_LISTED", 100, "more files than can be compared"), ("_MOST_ROOT", 4096, "reading")],
)
def test_a_root_file_system_that_fills_the_disk_is_refused(
    compared: Compared, monkeypatch: pytest.MonkeyPatch, name: str, most: int, said: str
) -> None:
    monkeypatch.setattr(f"imagebuilder.comparison.members.{name}", most)
    with pytest.raises(StepError, match=said):
        compared(tree={"usr/bin/large": "x" * 100_000})
    assert list((compared.folder / "cache/work").iterdir()) == []


@pytest.mark.skipif(not erofs.version(), reason="no mkfs.erofs; run ci/setup --tests")
def test_a_root_that_is_an_erofs_is_looked_into(compared: Compared) -> None:
    assert compared.told(rootfs=EROFS) == ["~ setting image.filesystem: squashfs → erofs"]
    changed = compared(rootfs=EROFS, tree={"etc/motd": "hi\n"}, modes={"etc/secret": 0o600})
    assert [str(each) for each in changed.differences] == [
        "~ setting image.filesystem: squashfs → erofs",
        "~ file /etc/motd: size 6 B → size 3 B",
        "~ file /etc/secret: mode 0640 → mode 0600",
    ]
    assert "rootfs" in {each.name for each in changed.measures}
    first = make(compared.folder / "both", rootfs=EROFS)
    second = make(compared.folder / "both", rootfs=EROFS, tree={"etc/motd": "hi\n"})
    both = compare_images(first, second, options=Options.make(cache_dir=compared.folder / "cache"))
    assert [str(each) for each in both.differences] == ["~ file /etc/motd: size 6 B → size 3 B"]
    assert "rootfs.erofs" in {each.name for each in both.measures}


def test_archives_that_lead_backwards_or_stand_in_each_other(tmp_path: Path) -> None:
    path = tmp_path / "initrd.img"
    path.write_bytes(b"070701" + b"-0000fff" * 13 + b"x" * 50)
    with pytest.raises(StepError, match="damaged archive"):
        of_initrd(path, tmp_path, Cancel())
    data = b"x"
    for _ in range(20):
        data = gzip.compress(data)
    path.write_bytes(data)
    with pytest.raises(StepError, match="packed more than 16 times"):
        of_initrd(path, tmp_path, Cancel())
