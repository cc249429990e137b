"""DHCP and TFTP, read from a capture while it grows."""

from __future__ import annotations

import struct
from pathlib import Path

from imagebuilder.smoke.packets import Capture, Packet

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 400, 1)


def frame(source: int, target: int, body: bytes, *, vlan: bool = False) -> bytes:
    udp = struct.pack(">HHHH", source, target, 8 + len(body), 0) + body
    ip = struct.pack(">BBHHHBBH8x", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + udp
    tag = b"\x81\x00\x00\x05" if vlan else b""
    return bytes(12) + tag + b"\x08\x00" + ip


def dhcp(kind: int) -> bytes:
    options = b"\0" + bytes([60, 4]) + b"PXEC" + bytes([53, 1, kind, 255])
    return bytes(236) + b"\x63\x82\x53\x63" + options


def record(data: bytes) -> bytes:
    return struct.pack("<IIII", 1, 2, len(data), len(data)) + data


def test_what_a_guest_asks_and_gets(tmp_path: Path) -> None:
    path = tmp_path / "firmware.pcap"
    capture = Capture(path, "initrd")
    assert capture.new() == [], "it need not be there"
    path.write_bytes(HEADER[:10])
    assert capture.new() == []
    frames = [
        frame(68, 67, dhcp(1)),
        frame(67, 68, dhcp(2)),
        frame(68, 67, dhcp(3), vlan=True),
        frame(67, 68, dhcp(5)),
        frame(67, 68, dhcp(99)),
        frame(67, 68, b"no DHCP"),
        frame(2070, 69, b"\0\1boot.ipxe\0octet\0"),
        frame(4711, 2070, b"\0\5\0\1File not found\0"),
        frame(4711, 2071, b"\0\5\0\1to somebody else\0"),
        frame(80, 4000, b"GET"),
        b"\0" * 12 + b"\x86\xdd" + bytes(60),
        b"short",
    ]
    whole = HEADER + b"".join(record(each) for each in frames)
    cut = len(whole) - 70
    path.write_bytes(whole[:cut])
    first = capture.new()
    path.write_bytes(whole)
    assert [(each.kind, each.what) for each in [*first, *capture.new()]] == [
        ("dhcp", "discover"),
        ("dhcp", "offer"),
        ("dhcp", "request"),
        ("dhcp", "ack"),
        ("tftp-read", "boot.ipxe"),
        ("tftp-error", "File not found"),
    ]
    assert first[0] == Packet(kind="dhcp", what="discover", part="initrd")
    assert capture.new() == []


def test_a_header_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "pcap"
    long_header = bytearray(frame(68, 67, b""))
    long_header[14] = 0x4F  # 60 bytes of IP header, of which 28 are there
    path.write_bytes(HEADER + record(bytes(long_header)))
    assert Capture(path).new() == []
