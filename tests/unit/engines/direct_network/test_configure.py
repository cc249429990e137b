"""What is written into the tree, and what it must have; every option has a fate."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import Guest, written
from pykickstart.version import makeVersion

from imagebuilder import distro
from imagebuilder.engines.direct import network
from imagebuilder.engines.direct.fate_network import FIREWALL, NETWORK
from imagebuilder.errors import StepError

from .conftest import STATIC, Parsed


@pytest.fixture
def tree(tmp_path: Path) -> Guest:
    written(
        tmp_path / "root",
        {
            "usr/lib/systemd/system/systemd-networkd.service": "",
            "usr/lib/systemd/systemd-resolved": "",
        },
    )
    return Guest(root=tmp_path / "root", log=tmp_path / "log", epoch=0)


def test_the_last_host_name_holds(tree: Guest, kickstart_of: Parsed) -> None:
    text = "network --hostname=a.example.org\nnetwork --hostname b\n"
    network.configure(tree, kickstart_of(text).commands)
    assert tree.read("/etc/hostname") == "b\n"
    assert not tree.exists("/etc/systemd/network")
    assert tree.calls() == []
    network.configure(tree, kickstart_of("network --device=lo --hostname=c\n").commands)
    assert tree.read("/etc/hostname") == "c\n"
    assert not tree.exists("/etc/systemd/network")


def test_files_are_written_and_networkd_is_enabled(tree: Guest, kickstart_of: Parsed) -> None:
    text = f"network --device=eth0 {STATIC} --nameserver=192.0.2.1\nnetwork --device=link\n"
    network.configure(tree, kickstart_of(text).commands)
    assert sorted(path.name for path in tree.path("/etc/systemd/network").iterdir()) == [
        "50-kickstart-eth0.network",
        "51-kickstart-link.network",
    ]
    assert tree.calls() == ["systemctl enable systemd-networkd.service"]


@pytest.mark.parametrize("device", ["link", "bootif"])
def test_an_interface_that_the_machine_chooses(
    tree: Guest, kickstart_of: Parsed, device: str
) -> None:
    network.configure(tree, kickstart_of(f"network --device={device} {STATIC}\n").commands)
    text = tree.read(f"/etc/systemd/network/50-kickstart-{device}.network")
    assert f"Name=kickstart-{device}\n" in text
    script = tree.path("/usr/local/sbin/kickstart-network-names")
    assert script.stat().st_mode & 0o111
    assert script.read_text().splitlines()[-1] == f'name "${device}" kickstart-{device}'
    unit = tree.read("/etc/systemd/system/kickstart-network-names.service")
    assert "systemd-networkd.service" in unit
    assert "systemctl enable kickstart-network-names.service" in tree.calls()


def test_what_the_image_lacks(tree: Guest, kickstart_of: Parsed) -> None:
    named = kickstart_of(f"lang C\nnetwork {STATIC} --nameserver=192.0.2.1\n").all("network")
    tree.remove("/usr/lib/systemd/systemd-resolved")
    with pytest.raises(StepError, match="looks names up") as caught:
        network.configure(tree, named)
    assert caught.value.where
    assert caught.value.where.line == 2
    tree.remove("/usr/lib/systemd/system/systemd-networkd.service")
    with pytest.raises(StepError, match="no systemd-networkd"):
        network.configure(tree, kickstart_of("network --device=eth0\n").commands)
    network.configure(tree, ())
    assert tree.calls() == []


@pytest.mark.parametrize(
    "version", sorted({distro.find(name).kickstart_version for name in distro.names()})
)
def test_every_option_has_a_fate(version: str) -> None:
    for name, row in (("network", NETWORK), ("firewall", FIREWALL)):
        parser = makeVersion(version).commands[name].op
        known = {option for action in parser._actions for option in action.option_strings}
        assert known - set(row.options) == set()
        assert all(fate.text for fate in row.options.values())
