"""The switch of the rack: Ethernet frames between machines and servers, VLAN by VLAN.

In user space, since the kernel's own bridge knows VLANs only where two of its options are
built in, and a port that drops what it does not carry is the point of it.  What a machine sends
with a tag that its port does not carry is counted: it is what a wrong configuration looks like.
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

_TAG = 0x8100  # IEEE 802.1Q
_HEADER = 14  # bytes: two addresses and the type
_IPV4, _IPV4_TARGET = b"\x08\x00", 30  # the type, and where a packet says who it is for
_EVERYBODY = IPv4Address("255.255.255.255")
_FRAME_LIMIT = 1 << 16
_PIECE = 1 << 18
_BACKLOG_LIMIT = 8 << 20  # bytes that may wait for a machine that does not read
_ADDRESSES_LIMIT = 4096
_RETRY_SECONDS = 0.002  # until a machine that had no room is asked again

OnDrop = Callable[["Port", int], None]


class Link(Protocol):
    """What a port sends its frames through."""

    def send(self, frame: bytes) -> None:
        """Send a frame; where there is no room for it, it is lost."""


@dataclass(slots=True, kw_only=True, eq=False)
class Port:
    """A port of the switch.

    Attributes:
        name: for people.
        native: the VLAN of frames without a tag; None: it takes none.
        tagged: the VLANs whose frames have a tag here.
        link: what is plugged in; None: nothing yet.
        subnet: of IPv4, it takes only what is for this network.  A host answers to each of its
            addresses on all of its networks, so the server would be reached on a VLAN by
            machines that are not on it.
    """

    name: str
    native: int | None
    tagged: frozenset[int] = frozenset()
    link: Link | None = None
    subnet: IPv4Network | None = None

    def takes(self, frame: bytes) -> bool:
        """Whether a frame without a tag is for what is plugged in."""
        if self.subnet is None or frame[12:14] != _IPV4 or len(frame) < _IPV4_TARGET + 4:
            return True
        target = IPv4Address(frame[_IPV4_TARGET : _IPV4_TARGET + 4])
        return target in self.subnet or target.is_multicast or target == _EVERYBODY


@dataclass(slots=True, kw_only=True)
class Switch:
    """Learns which address is behind which port, and sends frames there.

    Attributes:
        ports: all that it has.
        on_drop: called once for each port and VLAN that it does not carry.
    """

    ports: list[Port]
    on_drop: OnDrop = lambda _port, _vlan: None
    _behind: dict[tuple[int, bytes], Port] = field(default_factory=dict)
    _told: set[tuple[str, int]] = field(default_factory=set)

    def take(self, port: Port, frame: bytes) -> None:
        """Send a frame on that came in at a port."""
        if len(frame) < _HEADER:
            return
        vlan, plain = _untag(frame)
        if vlan == 0:  # without a tag, or with one that is about priority only
            carried, vlan = port.native is not None, port.native or 0
        else:
            carried = vlan in port.tagged
        if not carried:
            if (port.name, vlan) not in self._told:
                self._told.add((port.name, vlan))
                self.on_drop(port, vlan)
            return
        target, source = plain[:6], plain[6:12]
        if len(self._behind) < _ADDRESSES_LIMIT:
            self._behind[vlan, source] = port
        known = None if target[0] & 1 else self._behind.get((vlan, target))
        for other in [known] if known else self.ports:
            if other is port or other.link is None:
                continue
            if other.native == vlan:
                if other.takes(plain):
                    other.link.send(plain)
            elif vlan in other.tagged:
                other.link.send(plain[:12] + struct.pack(">HH", _TAG, vlan) + plain[12:])


def _untag(frame: bytes) -> tuple[int, bytes]:
    """Return the VLAN of a frame's tag, 0 without one, and the frame without it."""
    if int.from_bytes(frame[12:14], "big") != _TAG or len(frame) < _HEADER + 4:
        return 0, frame
    return int.from_bytes(frame[14:16], "big") & 0xFFF, frame[:12] + frame[16:]


class Stream:
    """A machine's network card, by QEMU's ``-netdev stream``: each frame after its length."""

    def __init__(self, opened: socket.socket) -> None:
        opened.setblocking(False)
        self.socket = opened
        self._read = b""
        self._backlog = bytearray()

    def send(self, frame: bytes) -> None:
        """Have a frame sent; one that a machine has no room for is lost, as on a wire."""
        if len(self._backlog) < _BACKLOG_LIMIT:
            self._backlog += struct.pack(">I", len(frame)) + frame

    def flush(self) -> bool:
        """Send what waits; return whether all went."""
        while self._backlog:
            try:
                sent = self.socket.send(memoryview(self._backlog)[:_PIECE])
            except BlockingIOError:
                return False
            except OSError:
                self._backlog.clear()  # the machine is off
                return True
            del self._backlog[:sent]
        return True

    def frames(self) -> Iterator[bytes] | None:
        """Give the frames that have come; None once the machine is off."""
        try:
            data = self.socket.recv(_PIECE)
        except BlockingIOError:
            return iter(())
        except OSError:
            return None
        return self._cut(data) if data else None

    def _cut(self, data: bytes) -> Iterator[bytes]:
        data, at = self._read + data, 0
        while at + 4 <= len(data):
            (size,) = struct.unpack_from(">I", data, at)
            if at + 4 + size > len(data):
                break
            yield data[at + 4 : at + 4 + size]
            at += 4 + size
        self._read = data[at:]


class Wire:
    """The other end of a network interface of the host, as a packet socket (packet(7))."""

    def __init__(self, opened: socket.socket) -> None:
        opened.setblocking(False)
        self.socket = opened

    def send(self, frame: bytes) -> None:
        """Send a frame, or lose it."""
        try:
            self.socket.send(frame)
        except OSError:
            pass

    def frames(self) -> Iterator[bytes]:
        """Give the frames that have come, and not those that were sent."""
        for _ in range(256):
            try:
                frame, address = self.socket.recvfrom(_FRAME_LIMIT)
            except OSError:
                return
            if address[2] != socket.PACKET_OUTGOING:
                yield frame


def run(switch: Switch, listeners: Mapping[socket.socket, Port]) -> None:
    """Move frames for ever.

    Args:
        switch: decides where they go; wires that are there from the beginning are in its ports.
        listeners: where QEMU connects, and to which port.
    """
    with selectors.DefaultSelector() as selector:

        def plug_in(port: Port, link: Stream | Wire) -> None:
            port.link = link
            selector.register(link.socket, selectors.EVENT_READ, lambda: read(port, link))

        def read(port: Port, link: Stream | Wire) -> None:
            frames = link.frames()
            if frames is None:
                selector.unregister(link.socket)
                link.socket.close()
                port.link = None
                return
            for frame in frames:
                switch.take(port, frame)

        for listener, port in listeners.items():
            selector.register(
                listener,
                selectors.EVENT_READ,
                lambda one=listener, other=port: plug_in(other, Stream(one.accept()[0])),
            )
        for port in switch.ports:
            if isinstance(port.link, Wire):
                plug_in(port, port.link)
        waits = False
        while True:
            for key, _ in selector.select(_RETRY_SECONDS if waits else None):
                key.data()
            streams = [each.link for each in switch.ports if isinstance(each.link, Stream)]
            waits = [stream.flush() for stream in streams].count(False) > 0
