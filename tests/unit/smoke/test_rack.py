"""The rack's layout, and a real one: namespaces, interfaces, dnsmasq."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from support import ended

from imagebuilder import tools
from imagebuilder.errors import HostError, InputError, Interrupted
from imagebuilder.progress import Cancel
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke.boot import short_folder
from imagebuilder.smoke.network import Place, user_network
from imagebuilder.smoke.rack import Rack, boot_together, layout_of, needs_rack
from imagebuilder.smoke.rack.dhcp import configuration
from imagebuilder.smoke.rack.worker import port_socket

TWO_CARDS = {"nics": [{}, {"native": False, "vlans": [7]}], "vlans": {"7": "10.20.7.0/24"}}


def options(**more: Any) -> SmokeOptions:
    return SmokeOptions.model_validate(more)


def test_who_needs_a_rack() -> None:
    assert not needs_rack(options(), "pxe-bios")
    assert needs_rack(options(), "uefi-http")
    for more in ({"network": "rack"}, {"machines": 2}, {"nics": [{}]}, TWO_CARDS):
        assert needs_rack(options(**more), "kernel")


def test_each_machine_has_addresses_and_arguments_of_its_own() -> None:
    layout = layout_of(
        options(
            machines=2,
            args=["ip=10.20.7.1{machine}::::{name}:storage:none", "mac={mac}"],
            machine_args={"2": ["role=storage"]},
            **TWO_CARDS,
        )
    )
    one, two = layout.machines
    assert one.args == ("ip=10.20.7.11::::machine1:storage:none", "mac=52:54:00:77:01:00")
    assert two.args[0] == "ip=10.20.7.12::::machine2:storage:none"
    assert two.args[-1] == "role=storage"
    assert [card.mac for card in two.cards] == ["52:54:00:77:02:00", "52:54:00:77:02:01"]
    assert layout.environment(2) == {
        "SMOKE_MACHINE": "2",
        "SMOKE_SERVER": "10.77.0.1",
        "SMOKE_PEERS": "10.77.0.11",
    }
    assert layout.files_url(2) == "http://10.77.0.102/"


def test_an_address_that_the_recipe_gives_counts_up() -> None:
    layout = layout_of(options(machines=2, nics=[{"mac": "AA:00:00:00:00:ff"}]))
    assert [each.cards[0].mac for each in layout.machines] == [
        "aa:00:00:00:00:ff",
        "aa:00:00:00:00:00",
    ]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"nics": [{"vlans": [9]}]}, "VLAN 9, which is none"),
        ({"nics": [{"native": False, "vlans": [7]}], "vlans": {"7": "10.20.7.0/24"}}, "boot from"),
        ({"vlans": {"7": "10.77.0.128/25"}}, "no room"),
        ({"vlans": {"7": "10.77.0.0/16"}}, "overlap"),
        ({"paths": ["uefi-http"], "nics": [{"model": "e1000"}]}, "no driver for e1000"),
    ],
)
def test_a_rack_that_cannot_be_is_refused(more: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        layout_of(options(**more))


def test_dnsmasq_is_told_where_each_machine_boots_from(tmp_path: Path) -> None:
    layout = layout_of(options(machines=2, **TWO_CARDS))
    pxe = configuration(layout, tmp_path, over_http=False).splitlines()
    assert "dhcp-host=52:54:00:77:02:00,set:machine2,10.77.0.12,machine2" in pxe
    assert "dhcp-host=52:54:00:77:02:01,set:machine2,10.20.7.32,machine2" in pxe
    assert "dhcp-boot=tag:machine2,tag:ipxe,boot.ipxe,,10.77.0.1" in pxe
    assert "tftp-unique-root=ip" in pxe
    assert not [line for line in pxe if line.startswith("dhcp-boot") and "tag:uefi" in line]
    http = configuration(layout, tmp_path, over_http=True).splitlines()
    assert "dhcp-boot=tag:machine2,tag:ipxe,http://10.77.0.102/start.ipxe" in http
    shim = configuration(layout, tmp_path, over_http=False, bootfile="shim").splitlines()
    assert "dhcp-boot=tag:machine2,tag:uefi,tag:!ipxe,shim,,10.77.0.1" in shim


@pytest.fixture
def host() -> None:
    """See that there is what a rack needs."""
    missing = tools.missing(["dnsmasq", "ip", "unshare"])
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}; run ci/setup")


class Guest:
    """A machine that speaks as much Ethernet as a test needs."""

    def __init__(self, rack: Rack, folder: Path, machine: int, card: int) -> None:
        self.mac = bytes.fromhex(rack.layout.machines[machine - 1].cards[card].mac.replace(":", ""))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(port_socket(folder, machine, card)))
        self._socket.settimeout(5)

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, target: bytes, body: bytes, vlan: int = 0) -> None:
        tag = struct.pack(">HH", 0x8100, vlan) if vlan else b""
        frame = target + self.mac + tag + body
        self._socket.sendall(struct.pack(">I", len(frame)) + frame)

    def frames(self) -> Iterator[bytes]:
        """Give what comes, until nothing does."""
        while True:
            try:
                (size,) = struct.unpack(">I", self._socket.recv(4, socket.MSG_WAITALL))
                yield self._socket.recv(size, socket.MSG_WAITALL)
            except TimeoutError:
                return

    def asks_for(self, wanted: str, own: str, vlan: int = 0) -> bytes:
        """Ask by ARP who has an address; return the answer's Ethernet address, or nothing."""
        body = struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + self.mac
        body += IPv4Address(own).packed + bytes(6) + IPv4Address(wanted).packed
        self.send(b"\xff" * 6, body, vlan)
        reply = (struct.pack(">HH", 0x8100, vlan) if vlan else b"") + b"\x08\x06"
        for frame in self.frames():
            if frame[12:].startswith(reply) and frame[12 + len(reply) + 7] == 2:
                return frame[12 + len(reply) + 8 :][:6]
        return b""

    def discovers(self) -> bytes:
        """Ask for an address by DHCP; return the offer."""
        options = bytes.fromhex("63825363 350101 3d07 01") + self.mac + b"\xff"
        bootp = struct.pack(">BBBBI", 1, 1, 6, 0, 0x1234) + bytes(20) + self.mac
        bootp = bootp.ljust(236, b"\0") + options.ljust(64, b"\0")
        udp = struct.pack(">HHHH", 68, 67, 8 + len(bootp), 0) + bootp
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
        head += bytes(4) + b"\xff" * 4
        total = sum(struct.unpack(">10H", head))
        total = (total & 0xFFFF) + (total >> 16)
        head = head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:]
        self.send(b"\xff" * 6, b"\x08\x00" + head + udp)
        for frame in self.frames():
            if frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == b"\x00\x44":
                return frame[42:]
        return b""


@pytest.mark.parametrize("who", ["as I am", "as an ordinary user"])
def test_a_real_rack(who: str, host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if who == "as an ordinary user":  # a user namespace that knows one user
        monkeypatch.setattr("imagebuilder.sandbox.os.geteuid", lambda: 1000)
    layout = layout_of(options(machines=2, **TWO_CARDS))
    log = tmp_path / "log"
    began = time.monotonic()
    with (
        short_folder() as folder,
        Rack(layout, folder, log) as rack,
        Guest(rack, folder, 1, 0) as one,
        Guest(rack, folder, 2, 0) as two,
        Guest(rack, folder, 1, 1) as trunk,
    ):
        offer = two.discovers()
        assert IPv4Address(offer[16:20]) == IPv4Address("10.77.0.12")
        assert one.asks_for("10.77.0.1", "10.77.0.11")
        assert one.asks_for("10.77.0.102", "10.77.0.11"), "the files of machine 2"
        assert trunk.asks_for("10.20.7.1", "10.20.7.31", vlan=7)
        # Machine to machine: the address of 2 is known from its DHCP message.
        one.send(two.mac, b"\x88\xb5" + b"hello".ljust(50))
        assert any(b"hello" in frame for frame in two.frames())
        trunk.send(b"\xff" * 6, b"\x88\xb5" + b"lost".ljust(50), vlan=8)
        deadline = time.monotonic() + 10
        while not rack.notes and time.monotonic() < deadline:
            time.sleep(0.05)
        assert rack.notes == (
            "machine1, card 1 sent frames of VLAN 8, which its port does not carry",
        )
        hosts = {opened.getsockname()[0] for opened in (rack.wiring(n).server for n in (1, 2))}
        assert hosts == {"10.77.0.101", "10.77.0.102"}
        assert "rack" not in os.listdir("/sys/class/net")
    assert "DHCPOFFER(rack) 10.77.0.12" in log.read_text()
    assert time.monotonic() - began < 60


PROGRAM = """
import sys, time
from pathlib import Path
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke.rack import Rack, layout_of
folder = Path(sys.argv[1])
with Rack(layout_of(SmokeOptions()), folder, folder / "log"):
    print("up", flush=True)
    time.sleep(60)
"""


def test_a_kill_leaves_nothing_of_the_rack(host: None) -> None:
    with short_folder() as folder:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == b"up\n"
            pids = children(process.pid)
            assert len(pids) >= 3, "setpriv and unshare, the worker, dnsmasq"
            process.send_signal(signal.SIGKILL)
        for pid in pids:
            assert ended(pid, 10)


def children(pid: int) -> set[int]:
    """Return the processes below one."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= {int(child)} | children(int(child))
    return found


def test_a_rack_that_cannot_be_set_up_says_why(
    host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "ip").write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 2\n")
    (fake / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    with short_folder() as folder, pytest.raises(HostError, match="could not be set up") as caught:
        Rack(layout_of(options()), folder, tmp_path / "log").__enter__()
    assert "Operation not permitted" in caught.value.what
    assert "CAP_NET_ADMIN" in caught.value.fix


def test_a_stop_is_heard_while_the_rack_is_set_up(host: None, tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set("enough")
    with short_folder() as folder, pytest.raises(Interrupted):
        Rack(layout_of(options()), folder, tmp_path / "log", cancel=cancel).__enter__()


def test_machines_wait_for_each_other() -> None:
    places = [Place(number=number, wire=user_network) for number in (1, 2, 3)]
    ended: list[int] = []

    def work(place: Place) -> int:
        time.sleep(place.number * 0.1)
        if place.number == 3:
            ended.append(3)
            raise RuntimeError("broke")
        while place.stays():
            time.sleep(0.01)
        ended.append(place.number)
        return place.number

    with pytest.raises(RuntimeError, match="broke"):
        boot_together(places, work)
    assert ended[0] == 3, "the others stayed until the last was done"
    assert sorted(ended) == [1, 2, 3]
    assert boot_together(places[:2], work) == (1, 2)
