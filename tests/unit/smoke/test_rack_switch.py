from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv4Network

from imagebuilder.smoke.rack.switch import Port, Stream, Switch

A, B, C = (bytes([2, 0, 0, 0, 0, number]) for number in (1, 2, 3))
ALL = b"\xff" * 6
BODY = b"\x08\x06" + b"x" * 46


def tag(vlan: int, priority: int = 0) -> bytes:
    return struct.pack(">HH", 0x8100, priority << 13 | vlan)


class Heard:
    """A link that keeps what is sent through it."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)

    def take(self) -> list[bytes]:
        frames, self.frames = self.frames, []
        return frames


def rack() -> tuple[Switch, dict[str, Port], dict[str, Heard], list[tuple[str, int]]]:
    heard = {name: Heard() for name in ("server", "vlan7", "m1", "m2")}
    ports = {
        "server": Port(name="server", native=1, link=heard["server"]),
        "vlan7": Port(name="vlan7", native=7, link=heard["vlan7"]),
        "m1": Port(name="m1", native=1, tagged=frozenset({7}), link=heard["m1"]),
        "m2": Port(name="m2", native=None, tagged=frozenset({7}), link=heard["m2"]),
    }
    drops: list[tuple[str, int]] = []
    switch = Switch(
        ports=list(ports.values()), on_drop=lambda port, vlan: drops.append((port.name, vlan))
    )
    return switch, ports, heard, drops


def test_frames_stay_in_their_vlan_and_have_the_tags_of_the_port() -> None:
    switch, ports, heard, drops = rack()
    switch.take(ports["m1"], ALL + A + BODY)
    assert heard["server"].take() == [ALL + A + BODY]
    assert not heard["vlan7"].take()
    assert not heard["m2"].take()
    assert not heard["m1"].take()
    switch.take(ports["m1"], ALL + A + tag(7) + BODY)
    assert heard["vlan7"].take() == [ALL + A + BODY]
    assert heard["m2"].take() == [ALL + A + tag(7) + BODY]
    assert not heard["server"].take()
    switch.take(ports["vlan7"], A + C + BODY)
    assert heard["m1"].take() == [A + C + tag(7) + BODY]
    assert not heard["m2"].take(), "it is known where this address is"
    assert not drops


def test_the_server_takes_only_what_is_for_its_network() -> None:
    switch, ports, heard, _ = rack()
    ports["server"].subnet = IPv4Network("10.77.0.0/24")

    def packet(target: str) -> bytes:
        return ALL + A + b"\x08\x00" + bytes(16) + IPv4Address(target).packed + bytes(20)

    for target in ("10.77.0.1", "255.255.255.255", "224.0.0.1"):
        switch.take(ports["m1"], packet(target))
        assert heard["server"].take() == [packet(target)]
    switch.take(ports["m1"], packet("10.20.7.1"))
    assert not heard["server"].take(), "a host answers to all its addresses on every network"


def test_an_address_is_learnt_for_each_vlan_by_itself() -> None:
    switch, ports, heard, _ = rack()
    switch.take(ports["m1"], ALL + A + BODY)
    switch.take(ports["m2"], ALL + A + tag(7) + BODY)
    for each in heard.values():
        each.take()
    switch.take(ports["vlan7"], A + C + BODY)
    assert heard["m2"].take() == [A + C + tag(7) + BODY]
    assert not heard["m1"].take()


def test_what_a_port_does_not_carry_is_dropped_and_told_once() -> None:
    switch, ports, heard, drops = rack()
    for _ in range(3):
        switch.take(ports["m1"], ALL + A + tag(8) + BODY)
        switch.take(ports["m2"], ALL + B + BODY)
        switch.take(ports["server"], ALL + C + tag(7) + BODY)
    assert drops == [("m1", 8), ("m2", 0), ("server", 7)]
    assert not any(each.frames for each in heard.values())


def test_a_tag_that_is_only_about_priority_is_none() -> None:
    switch, ports, heard, drops = rack()
    switch.take(ports["m1"], ALL + A + tag(0, priority=5) + BODY)
    assert heard["server"].take() == [ALL + A + BODY]
    switch.take(ports["m1"], ALL + A + tag(7, priority=5) + BODY)
    assert heard["vlan7"].take() == [ALL + A + BODY]
    assert not drops
    switch.take(ports["m1"], b"short")


def test_a_stream_has_frames_after_their_lengths_however_they_are_cut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(ours)
        frames = [bytes([number]) * (number + 60) for number in range(40)]
        sent = b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)
        heard: list[bytes] = []
        for at in range(0, len(sent), 7):
            theirs.sendall(sent[at : at + 7])
            heard += list(stream.frames() or ())
        assert heard == frames
        stream.send(frames[3])
        assert stream.flush()
        assert theirs.recv(1000) == struct.pack(">I", 63) + frames[3]
        theirs.close()
        assert stream.frames() is None


def test_a_machine_that_does_not_read_costs_bounded_memory() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(ours)
        for _ in range(12_000):
            stream.send(b"x" * 1500)
        assert not stream.flush()
        waiting = 0
        theirs.settimeout(0.2)
        while not stream.flush() or waiting == 0:
            waiting += len(theirs.recv(1 << 20))
        assert waiting < 10 << 20
