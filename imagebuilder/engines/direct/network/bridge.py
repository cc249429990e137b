"""``--bridgeopts``: properties of a bridge, named as in nm-settings(5), for systemd.netdev(5)."""

from __future__ import annotations

import re
from collections.abc import Callable

from imagebuilder.engines.direct.network.said import Said

_MAC = re.compile(r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$")
_YES = ("yes", "true", "on", "1")
_NO = ("no", "false", "off", "0")

_Value = Callable[[Said, str, str], str]


def bridge_settings(said: Said) -> tuple[tuple[str, ...], str]:
    """Return the lines of ``[Bridge]`` and the bridge's own MAC address, or "".

    Raises:
        InputError: an option is unknown or has a wrong value.
    """
    lines: dict[str, str] = {}
    mac = ""
    for each in said.listed("--bridgeopts"):
        name, _, text = (part.strip() for part in each.partition("="))
        if name == "mac-address":
            if not _MAC.match(text) or int(text[:2], 16) & 1:
                raise said.refuse(f"--bridgeopts: {text!r} is no MAC address of a device")
            mac = text
            continue
        if name not in _OPTIONS:
            known = ", ".join(sorted((*_OPTIONS, "mac-address")))
            raise said.refuse(f"--bridgeopts: {name!r} is unknown", f"known are: {known}")
        if name in lines:
            raise said.refuse(f"--bridgeopts: {name} is given twice")
        key, value = _OPTIONS[name]
        lines[name] = f"{key}={value(said, name, text)}"
    return tuple(lines.values()), mac


def _yes_no(said: Said, name: str, text: str) -> str:
    if text.lower() not in (*_YES, *_NO):
        raise said.refuse(f"--bridgeopts: {name}={text} is neither yes nor no")
    return "yes" if text.lower() in _YES else "no"


def _number(first: int, last: int) -> _Value:
    def take(said: Said, name: str, text: str) -> str:
        return str(said.number(text, f"--bridgeopts: {name}", first, last))

    return take


def _protocol(said: Said, name: str, text: str) -> str:
    if text.lower() not in ("802.1q", "802.1ad"):
        raise said.refuse(f"--bridgeopts: {name}={text} is neither 802.1Q nor 802.1ad")
    return text.lower()


# The ranges are NetworkManager's; those of the timers are the standard's, IEEE 802.1D.
_OPTIONS: dict[str, tuple[str, _Value]] = {
    "ageing-time": ("AgeingTimeSec", _number(0, 1_000_000)),
    "forward-delay": ("ForwardDelaySec", _number(2, 30)),
    "group-forward-mask": ("GroupForwardMask", _number(0, 65535)),
    "hello-time": ("HelloTimeSec", _number(1, 10)),
    "max-age": ("MaxAgeSec", _number(6, 40)),
    "multicast-querier": ("MulticastQuerier", _yes_no),
    "multicast-snooping": ("MulticastSnooping", _yes_no),
    "priority": ("Priority", _number(0, 65535)),
    "stp": ("STP", _yes_no),
    "vlan-default-pvid": ("DefaultPVID", _number(1, 4094)),
    "vlan-filtering": ("VLANFiltering", _yes_no),
    "vlan-protocol": ("VLANProtocol", _protocol),
}
