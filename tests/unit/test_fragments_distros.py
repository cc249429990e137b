"""The shipped recipes on every distribution: Debian's engine and livemedia-creator take them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from livemedia_contract import ONCE, problems

from imagebuilder import distro
from imagebuilder.engines.direct import fate
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Kickstart, compose
from imagebuilder.kickstart.flatten import Line
from imagebuilder.kickstart.parse import parse
from imagebuilder.project import Project
from imagebuilder.recipe import Recipe

ROOT = Path(__file__).parents[2]
PROJECT = Project.open(ROOT)
RECIPES = ("base", "hypervisor", "hypervisor-managed", "hypervisor-openstack")
DEBIAN = [each.id for each in distro.of_family("debian")]
OTHERS = [name for name in distro.names() if name not in DEBIAN] + ["almalinux-9.6", "rhel-8.10"]
SITE: dict[str, object] = {
    "install_url": "https://mirror.example.org/os/",
    "repos": {"appstream": "https://mirror.example.org/appstream/"},
    "openvswitch_repo": "https://mirror.example.org/nfv/",
    "cfengine_repo": "https://mirror.example.org/cfengine/",
    "openstack_repo": "https://mirror.example.org/openstack/",
    "ovirt_repo": "",
}
# Every branch that a parameter opens, where it is to be had.
MORE: dict[str, object] = {
    **SITE,
    "ntp_servers": ["ntp.example.org"],
    "kdump_target": "nfs nfs.example.org:/crash",
    "isolated_cpus": "2-7",
    "internal_ports": [{"name": "storage0", "tag": 20, "address": "192.0.2.9/24"}],
    "guest_vlans": {"storage": 20, "trunk": [20, 30]},
    "libvirt_admin_keys": ["ssh-ed25519 AAAA manager@example.org"],
    "nfs_mounts": [{"source": "nfs.example.org:/images", "path": "/srv/images"}],
    "iscsi_portals": ["192.0.2.10"],
    "policy_server": "192.0.2.1",
}
# Packages of the hypervisor that are called the same on Debian and on EL.
SHARED = {
    "ca-certificates",
    "curl",
    "dbus",
    "dmidecode",
    "dracut-live",
    "dracut-network",
    "ethtool",
    "kmod",
    "nftables",
    "numactl",
    "openssh-server",
    "pciutils",
    "systemd-container",
    "tzdata",
    "zstd",
}


def composed(name: str, distro_id: str, params: dict[str, object]) -> Kickstart:
    recipe = Recipe.model_validate(
        {"name": "trial", "extends": name, "distro": distro_id, "params": params}
        | ({} if distro_id in DEBIAN else {"engine": "livemedia"})
    )
    return compose(PROJECT.resolve(recipe))


def packages(kickstart: Kickstart) -> set[str]:
    return {each.name for each in kickstart.packages if not each.excluded}


def check_scripts(kickstart: Kickstart) -> None:
    for script in kickstart.scripts:
        assert script.error_on_fail, f"{script.where}: a failure would go unseen"
    joined = "\n".join(f"(\n{each.body}\n)" for each in kickstart.scripts)
    ended = subprocess.run(["sh", "-n"], input=joined, text=True, capture_output=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("distro_id", DEBIAN)
@pytest.mark.parametrize("name", RECIPES)
def test_debian_recipe_is_honoured(name: str, distro_id: str) -> None:
    kickstart = composed(name, distro_id, {})
    assert fate.check(kickstart) == ()
    assert kickstart.warnings == ()
    check_scripts(kickstart)


@pytest.mark.parametrize("distro_id", OTHERS)
@pytest.mark.parametrize("name", RECIPES)
def test_livemedia_creator_takes_the_recipe(name: str, distro_id: str) -> None:
    # What the others have is in the last two as well.
    for params in (SITE,) if name in ("base", "hypervisor") else (MORE,):
        kickstart = composed(name, distro_id, params)
        assert kickstart.version == distro.find(distro_id).kickstart_version
        assert problems(kickstart) == []
        assert kickstart.warnings == ()
        check_scripts(kickstart)


@pytest.mark.parametrize("distro_id", [name for name in OTHERS if "-8" in name or "-9" in name])
def test_livemedia_creator_takes_the_ovirt_host(distro_id: str) -> None:
    kickstart = composed("ovirt-host", distro_id, SITE)
    assert problems(kickstart) == []
    assert "ovirt-host" in packages(kickstart)
    check_scripts(kickstart)


@pytest.mark.parametrize("distro_id", OTHERS)
def test_no_package_of_debian_is_asked_for(distro_id: str) -> None:
    of_debian = packages(composed("hypervisor", "debian-12", {}))
    assert packages(composed("hypervisor", distro_id, SITE)) & of_debian == SHARED


@pytest.mark.parametrize(
    ("distro_id", "there", "units"),
    [
        ("almalinux-8", {"openvswitch3.1", "chrony"}, {"libvirtd.service", "sshd.service"}),
        ("rocky-9", {"openvswitch3.3", "iscsi-initiator-utils"}, {"virtqemud.service"}),
        ("rhel-10", {"openvswitch3.5", "device-mapper-multipath"}, {"multipathd.service"}),
        ("fedora-42", {"openvswitch", "cfengine-community"}, {"openvswitch.service"}),
        ("debian-13", {"openvswitch-switch", "cfengine3", "open-iscsi"}, {"iscsid.socket"}),
    ],
)
def test_family_decides_packages_and_units(
    distro_id: str, there: set[str], units: set[str]
) -> None:
    kickstart = composed("hypervisor", distro_id, SITE)
    assert there <= packages(kickstart)
    enabled = {
        word
        for script in kickstart.scripts
        for line in script.body.splitlines()
        if line.strip().startswith("systemctl enable ")
        for word in line.split()[2:]
    }
    assert units <= enabled
    if distro_id not in DEBIAN:
        assert not kickstart.all("services")  # of several lines Anaconda heeds the last


@pytest.mark.parametrize(
    ("distro_id", "version"), [("rhel-8", "kexec-tools"), ("rhel-10", "kdump-utils")]
)
def test_crash_dumps_where_they_are_to_be_had(distro_id: str, version: str) -> None:
    kickstart = composed("hypervisor", distro_id, MORE)
    assert version in packages(kickstart)
    assert "crashkernel=512M" in kickstart.kernel_args
    without = composed("hypervisor", distro_id, SITE)
    assert version not in packages(without)
    assert "systemctl mask kdump.service" in without.text


@pytest.mark.parametrize(
    ("name", "distro_id", "params", "file", "says"),
    [
        ("base", "rocky-9", {"install_url": ""}, "base/livemedia.ks", "install_url is not set"),
        ("base", "fedora-42", {}, "base/livemedia.ks", "install_url is not set"),
        (
            "hypervisor",
            "rhel-9",
            {"install_url": "https://m.example.org/"},
            "net/openvswitch.ks",
            "openvswitch_repo is not set",
        ),
        (
            "hypervisor",
            "fedora-42",
            {"install_url": "https://m.example.org/"},
            "config/cfengine.ks",
            "cfengine_repo is not set",
        ),
        (
            "hypervisor-openstack",
            "rhel-9",
            {name: value for name, value in SITE.items() if name != "openstack_repo"},
            "role/openstack-compute.ks",
            "openstack_repo is not set",
        ),
        ("ovirt-host", "debian-12", SITE, "role/ovirt-host.ks", "oVirt has packages for EL alone"),
        ("ovirt-host", "fedora-42", SITE, "role/ovirt-host.ks", "oVirt has packages for EL alone"),
        (
            "hypervisor",
            "debian-12",
            {"kdump_target": "nfs nfs.example.org:/crash"},
            "hardware/kdump.ks",
            "kdump_target is for EL and Fedora",
        ),
        (
            "hypervisor",
            "rhel-9",
            {**SITE, "kdump_target": "/var/crash"},
            "hardware/kdump.ks",
            "must start with nfs or ssh",
        ),
        (
            "hypervisor",
            "rhel-9",
            {**SITE, "internal_ports": [{"name": "s0", "address": "dhcp"}]},
            "net/openvswitch.ks",
            'address = "dhcp" is for Debian',
        ),
        (
            "hypervisor",
            "rhel-9",
            {**SITE, "firewall_ports": ["http"]},
            "net/nftables.ks",
            "http is no port",
        ),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_asked_for(
    name: str, distro_id: str, params: dict[str, object], file: str, says: str
) -> None:
    with pytest.raises(InputError) as caught:
        composed(name, distro_id, params)
    assert says in caught.value.what
    assert caught.value.where
    assert caught.value.where.file == f"kickstarts/{file}"
    line = (ROOT / "kickstarts" / file).read_text().splitlines()[caught.value.where.line - 1]
    assert "fail(" in line


def test_repositories_that_are_among_others_get_no_line() -> None:
    kickstart = composed("hypervisor", "rocky-9", {**SITE, "openvswitch_repo": ""})
    assert [each.data.name for each in kickstart.all("repo")] == ["appstream", "cfengine"]


@pytest.mark.parametrize("distro_id", DEBIAN)
def test_fragment_for_livemedia_is_nothing_on_debian(distro_id: str) -> None:
    recipe = Recipe.model_validate(
        {"name": "trial", "distro": distro_id, "kickstarts": ["base/livemedia.ks"]}
    )
    kickstart = compose(PROJECT.resolve(recipe))
    assert not kickstart.commands
    assert not kickstart.sections


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("url --url=https://mirror.example.org/os/", "cdrom", "no install method"),
        ("url --url=https://mirror.example.org/os/", "cdrom", "repo without url"),
        (" --activate", "", "no network is activated"),
        ("shutdown", "text", "a display mode"),
        ("shutdown", "reboot", "no shutdown"),
        ("part /", "part /srv", "not a single /"),
        ("part / --fstype=ext4", "autopart #", "not a single /"),
        ("dracut-live", "# ", "package dracut-live is missing"),
        ("-dracut-config-rescue", "# ", "package dracut-config-rescue is not left out"),
        ("-firewalld", "-nftables", "packages both wanted and not: nftables"),
        ("rootpw --lock", "# ", "root has no password and is not locked"),
        (": > /etc/fstab", ": ", "fstab or machine-id is not emptied"),
    ],
)
def test_contract_notices(old: str, new: str, says: str) -> None:
    good = composed("hypervisor", "rocky-9", SITE)
    lines = tuple(replace(line, text=line.text.replace(old, new, 1)) for line in good.lines)
    assert lines != good.lines
    assert says in problems(parse(lines, good.version))


@pytest.mark.parametrize("name", ONCE)
def test_contract_notices_a_second_line(name: str) -> None:
    again = {
        "services": "services --enabled=sshd",
        "firewall": "firewall --disabled",
        "timezone": "timezone Etc/UTC --utc",
        "lang": "lang C.UTF-8",
        "keyboard": "keyboard us",
        "rootpw": "rootpw --lock",
        "selinux": "selinux --enforcing",
        "url": "url --url=https://mirror.example.org/other/",
    }
    good = composed("base", "rocky-9", SITE)
    where = good.lines[-1].where
    lines = (*good.lines, Line(again[name], where), Line(again[name], where))
    assert f"several lines of {name}" in problems(parse(lines, good.version))
