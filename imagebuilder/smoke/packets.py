"""What a guest asked of DHCP and TFTP: read from the packets that QEMU's filter-dump writes.

Formats: pcap (libpcap, pcap-savefile(5)), DHCP (RFC 2131, options in RFC 2132), TFTP (RFC 1350).
The file is read while it grows and its packets are cut off at some length, which libraries that
read captures do not provide for; and these are forty lines.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_FILE_HEADER, _RECORD_HEADER = 24, 16
_MAGIC = 0xA1B2C3D4  # microseconds, in the byte order of who wrote it
_IPV4, _VLAN, _UDP = 0x0800, 0x8100, 17
_BOOTP_SIZE = 236  # of the fixed part of DHCP, before the magic cookie
_DHCP_COOKIE = b"\x63\x82\x53\x63"
_DHCP_TYPES = {1: "discover", 2: "offer", 3: "request", 4: "decline", 5: "ack", 6: "nak"}
_OPTION_PAD, _OPTION_TYPE, _OPTION_END = 0, 53, 255
_TFTP_READ, _TFTP_ERROR = 1, 5

Part = Literal["firmware", "initrd"]
PARTS: tuple[Part, ...] = ("firmware", "initrd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet that tells of the boot.

    Attributes:
        kind: ``dhcp`` with what ``discover``, ``offer``, ``request``, ``ack`` or ``nak``;
            ``tftp-read`` with what the file that is asked for; ``tftp-error`` with what the
            server says.
        part: who asked: the firmware, or the initrd.
    """

    kind: Literal["dhcp", "tftp-read", "tftp-error"]
    what: str
    part: Part = "firmware"


class Capture:
    """Reads a capture while it grows.

    Args:
        path: the file; it need not be there yet.
        part: of the boot.
    """

    def __init__(self, path: Path, part: Part = "firmware") -> None:
        self._part = part
        self._path = path
        self._offset = 0
        self._order = "<"
        self._tftp_clients: set[int] = set()  # ports; a server answers from any port of its own

    def new(self) -> list[Packet]:
        """Return what has come since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        if self._offset == 0:
            if len(data) < _FILE_HEADER:
                return []
            self._order = "<" if struct.unpack("<I", data[:4])[0] == _MAGIC else ">"
            self._offset = _FILE_HEADER
            data = data[_FILE_HEADER:]
        return list(self._packets(data))

    def _packets(self, data: bytes) -> Iterator[Packet]:
        at = 0
        while at + _RECORD_HEADER <= len(data):
            kept = struct.unpack_from(f"{self._order}IIII", data, at)[2]
            if at + _RECORD_HEADER + kept > len(data):
                break  # it is being written
            frame = data[at + _RECORD_HEADER : at + _RECORD_HEADER + kept]
            at += _RECORD_HEADER + kept
            packet = self._packet(frame)
            if packet:
                yield packet
        self._offset += at

    def _packet(self, frame: bytes) -> Packet | None:
        source, target, body = _datagram(frame)
        if {source, target} == {67, 68}:
            what = _dhcp_type(body)
            return Packet(kind="dhcp", what=what, part=self._part) if what else None
        operation = int.from_bytes(body[:2], "big")
        if target == 69 and operation == _TFTP_READ:
            self._tftp_clients.add(source)
            return Packet(kind="tftp-read", what=_text(body[2:]), part=self._part)
        if target in self._tftp_clients and operation == _TFTP_ERROR:
            return Packet(kind="tftp-error", what=_text(body[4:]), part=self._part)
        return None


def _datagram(frame: bytes) -> tuple[int, int, bytes]:
    """Return the ports and the contents of the UDP datagram in an Ethernet frame, if any."""
    kind, start = int.from_bytes(frame[12:14], "big"), 14
    if kind == _VLAN:
        kind, start = int.from_bytes(frame[16:18], "big"), 18
    packet = frame[start:]
    if kind != _IPV4 or len(packet) < 28 or packet[9] != _UDP:
        return 0, 0, b""
    header = (packet[0] & 15) * 4
    if len(packet) < header + 8:
        return 0, 0, b""
    source, target = struct.unpack_from(">HH", packet, header)
    return source, target, packet[header + 8 :]


def _dhcp_type(body: bytes) -> str:
    if body[_BOOTP_SIZE : _BOOTP_SIZE + 4] != _DHCP_COOKIE:
        return ""
    at = _BOOTP_SIZE + 4
    while at + 2 < len(body) and body[at] != _OPTION_END:
        if body[at] == _OPTION_PAD:
            at += 1
            continue
        if body[at] == _OPTION_TYPE:
            return _DHCP_TYPES.get(body[at + 2], "")
        at += 2 + body[at + 1]
    return ""


def _text(field: bytes) -> str:
    text = field.partition(b"\0")[0].decode("utf-8", errors="replace")
    return "".join(sign if sign.isprintable() else "?" for sign in text)
