"""``--ethtool``: arguments of ethtool(8) as settings of systemd.link(5).

The image need not have ethtool: udev sets what the kernel's interface of it sets.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping

from imagebuilder.engines.direct.network.said import Said

_ON_OFF = {"on": "yes", "off": "no"}
_DEVICE = re.compile(r"^(\$\{?\w+\}?)$")  # $DEVICE, as in ETHTOOL_OPTS of initscripts
_WAKE = {
    "p": "phy",
    "u": "unicast",
    "m": "multicast",
    "b": "broadcast",
    "a": "arp",
    "g": "magic",
    "d": "off",
}
_MDIX = {"on": "crossover", "off": "straight", "auto": "auto"}
# Bits of "advertise", ETHTOOL_LINK_MODE_* of linux/ethtool.h, that systemd.link(5) has names for.
_ADVERTISE = {
    0: "10baset-half",
    1: "10baset-full",
    2: "100baset-half",
    3: "100baset-full",
    4: "1000baset-half",
    5: "1000baset-full",
    12: "10000baset-full",
    15: "2500basex-full",
    17: "1000basekx-full",
    18: "10000basekx4-full",
    19: "10000basekr-full",
    20: "10000baser-fec",
    21: "20000basemld2-full",
    22: "20000basekr2-full",
}


class _NoValueError(ValueError):
    """A value that an option of ethtool does not take."""


_Value = Callable[[str], str]
_Table = Mapping[str, tuple[str, _Value]]


def link_settings(said: Said, device: str) -> tuple[str, ...]:
    """Return the lines of ``[Link]`` that a line's ``--ethtool`` comes to.

    Args:
        said: the line.
        device: the interface's name, or ""; ethtool's arguments may have it in them.

    Raises:
        InputError: an option cannot be set this way.
    """
    found: dict[str, str] = {}
    for part in said.value("--ethtool").split(";"):
        try:
            words = shlex.split(part)
        except ValueError as error:
            raise said.refuse(f"--ethtool: {part.strip()!r} has an open quote") from error
        found |= dict(_settings(said, words, device))
    return tuple(f"{key}={value}" for key, value in found.items())


def _settings(said: Said, words: list[str], device: str) -> Iterator[tuple[str, str]]:
    mode = "-s"
    if words and words[0].startswith("-"):
        mode, *words = words
    table = _MODES.get(mode)
    if table is None:
        raise said.refuse(
            f"--ethtool: {mode} is not honoured",
            "honoured are -s, -K, -G, -L, -A and -C; for the rest add the package ethtool and a "
            "unit that runs it",
        )
    if words and words[0] not in table and (words[0] == device or _DEVICE.match(words[0])):
        words = words[1:]
    for name, text in zip(words[::2], [*words[1::2], ""], strict=False):
        if name not in table:
            raise said.refuse(
                f"--ethtool: {mode} {name} is not honoured",
                f"honoured with {mode} are: {', '.join(sorted(table))}; for the rest add the "
                "package ethtool and a unit that runs it",
            )
        keys, value = table[name]
        try:
            yield from ((key, value(text)) for key in keys.split())
        except _NoValueError as error:
            raise said.refuse(f"--ethtool: {name} {text}: {error}") from error


def _switch(text: str) -> str:
    if text not in _ON_OFF:
        raise _NoValueError("it takes on or off")
    return _ON_OFF[text]


def _one_of(words: Mapping[str, str]) -> _Value:
    def take(text: str) -> str:
        if text not in words:
            raise _NoValueError(f"it takes {', '.join(words)}")
        return words[text]

    return take


def _number(first: int, unit: str = "") -> _Value:
    def take(text: str) -> str:
        if not re.match(r"^[0-9]{1,10}$", text) or not first <= int(text) < 2**32:
            raise _NoValueError(f"it takes a number from {first}")
        return f"{int(text)}{unit}"

    return take


def _wake(text: str) -> str:
    if not text or set(text) - set(_WAKE) or ("d" in text and len(text) > 1):
        raise _NoValueError(f"it takes d, or letters of {''.join(_WAKE).replace('d', '')}")
    return " ".join(dict.fromkeys(_WAKE[letter] for letter in text))


def _advertise(text: str) -> str:
    if not re.match(r"^(0x)?[0-9A-Fa-f]{1,16}$", text) or not int(text, 16):
        raise _NoValueError("it takes a mask, a hexadecimal number")
    bits = [n for n in range(64) if int(text, 16) >> n & 1]
    unnamed = [n for n in bits if n not in _ADVERTISE]
    if unnamed:
        raise _NoValueError(f"bit {unnamed[0]} has no name in systemd.link(5)")
    return " ".join(_ADVERTISE[n] for n in bits)


def _coalesce() -> Iterator[tuple[str, tuple[str, _Value]]]:
    for way, key in (("rx", "Rx"), ("tx", "Tx")):
        yield f"adaptive-{way}", (f"UseAdaptive{key}Coalesce", _switch)
        for suffix, when in (("", ""), ("-irq", "Irq"), ("-low", "Low"), ("-high", "High")):
            yield f"{way}-usecs{suffix}", (f"{key}Coalesce{when}Sec", _number(0, "us"))
            yield f"{way}-frames{suffix}", (f"{key}MaxCoalesced{when}Frames", _number(0))
    yield "pkt-rate-low", ("CoalescePacketRateLow", _number(0))
    yield "pkt-rate-high", ("CoalescePacketRateHigh", _number(0))
    yield "sample-interval", ("CoalescePacketRateSampleIntervalSec", _number(1, "s"))
    yield "stats-block-usecs", ("StatisticsBlockCoalesceSec", _number(1, "us"))


_FEATURES = {
    ("rx", "rx-checksumming"): "ReceiveChecksumOffload",
    ("tx", "tx-checksumming"): "TransmitChecksumOffload",
    # With these two off the kernel drops the rest of what ethtool counts as TSO.
    ("tso", "tcp-segmentation-offload"): "TCPSegmentationOffload TCP6SegmentationOffload",
    ("tx-tcp6-segmentation",): "TCP6SegmentationOffload",
    ("gso", "generic-segmentation-offload"): "GenericSegmentationOffload",
    ("gro", "generic-receive-offload"): "GenericReceiveOffload",
    ("rx-gro-hw",): "GenericReceiveOffloadHardware",
    ("lro", "large-receive-offload"): "LargeReceiveOffload",
    ("rxvlan", "rx-vlan-offload"): "ReceiveVLANCTAGHardwareAcceleration",
    ("txvlan", "tx-vlan-offload"): "TransmitVLANCTAGHardwareAcceleration",
    ("rx-vlan-filter",): "ReceiveVLANCTAGFilter",
    ("tx-vlan-stag-hw-insert",): "TransmitVLANSTAGHardwareAcceleration",
    ("ntuple", "ntuple-filters"): "NTupleFilter",
}

_CHANGE: _Table = {
    "speed": ("BitsPerSecond", _number(1, "M")),
    "duplex": ("Duplex", _one_of({"half": "half", "full": "full"})),
    "autoneg": ("AutoNegotiation", _switch),
    "advertise": ("Advertise", _advertise),
    "port": ("Port", _one_of({each: each for each in ("tp", "aui", "bnc", "mii", "fibre")})),
    "mdix": ("MDI", _one_of(_MDIX)),
    "wol": ("WakeOnLan", _wake),
}
_OFFLOAD: _Table = {name: (key, _switch) for names, key in _FEATURES.items() for name in names}
_RING: _Table = {
    "rx": ("RxBufferSize", _number(1)),
    "rx-mini": ("RxMiniBufferSize", _number(1)),
    "rx-jumbo": ("RxJumboBufferSize", _number(1)),
    "tx": ("TxBufferSize", _number(1)),
}
_CHANNELS: _Table = {
    "rx": ("RxChannels", _number(1)),
    "tx": ("TxChannels", _number(1)),
    "other": ("OtherChannels", _number(1)),
    "combined": ("CombinedChannels", _number(1)),
}
_PAUSE: _Table = {
    "autoneg": ("AutoNegotiationFlowControl", _switch),
    "rx": ("RxFlowControl", _switch),
    "tx": ("TxFlowControl", _switch),
}
_COALESCE: _Table = dict(_coalesce())

_MODES: dict[str, _Table] = {
    **dict.fromkeys(("-s", "--change"), _CHANGE),
    **dict.fromkeys(("-K", "--offload", "--features"), _OFFLOAD),
    **dict.fromkeys(("-G", "--set-ring"), _RING),
    **dict.fromkeys(("-L", "--set-channels"), _CHANNELS),
    **dict.fromkeys(("-A", "--pause"), _PAUSE),
    **dict.fromkeys(("-C", "--coalesce"), _COALESCE),
}
