"""Runs in a network namespace of its own: interfaces, the switch, dnsmasq.

It is told its job on standard input, sends the sockets at which files are served to the process
that started it, and moves frames until it is killed.  On standard output it says in JSON what
it has to tell: ``dropped`` (a frame of a VLAN that a port does not carry), ``dhcp`` (a line of
dnsmasq), ``failed``.
"""

from __future__ import annotations

import array
import fcntl
import json
import socket
import struct
import sys
import threading
from ipaddress import IPv4Interface
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from imagebuilder import sandbox
from imagebuilder.command import run as run_command
from imagebuilder.errors import ImageBuilderError, StepError
from imagebuilder.smoke.rack import dhcp
from imagebuilder.smoke.rack.layout import NATIVE, Layout, Network
from imagebuilder.smoke.rack.switch import Port, Switch, Wire, run

_ALL_PROTOCOLS = 3  # ETH_P_ALL of <linux/if_ether.h>
_START_SECONDS = 30.0
_BUFFER = 4 << 20  # bytes that may wait for the switch
# ethtool's requests, of <linux/ethtool.h> and <linux/sockios.h>.
_SIOCETHTOOL, _SET_TX_CHECKSUMS = 0x8946, 0x17


class Job(BaseModel):
    """What the worker is to set up.

    Attributes:
        layout: the rack.
        folder: where sockets, leases and the TFTP folder are.
        over_http: whether machines get their first script over HTTP.
        bootfile: what firmware that boots by TFTP fetches first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Layout
    folder: Path
    over_http: bool
    bootfile: str


def port_socket(folder: Path, machine: int, card: int) -> Path:
    """Return the UNIX socket at which QEMU plugs a card in."""
    return folder / f"m{machine}c{card}"


def main() -> None:
    """Do the job that standard input tells."""
    job = Job.model_validate_json(sys.stdin.buffer.read())
    try:
        sandbox.raise_loopback()
        wires = [_interface(network, job.layout) for network in job.layout.networks]
        _start_dhcp(job)
        ports = [
            Port(
                name=dhcp.interface(network),
                native=network.vlan,
                link=wire,
                subnet=network.subnet,
            )
            for network, wire in zip(job.layout.networks, wires, strict=True)
        ]
        listeners: dict[socket.socket, Port] = {}
        for machine in job.layout.machines:
            for number, card in enumerate(machine.cards):
                port = Port(
                    name=f"{machine.name}, card {number}",
                    native=NATIVE if card.native else None,
                    tagged=frozenset(card.vlans),
                )
                ports.append(port)
                listeners[_listener(port_socket(job.folder, machine.number, number))] = port
        _hand_over(job)
    except (OSError, ImageBuilderError) as error:
        _say(failed=f"{error}: {error.excerpt}" if isinstance(error, StepError) else str(error))
        sys.exit(1)
    run(Switch(ports=ports, on_drop=lambda port, vlan: _say(dropped=[port.name, vlan])), listeners)


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _interface(network: Network, layout: Layout) -> Wire:
    """Make the server's interface on a network; return its other end."""
    name, end = dhcp.interface(network), f"{dhcp.interface(network)}-sw"
    _ip("link", "add", name, "type", "veth", "peer", "name", end)
    # The switch is no network card: it does not fill in checksums or cut segments.
    _whole_frames(name)
    addresses = [network.server]
    if network == layout.boot:
        addresses += [network.files(machine.number) for machine in layout.machines]
    for address in addresses:
        _ip("addr", "add", f"{IPv4Interface((address, network.subnet.prefixlen))}", "dev", name)
    for each in (end, name):
        _ip("link", "set", each, "up")
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    opened.bind((end, _ALL_PROTOCOLS))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    return Wire(opened)


def _ip(*words: str) -> None:
    run_command(["ip", *words], timeout=20, what="set up the network of the rack")


def _whole_frames(interface: str) -> None:
    value = array.array("B", struct.pack("II", _SET_TX_CHECKSUMS, 0))
    request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        fcntl.ioctl(opened, _SIOCETHTOOL, request.ljust(40, b"\0"))


def _listener(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    opened.bind(str(path))
    opened.listen(1)
    return opened


def _hand_over(job: Job) -> None:
    """Send the sockets at which files are served, of this network, to who has the files."""
    served = []
    for machine in job.layout.machines:
        address = str(job.layout.boot.files(machine.number))
        served.append(socket.create_server((address, 80), backlog=64))
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect(str(job.folder / "control"))
        socket.send_fds(opened, [b"ready"], [each.fileno() for each in served])


def _start_dhcp(job: Job) -> None:
    """Start dnsmasq in a thread, and wait until it listens."""
    config = job.folder / "dnsmasq.conf"
    said = dhcp.configuration(
        job.layout, job.folder, over_http=job.over_http, bootfile=job.bootfile
    )
    config.write_text(said)
    listens, failures = threading.Event(), list[ImageBuilderError]()

    def hear(line: str) -> None:
        _say(dhcp=line)
        if "started, version" in line:  # it says so once its sockets are open
            listens.set()

    def serve() -> None:
        try:
            run_command(
                [dhcp.DNSMASQ, f"--conf-file={config}"],
                timeout=float("inf"),
                on_error_line=hear,
                what="dnsmasq",
            )
        except ImageBuilderError as error:
            failures.append(error)
        if listens.is_set():
            _say(failed="dnsmasq ended")
        listens.set()

    threading.Thread(target=serve, daemon=True).start()
    listens.wait(_START_SECONDS)
    if failures:
        raise failures[0]


if __name__ == "__main__":
    main()
