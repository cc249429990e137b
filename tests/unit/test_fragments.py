"""The project's own recipes and fragments: valid, documented, and honoured by their engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from jinja2 import meta

from imagebuilder import template
from imagebuilder.engines.direct import fate
from imagebuilder.kickstart import Kickstart, compose
from imagebuilder.project import Project
from imagebuilder.recipe import Recipe

ROOT = Path(__file__).parents[2]
PROJECT = Project.open(ROOT)
FRAGMENTS = sorted(
    str(path.relative_to(ROOT / "kickstarts")) for path in (ROOT / "kickstarts").rglob("*.ks")
)
PAGE = (ROOT / "docs/fragments.md").read_text(encoding="utf-8")

# A value other than the default for each parameter, so that every branch is rendered.
ALL_PARAMS = {
    "kernel_for": "physical",
    "kernel_package": "linux-image-amd64",
    "extra_packages": ["less"],
    "lang": "C.UTF-8",
    "keyboard": "de",
    "timezone": "Europe/Berlin",
    "ntp_servers": ["ntp1.example.org", "ntp2.example.org"],
    "root_ssh_keys": ["ssh-ed25519 AAAA admin@example.org"],
    "hostname": "hv1",
    "ssh_host_key_types": ["ed25519"],
    "serial_console": "ttyS1,57600n8",
    "kernel_modules_drop": ["sound"],
    "install_url": "https://mirror.example.org/os/",
    "repos": {"appstream": "https://mirror.example.org/appstream/"},
    "root_size_mib": 20480,
    "firmware_packages": ["firmware-linux-free"],
    "firmware_updater": True,
    "watchdog_seconds": 30,
    "watchdog_modules": ["ipmi_watchdog"],
    "watchdog_soft": False,
    "panic_seconds": 5,
    "crashkernel": "1G",
    "nested_kvm": True,
    "guest_shutdown_timeout": 60,
    "guest_agent_required": True,
    "hugepages_percent": 50,
    "hugepage_size": "1G",
    "numa_balancing": False,
    "isolated_cpus": "2-7",
    "numad": True,
    "host_memory": "1G",
    "host_cpus": "0-1",
    "guest_cpus": "2-7",
    "iommu_args": "amd_iommu=on iommu=pt",
    "sriov_vfs": 8,
    "vfio_ids": ["8086:1572", "8086:1573"],
    "bridge": "vmbr0",
    "bridge_ports": [
        "eno2",
        {"name": "eno3", "tag": 10, "trunks": [10, 20], "vlan_mode": "native-untagged"},
    ],
    "internal_ports": [
        {"name": "storage0", "tag": 20, "address": ["192.0.2.9/24", "2001:db8::9/64"]},
        {"name": "backup0", "tag": 30, "address": "198.51.100.9/24"},
        {"name": "plain0"},
    ],
    "openvswitch_package": "openvswitch-switch",
    "openvswitch_repo": "https://mirror.example.org/nfv/",
    "guest_vlans": {"storage": 20, "trunk": [20, 30]},
    "firewall_ports": ["5308:tcp", "49152-49215:tcp"],
    "iscsi_name_prefix": "iqn.2020-01.org.example",
    "iscsi_portals": ["192.0.2.10", "192.0.2.11:3260"],
    "multipath_find": "strict",
    "multipath_exclude": ["^sd"],
    "nfs_mounts": [{"source": "nfs.example.org:/images", "path": "/srv/images"}],
    "nfs_v3": True,
    "policy_server": "192.0.2.1",
    "policy_server_key": "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n",
    "cfengine_daemons": ["cf-execd", "cf-monitord"],
    "cfengine_allow": ["192.0.2.0/24"],
    "cfengine_keep_units": ["ssh.service"],
    "cfengine_package": "cfengine3",
    "cfengine_repo": "https://mirror.example.org/cfengine/",
    "openstack_controller": "cloud.example.org",
    "openstack_region": "RegionTwo",
    "openstack_networks": {"physnet1": "vmbr0", "physnet2": "vmbr1"},
    "openstack_tunnels": ["vxlan", "gre"],
    "openstack_cpu_mode": "host-passthrough",
    "openstack_virt_type": "qemu",
    "openstack_repo": "https://mirror.example.org/openstack/",
    "libvirt_admin_user": "manager",
    "libvirt_admin_keys": ["ssh-ed25519 AAAA manager@example.org"],
    "libvirt_tls": True,
    "libvirt_tls_names": ["C=XX,O=Example,CN=*"],
    "ovirt_repo": "https://mirror.example.org/ovirt/",
    "ovirt_packages": ["ovirt-host"],
    "kdump_target": "nfs nfs.example.org:/crash",
}
# What only EL and Fedora have: on Debian these are refused.
EL_FRAGMENTS = {"role/ovirt-host.ks"}
EL_PARAMS = {"ovirt_repo", "ovirt_packages", "kdump_target"}
STANDING = {"recipe", "distro", "arch", "matrix", "secret", "fail"}


def composed(fragments: list[str], params: dict[str, object] | None = None) -> Kickstart:
    recipe = Recipe.model_validate(
        {
            "name": "trial",
            "distro": "debian-12",
            "kickstarts": fragments,
            "params": params or {},
        }
    )
    return compose(PROJECT.resolve(recipe))


def parameters(fragment: str) -> set[str]:
    """Return the variables that a fragment uses, beside the standing ones."""
    source = (ROOT / "kickstarts" / fragment).read_text(encoding="utf-8")
    parsed = template._environment().parse(source)
    return meta.find_undeclared_variables(parsed) - STANDING


def check_scripts(kickstart: Kickstart) -> None:
    for script in kickstart.scripts:
        assert script.error_on_fail, f"{script.where}: a failure would go unseen"
        ended = subprocess.run(
            [script.interpreter, "-n"], input=script.body, text=True, capture_output=True
        )
        assert ended.returncode == 0, f"{script.where}: {ended.stderr}"


@pytest.mark.parametrize("name", PROJECT.names())
def test_recipe_is_valid_and_honoured(name: str) -> None:
    kickstart = compose(PROJECT.resolve(name))
    assert fate.check(kickstart) == ()
    assert kickstart.warnings == ()
    assert not kickstart.weak_dependencies
    check_scripts(kickstart)


@pytest.mark.parametrize("name", PROJECT.names())
def test_recipe_sets_only_parameters_that_its_fragments_use(name: str) -> None:
    recipe = PROJECT.resolve(name).recipe
    used = set().union(*(parameters(each) for each in recipe.kickstarts))
    assert set(recipe.params) <= used


@pytest.mark.parametrize("fragment", sorted({*FRAGMENTS} - EL_FRAGMENTS))
def test_fragment_stands_alone(fragment: str) -> None:
    kickstart = composed([fragment])
    assert fate.check(kickstart) == ()
    check_scripts(kickstart)


def test_every_parameter_can_be_set() -> None:
    assert set().union(*(parameters(each) for each in FRAGMENTS)) == set(ALL_PARAMS)
    kickstart = composed(
        [each for each in FRAGMENTS if each not in EL_FRAGMENTS],
        {name: value for name, value in ALL_PARAMS.items() if name not in EL_PARAMS},
    )
    assert fate.check(kickstart) == ()
    check_scripts(kickstart)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_fragment_says_what_its_parameters_are(fragment: str) -> None:
    text = (ROOT / "kickstarts" / fragment).read_text(encoding="utf-8")
    head = re.match(r"(#.*\n)+", text)
    assert head, "a fragment begins with what it is for"
    told = set(
        re.findall(r"^#   ([a-z]\w*)   ?", head[0].partition("# Parameters")[2], re.MULTILINE)
    )
    assert told == parameters(fragment)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_page_tells_of_fragment_and_parameters(fragment: str) -> None:
    row = re.search(rf"^\| `{re.escape(fragment)}` \|[^|]*\|(.*)\|$", PAGE, re.MULTILINE)
    assert row, "docs/fragments.md lists each fragment"
    assert set(re.findall(r"`([a-z]\w*)` \(", row[1])) == parameters(fragment)


def test_page_tells_of_no_other_fragments() -> None:
    assert set(re.findall(r"^\| `([\w/-]+\.ks)`", PAGE, re.MULTILINE)) == set(FRAGMENTS)
