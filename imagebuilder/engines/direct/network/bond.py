"""``--bondopts``: options of the kernel's bonding driver as those of systemd.netdev(5).

The options are those of the kernel's Documentation/networking/bonding.rst.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imagebuilder.engines.direct.network.said import Said

MODES = (
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
)
_WITH_PRIMARY = frozenset({"active-backup", "balance-tlb", "balance-alb"})
_WITH_ARP = frozenset({"balance-rr", "active-backup", "balance-xor", "broadcast"})
_BACKUP = frozenset({"active-backup"})
_LACP = frozenset({"802.3ad"})
_ANY = frozenset(MODES)
_MIIMON = "MIIMonitorSec=100ms"  # NetworkManager's default; the kernel's would see no failure
_MAC = re.compile(r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$")
_TARGETS_LIMIT = 16  # BOND_MAX_ARP_TARGETS

_Value = Callable[[Said, str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BondSettings:
    """What ``--bondopts`` comes to.

    Attributes:
        lines: of the section ``[Bond]``.
        primary: the member that ``primary=`` names, or "".
        active: the member that ``active_slave=`` names, or "".
    """

    lines: tuple[str, ...]
    primary: str
    active: str


@dataclass(frozen=True, slots=True)
class _Option:
    key: str  # in [Bond]
    value: _Value
    modes: frozenset[str] = _ANY  # in which it means something
    strict: bool = False  # whether the kernel refuses it in the others (bond_options.c)


def bond_settings(said: Said) -> BondSettings:
    """Return what a line's options of a bond come to.

    Raises:
        InputError: one is unknown, has a wrong value, or does not go with the mode.
    """
    given = _given(said)
    mode = _word(*MODES)(said, "mode", given.get("mode", MODES[0]))
    lines = [f"Mode={mode}"]
    members = {"primary": "", "active_slave": ""}
    for name, text in given.items():
        if name in members:
            _see_mode(said, name, mode, _WITH_PRIMARY)
            members[name] = said.interface(text, f"--bondopts: {name}")
        elif name == "use_carrier":
            if text != "1":
                raise said.refuse("--bondopts: use_carrier=0 is not honoured", "take it out")
            said.note("--bondopts: use_carrier=1 has no effect: it is the kernel's default")
        elif name != "mode":
            option = _OPTIONS.get(name)
            if option is None:
                raise said.refuse(
                    f"--bondopts: {name} is unknown", f"known are: {', '.join(sorted(_KNOWN))}"
                )
            if option.strict:
                _see_mode(said, name, mode, option.modes)
            elif mode not in option.modes:
                said.note(f"--bondopts: {name} has no effect with mode={mode}")
            lines.append(f"{option.key}={option.value(said, name, text)}")
    return BondSettings(
        lines=(*lines, *_monitor(said, given)),
        primary=members["primary"],
        active=members["active_slave"],
    )


def _given(said: Said) -> dict[str, str]:
    """Return the options by name.  With a semicolon among them commas belong to values."""
    text = said.value("--bondopts")
    found: dict[str, str] = {}
    for each in text.split(";" if ";" in text else ","):
        if not each.strip():
            continue
        name, equals, value = (part.strip() for part in each.partition("="))
        if not (name and equals and value):
            raise said.refuse(
                f"--bondopts: {each!r} is no option",
                "write NAME=VALUE,NAME=VALUE; where a value has commas, put semicolons between",
            )
        if name in found:
            raise said.refuse(f"--bondopts: {name} is given twice")
        found[name] = value
    return found


def _see_mode(said: Said, name: str, mode: str, modes: frozenset[str]) -> None:
    if mode not in modes:
        raise said.refuse(
            f"--bondopts: {name} has no meaning with mode={mode}",
            f"it is for {', '.join(each for each in MODES if each in modes)}",
        )


def _monitor(said: Said, given: Mapping[str, str]) -> tuple[str, ...]:
    arp, mii = (given.get(each, "0") != "0" for each in ("arp_interval", "miimon"))
    if arp and mii:
        raise said.refuse("--bondopts: miimon and arp_interval exclude each other")
    if arp and "arp_ip_target" not in given:
        raise said.refuse("--bondopts: arp_interval needs arp_ip_target=ADDRESS")
    for name in ("updelay", "downdelay"):
        if given.get(name, "0") != "0" and (arp or given.get("miimon") == "0"):
            raise said.refuse(f"--bondopts: {name} needs miimon")
    return () if arp or "miimon" in given else (_MIIMON,)


def _word(*words: str) -> _Value:
    """Take one of some words, or its number."""
    known = {str(n): word for n, word in enumerate(words)} | {word: word for word in words}

    def take(said: Said, name: str, text: str) -> str:
        if text not in known:
            raise said.refuse(f"--bondopts: {name}={text} is none of {', '.join(words)}")
        return known[text]

    return take


def _number(first: int, last: int, unit: str = "") -> _Value:
    def take(said: Said, name: str, text: str) -> str:
        return f"{said.number(text, f'--bondopts: {name}', first, last)}{unit}"

    return take


def _targets(said: Said, name: str, text: str) -> str:
    found = [said.address(each.strip(), f"--bondopts: {name}") for each in text.split(",")]
    if any(each.version != 4 for each in found) or len(found) > _TARGETS_LIMIT:
        raise said.refuse(f"--bondopts: {name} takes at most {_TARGETS_LIMIT} IPv4 addresses")
    return " ".join(map(str, found))


def _mac(said: Said, name: str, text: str) -> str:
    if not _MAC.match(text) or int(text[:2], 16) & 1 or not text.strip("0:"):
        raise said.refuse(f"--bondopts: {name}={text} is no MAC address of a device")
    return text


_MS = _number(0, 2**31 - 1, "ms")
_YES_NO = _word("no", "yes")

_OPTIONS: dict[str, _Option] = {
    "ad_actor_sys_prio": _Option("AdActorSystemPriority", _number(1, 65535), _LACP, strict=True),
    "ad_actor_system": _Option("AdActorSystem", _mac, _LACP, strict=True),
    "ad_select": _Option("AdSelect", _word("stable", "bandwidth", "count"), _LACP),
    "ad_user_port_key": _Option("AdUserPortKey", _number(0, 1023), _LACP, strict=True),
    "all_slaves_active": _Option("AllSlavesActive", _YES_NO),
    "arp_all_targets": _Option("ARPAllTargets", _word("any", "all"), _BACKUP),
    "arp_interval": _Option("ARPIntervalSec", _MS, _WITH_ARP, strict=True),
    "arp_ip_target": _Option("ARPIPTargets", _targets, _WITH_ARP),
    "arp_validate": _Option(
        "ARPValidate", _word("none", "active", "backup", "all"), _WITH_ARP, strict=True
    ),
    "downdelay": _Option("DownDelaySec", _MS),
    "fail_over_mac": _Option("FailOverMACPolicy", _word("none", "active", "follow"), _BACKUP),
    "lacp_rate": _Option("LACPTransmitRate", _word("slow", "fast"), _LACP, strict=True),
    "lp_interval": _Option(
        "LearnPacketIntervalSec", _number(1, 2**31 - 1), frozenset({"balance-tlb", "balance-alb"})
    ),
    "miimon": _Option("MIIMonitorSec", _MS),
    "min_links": _Option("MinLinks", _number(0, 2**31 - 1), _LACP),
    "num_grat_arp": _Option("GratuitousARP", _number(0, 255), _BACKUP),
    "num_unsol_na": _Option("GratuitousARP", _number(0, 255), _BACKUP),
    "packets_per_slave": _Option(
        "PacketsPerSlave", _number(0, 65535), frozenset({"balance-rr"}), strict=True
    ),
    "primary_reselect": _Option(
        "PrimaryReselectPolicy", _word("always", "better", "failure"), _WITH_PRIMARY
    ),
    "resend_igmp": _Option(
        "ResendIGMP", _number(0, 255), frozenset({"balance-rr", *_WITH_PRIMARY})
    ),
    "tlb_dynamic_lb": _Option(
        "DynamicTransmitLoadBalancing", _YES_NO, frozenset({"balance-tlb"}), strict=True
    ),
    "updelay": _Option("UpDelaySec", _MS),
    "xmit_hash_policy": _Option(
        "TransmitHashPolicy",
        _word("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"),
        frozenset({"balance-xor", "802.3ad", "balance-tlb"}),
    ),
}
_KNOWN = frozenset({"mode", "primary", "active_slave", "use_carrier", *_OPTIONS})
