"""Real images booted as in a rack: over UEFI HTTP, with VLANs, several cards, several machines.

One boot, of a release in a bucket over UEFI HTTP, is part of every run.  The rest are left out
of ``ci/test``: ``pytest -m paths tests/slow``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import seaweed
from support import Cli

import imagebuilder
from imagebuilder.checks import Check, CommandCheck
from imagebuilder.errors import HostError
from imagebuilder.recipe import BootPathName, SmokeOptions
from imagebuilder.smoke import SmokeReport, Subject, load_report, report_text, smoke_test
from imagebuilder.smoke.paths import BOOT_PATHS, find_tools

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The card of the machine that is on VLAN 7, by its address; and names on VLANs 7 and 8, the second
# of which its port does not carry.
VLANS = """
set -e
wanted=52:54:00:77:0$SMOKE_MACHINE:01
for card in /sys/class/net/*; do
    if grep -q $wanted $card/address; then break; fi
done
grep $wanted $card/address
modprobe 8021q
ip link set ${card##*/} up
for vlan in 7 8; do
    [ -e /sys/class/net/v$vlan ] || ip link add link ${card##*/} name v$vlan type vlan id $vlan
    ip link set v$vlan up
    ip addr replace 10.20.$vlan.3$SMOKE_MACHINE/24 dev v$vlan
done
"""
ON_VLAN = (
    VLANS
    + """
timeout 5 bash -c '</dev/tcp/10.20.7.1/53'
ip neigh show dev v7 | grep '^10.20.7.1 lladdr'
"""
)
OFF_VLAN = (
    VLANS
    + """
if timeout 3 bash -c '</dev/tcp/10.20.8.1/53'; then exit 1; fi
ip neigh show dev v8 | grep '^10.20.8.1  *\\(FAILED\\|INCOMPLETE\\)'
"""
)
# Refused is an answer of the other machine, too.
PEERS = """
for peer in $SMOKE_PEERS; do
    said=$(timeout 5 bash -c "</dev/tcp/$peer/9" 2>&1) || echo "$said" | grep -q refused || exit 1
    echo "$peer answers"
done
"""
RACK = """
[smoke]
paths = ["uefi-http"]
args = ["role=compute{machine}", "site=rack-7"]

[[checks]]
command = "cat /proc/cmdline"
matches = " role=compute1 site=rack-7"

[[checks]]
no_failed_units = true
"""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty bucket, for a catalog."""
    folder = tmp_path_factory.mktemp("s3")
    with pytest.MonkeyPatch.context() as patch, seaweed.running(folder) as server:
        patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET_KEY)
        boto3.client("s3").create_bucket(Bucket="images")
        yield "s3://images/pxe"


def test_a_release_is_booted_from_its_bucket_as_in_the_rack(
    bucket: str,
    base_project: imagebuilder.Project,
    base_image: imagebuilder.Image,
    cli: Cli,
    tmp_path: Path,
) -> None:
    imagebuilder.publish_image(
        base_project, base_image, None, catalog=bucket, channel="testing", override="a test"
    )
    (tmp_path / "rack.toml").write_text(RACK)
    result = cli(
        "test",
        *("--release", "base@testing", "--catalog", bucket),
        *("--checks", "rack.toml", "--output", "out"),
        cwd=tmp_path,
    )
    print(result.stdout, result.stderr)
    assert result.returncode == 0
    report = SmokeReport.model_validate_json((tmp_path / "out/report.json").read_bytes())
    assert report.passed
    assert report.image == base_image.id
    assert "/images/pxe/boot/base/testing.ipxe" in report.source
    assert "Signature" not in (tmp_path / "out/report.json").read_text()
    (boot,) = report.boots
    assert boot.path == "uefi-http"
    assert boot.kernel == base_image.facts.kernel_release
    assert [*boot.stages] == [
        "firmware started",
        "DHCP answered",
        "boot script fetched",
        "kernel fetched",
        "initrd fetched",
        "kernel started",
        "rootfs fetched",
        "root switched",
        "systemd of the image started",
        "multi-user.target",
        "checks done",
    ]
    log = (tmp_path / "out/uefi-http/dnsmasq.log").read_text()
    assert "HTTPClient" in log
    assert "DHCPACK(rack) 10.77.0.11 52:54:00:77:01:00" in log
    assert load_report(base_image) is None or load_report(base_image) != report


NOTE = "machine1, card 1 sent frames of VLAN 8, which its port does not carry"


def options(**more: Any) -> SmokeOptions:
    return SmokeOptions.model_validate(more)


def need(path: BootPathName) -> None:
    """See that this host has what a boot path needs; in CI it must."""
    try:
        find_tools([BOOT_PATHS[path]])
    except HostError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{error.what}; {error.fix}")


@pytest.mark.paths
@pytest.mark.parametrize("path", BOOT_PATHS)
def test_two_machines_see_each_other(
    path: BootPathName, base_image: imagebuilder.Image, tmp_path: Path
) -> None:
    need(path)
    copy = tmp_path / "image"
    shutil.copytree(base_image.path, copy, ignore=shutil.ignore_patterns("smoke"))
    checks: list[Check] = [
        CommandCheck(command=PEERS, matches="answers", timeout=60),
        CommandCheck(command=ON_VLAN, matches="^10.20.7.1 lladdr", timeout=60),
        CommandCheck(command=OFF_VLAN, matches="^10.20.8.1", timeout=60),
    ]
    report = smoke_test(
        imagebuilder.Image.open(copy),
        checks,
        options(
            paths=[path],
            machines=2,
            vlans={"7": "10.20.7.0/24"},
            nics=[{}, {"vlans": [7]}],
        ),
        cache_dir=tmp_path / "cache",
    )
    print(report_text(report))
    assert [boot.machine for boot in report.boots] == [1, 2]
    assert report.passed
    assert all(NOTE in boot.notes for boot in report.boots)


# The variable SecureBoot (UEFI 3.3): four bytes of attributes, then 1.
SECURE = "od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-*; cat /sys/kernel/security/lockdown"


@pytest.mark.paths
def test_with_secure_boot_the_kernel_is_locked_down(
    base_image: imagebuilder.Image, tmp_path: Path
) -> None:
    need("pxe-secure")
    copy = tmp_path / "image"
    shutil.copytree(base_image.path, copy, ignore=shutil.ignore_patterns("smoke"))
    report = smoke_test(
        imagebuilder.Image.open(copy),
        [CommandCheck(command=SECURE, matches=matches) for matches in ("^ +1$", r"\[integrity\]")],
        options(paths=["pxe-secure"]),
        cache_dir=tmp_path / "cache",
    )
    print(report_text(report))
    assert report.passed


@pytest.mark.paths
def test_with_secure_boot_a_kernel_that_nobody_signed_is_refused(
    base_image: imagebuilder.Image, tmp_path: Path
) -> None:
    need("pxe-secure")
    kernel = tmp_path / "vmlinuz"
    data = bytearray(base_image.kernel.read_bytes())
    data[len(data) // 2] ^= 1
    kernel.write_bytes(data)
    subject = Subject.of_files(kernel=kernel, initrd=base_image.initrd, output=tmp_path / "out")
    report = smoke_test(
        subject, [], options(paths=["pxe-secure"]), cache_dir=tmp_path / "cache", accel="tcg"
    )
    print(report_text(report))
    (boot,) = report.boots
    assert boot.stage == "DHCP answered"
    assert boot.failure
    assert "bad shim signature" in boot.failure.excerpt


@pytest.mark.paths
def test_files_of_others_are_booted(base_image: imagebuilder.Image, tmp_path: Path) -> None:
    """As if nobody knew where kernel, initrd and root file system come from."""
    subject = Subject.of_files(
        kernel=base_image.kernel,
        initrd=base_image.initrd,
        rootfs=base_image.rootfs,
        args="root=live:{rootfs} rd.live.image rd.live.overlay.overlayfs=1 ip=dhcp rd.neednet=1",
        name="theirs",
        output=tmp_path / "out",
    )
    checks = [CommandCheck(command="cat /proc/cmdline", matches="root=live:http://")]
    report = smoke_test(
        subject, checks, options(paths=["kernel", "pxe-bios"]), cache_dir=tmp_path / "cache"
    )
    print(report_text(report))
    assert report.passed
    assert len(report.boots) == 2
