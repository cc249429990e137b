"""The script that finds the interface that a kickstart calls link or bootif."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fakes import FakePrograms

from imagebuilder.engines.direct.network.chosen import script

PORTS = {  # name: (address, carrier or None: the port is down, whether it has a device)
    "bond0": ("52:54:00:00:00:0c", "1", False),
    "eth0": ("52:54:00:00:00:0a", None, True),
    "eth1": ("52:54:00:00:00:0b", "0", True),
    "eth2": ("52:54:00:00:00:0c", "1", True),
    "eth3": ("52:54:00:00:00:0d", "1", True),
}


def run(
    tmp_path: Path, programs: FakePrograms, keys: tuple[str, ...], cmdline: str, ports: object
) -> subprocess.CompletedProcess[str]:
    programs.write("ip", 'test "$1" = link && test "$2" = property')
    assert isinstance(ports, dict)
    for name, (address, carrier, has_device) in ports.items():
        folder = tmp_path / "net" / name
        folder.mkdir(parents=True)
        (folder / "address").write_text(f"{address}\n")
        (folder / "type").write_text("1\n")
        if carrier is not None:
            (folder / "carrier").write_text(f"{carrier}\n")
        if has_device:
            (folder / "device").mkdir()
    (tmp_path / "cmdline").write_text(f"{cmdline}\n")
    text = script(keys).replace("/sys/class/net", f"{tmp_path}/net")
    text = text.replace("/proc/cmdline", f"{tmp_path}/cmdline")
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("keys", "cmdline", "named"),
    [
        (("link",), "root=x", ["eth2 altname kickstart-link"]),
        (("link",), "BOOTIF=01-52-54-00-00-00-0d", ["eth2 altname kickstart-link"]),
        (
            ("bootif",),
            "x BOOTIF=01-52-54-00-00-00-0D ip=dhcp",
            ["eth3 altname kickstart-bootif"],
        ),
        (("bootif",), "BOOTIF=52:54:00:00:00:0a", ["eth0 altname kickstart-bootif"]),
        (("bootif",), "BOOTIF=01-52-54-00-00-00-0c", ["eth2 altname kickstart-bootif"]),
        (("bootif",), "ip=dhcp", ["eth2 altname kickstart-bootif"]),
        (("bootif",), "BOOTIF=01-00-00-00-00-00-00", ["eth2 altname kickstart-bootif"]),
        (
            ("bootif", "link"),
            "BOOTIF=01-52-54-00-00-00-0d",
            ["eth3 altname kickstart-bootif", "eth2 altname kickstart-link"],
        ),
    ],
)
def test_the_interface_is_named(
    tmp_path: Path,
    fake_programs: FakePrograms,
    keys: tuple[str, ...],
    cmdline: str,
    named: list[str],
) -> None:
    result = run(tmp_path, fake_programs, keys, cmdline, PORTS)
    assert result.returncode == 0, result.stderr
    added = [each for each in fake_programs.calls() if " property " in each]
    assert added == [f"ip link property add dev {each}" for each in named]


def test_no_port_has_a_link(tmp_path: Path, fake_programs: FakePrograms) -> None:
    ports = {"eth0": PORTS["eth0"], "bond0": PORTS["bond0"]}
    result = run(tmp_path, fake_programs, ("link",), "", ports)
    assert result.returncode == 1
    assert "no Ethernet port has a link" in result.stderr
    assert fake_programs.calls() == []
