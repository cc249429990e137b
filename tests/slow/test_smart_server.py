"""The smart server with all that its fragments can do, built and booted; what others need resolved.

It extends the recipe ``hypervisor`` with parameters that are off by default, so that one boot
tries both: all checks of the recipe, and these.  ``hypervisor`` alone is not booted a second time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support import copy_project

import imagebuilder

pytestmark = pytest.mark.slow

RECIPE = """
extends = "hypervisor"
kickstarts = ["role/libvirt-managed.ks"]

[params]
hugepages_percent = 5
isolated_cpus = "2"
host_cpus = "0-1"
internal_ports = [{ name = "storage0", tag = 20, address = "192.0.2.9/24" }]
guest_vlans = { storage = 30 }
guest_agent_required = true
nfs_mounts = [{ source = "192.0.2.1:/images", path = "/srv/images" }]
libvirt_admin_keys = ["ssh-ed25519 AAAA manager@example.org"]

[smoke]
cpus = 3

[[checks]]
name = "memory is set aside in huge pages"
command = "cat /proc/meminfo"
matches = "^HugePages_Total: +[1-9][0-9]"

[[checks]]
name = "processors are isolated for guests"
command = "cat /sys/devices/system/cpu/isolated"
matches = "^2$"

[[checks]]
name = "system services keep to the host's processors"
command = "cat /sys/fs/cgroup/system.slice/cpuset.cpus.effective"
matches = "^0-1$"

[[checks]]
ovs_bridge = "br0"
tags = { storage0 = 20 }

[[checks]]
name = "the host has an address in a VLAN"
interface = "storage0"
addresses = ["192.0.2.9/24"]
needs = ["Open vSwitch bridge br0"]

[[checks]]
name = "a VLAN has a name for guests"
command = "virsh --connect qemu:///system net-dumpxml br0"
matches = "portgroup name='storage'"

[[checks]]
name = "a guest without an agent's channel is refused"
timeout = 60
command = '''
virsh --connect qemu:///system create --paused /dev/stdin 2>&1 <<EOF
<domain type='qemu'>
  <name>mute</name><memory unit='MiB'>64</memory><os><type>hvm</type></os>
</domain>
EOF
'''
status = 1
matches = "no guest agent channel"

[[checks]]
name = "NFS is mounted when it is used"
command = "systemctl is-active srv-images.automount"

[[checks]]
name = "libvirt's manager has an account"
user = "virtadmin"
groups = ["libvirt"]
password = "locked"

[[checks]]
name = "libvirt does not listen without a certificate"
command = "systemctl is-active libvirtd-tls.socket"
status = 3
"""


def test_smart_server_boots_with_all_that_it_has(tmp_path: Path, cache_dir: Path) -> None:
    root = copy_project(tmp_path)
    (root / "recipes/smart.toml").write_text(RECIPE)
    project = imagebuilder.Project.open(root)
    options = imagebuilder.Options.make(cache_dir=cache_dir)
    image = imagebuilder.build_image(project, "smart", options)
    assert {"intel_iommu=on", "iommu=pt", "nohz_full=2"} <= {*image.facts.kernel_args}
    report = imagebuilder.smoke_image(project, image, options)
    failed = [check for check in report.checks if check.outcome != "passed"]
    assert report.passed, (report.boots[0].failure, failed)
    titles = " ".join(check.title for check in report.checks)
    for name in ("libvirtd.service", "ovs-vswitchd.service", "cf-execd", "multipathd", "iSCSI"):
        assert name in titles


@pytest.mark.parametrize("distro_id", ["debian-12", "debian-13"])
def test_packages_of_all_recipes_are_to_be_had(
    tmp_path: Path, cache_dir: Path, distro_id: str
) -> None:
    root = copy_project(tmp_path)
    parents = ("base", "hypervisor-managed", "hypervisor-openstack")
    for parent in parents:
        (root / f"recipes/all-{parent}.toml").write_text(
            f'extends = "{parent}"\ndistro = "{distro_id}"\n[params]\nnumad = true\n'
            if parent != "base"
            else f'extends = "base"\ndistro = "{distro_id}"\n'
        )
    project = imagebuilder.Project.open(root)
    options = imagebuilder.Options.make(cache_dir=cache_dir)
    for parent in parents:
        plan = imagebuilder.plan_image(project, f"all-{parent}", options)
        assert any(step.text.startswith("install ") for step in plan.steps)
