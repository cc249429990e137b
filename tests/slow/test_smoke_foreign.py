"""An image that no tool of ours made: Debian's live-boot, put together by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from imagebuilder.checks import CommandCheck, MountCheck
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import Subject, report_text, smoke_test

pytestmark = [pytest.mark.paths, pytest.mark.slow, pytest.mark.timeout(1500)]

PACKAGES = (
    "linux-image-cloud-amd64,systemd-sysv,udev,dbus,kmod,busybox,wget,initramfs-tools,"
    "live-boot,live-boot-initramfs-tools"
)


@pytest.mark.skipif(os.geteuid() != 0, reason="its tree keeps its owners")
def test_an_image_of_live_boot_is_booted_and_looked_at(host_tools: None, tmp_path: Path) -> None:
    tree, rootfs = tmp_path / "tree", tmp_path / "filesystem.squashfs"
    make = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={PACKAGES}", "bookworm"]
    subprocess.run([*make, str(tree)], check=True)
    pack = ["mksquashfs", str(tree), str(rootfs), "-comp", "zstd", "-no-progress", "-quiet"]
    subprocess.run([*pack, "-Xcompression-level", "3"], check=True)
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    (initrd,) = (tree / "boot").glob("initrd.img-*")
    subject = Subject.of_files(
        kernel=kernel,
        initrd=initrd,
        rootfs=rootfs,
        args="boot=live fetch={rootfs} ip=dhcp quiet",
        output=tmp_path / "out",
    )
    report = smoke_test(
        subject,
        [CommandCheck(command="cat /proc/cmdline", matches="boot=live"), MountCheck(mount="/")],
        SmokeOptions(paths=("kernel", "pxe-bios")),
        cache_dir=tmp_path / "cache",
    )
    print(report_text(report))
    shutil.rmtree(tree)
    assert report.passed
    assert all("rootfs fetched" in boot.stages for boot in report.boots)
