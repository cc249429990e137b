"""``firewall`` lines to a ruleset of nftables, nft(8)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagebuilder.engines.direct.firewall.services import (
    DESTINATIONS,
    PROTOCOLS,
    SERVICES,
    entries,
    port_number,
)
from imagebuilder.errors import InputError, joined, listed
from imagebuilder.kickstart import Command
from imagebuilder.memo import Memo

_PORT = re.compile(
    r"^(?P<first>[A-Za-z0-9_][A-Za-z0-9_.+-]*?)(?:-(?P<last>[0-9]{1,5}))?:(?P<protocol>[a-z]+)$"
)
_TRANSPORTS = ("tcp", "udp", "sctp", "dccp")  # those of firewalld
_INTERFACE = re.compile(r"^[A-Za-z0-9_.-]{1,15}$")
_SSH = "22"

# The answers that the machine's own DHCP and DHCPv6 wait for: connections are not tracked there.
_ALWAYS = (
    "udp sport 67 udp dport 68 accept",
    "ip6 daddr fe80::/10 udp dport 546 accept",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """What all ``firewall`` lines say together.

    Attributes:
        enabled: whether there is one; None leaves the package's own as it is.
        trusted: the interfaces that everything may come in by.
        rules: what else may come in, in nft's words.
        helps_ftp: whether connections for data are let in as FTP's announce them.
        notes: what the reader of the kickstart should know.
    """

    enabled: bool | None
    trusted: tuple[str, ...]
    rules: tuple[str, ...]
    helps_ftp: bool
    notes: tuple[str, ...]


_firewalls: Memo[Firewall] = Memo(256)


def read_firewall(commands: Sequence[Command]) -> Firewall:
    """Return what ``firewall`` lines say together: what they open adds up, the last switches.

    Raises:
        InputError: with the file and line of every port, service and interface that is none.
    """
    # They are asked for when a recipe is checked, and again for the packages that they need.
    key = tuple((each.text, each.where) for each in commands)
    return _firewalls.get(key) or _firewalls.put(key, _read_firewall(commands))


def _read_firewall(commands: Sequence[Command]) -> Firewall:
    enabled: bool | None = None
    trusted: dict[str, None] = {}
    ports: dict[str, None] = {}
    services: dict[str, None] = {}
    errors: list[InputError] = []
    notes: list[str] = []
    last: Command | None = None
    for command in commands:
        data, last = command.data, command
        enabled = None if data.use_system_defaults else bool(data.enabled)
        says = bool(data.ports or data.services or data.trusts or data.remove_services)
        if says and not enabled:
            notes.append(
                f"{command.where}: firewall: the line's other options have no effect beside "
                + ("--disabled" if enabled is False else "--use-system-defaults")
            )
            continue
        both = sorted(set(data.services) & set(data.remove_services))
        if both:
            errors.append(_refused(command, f"{both[0]} is let in and removed", "say one"))
        errors += [
            _refused(
                command,
                f"service {name!r} is unknown",
                "give its ports: --port=NUMBER:tcp; known are "
                + listed(sorted(SERVICES), near=name, limit=200),
            )
            for name in (*data.services, *data.remove_services)
            if name not in SERVICES
        ]
        services |= dict.fromkeys(name for name in data.services if name in SERVICES)
        for name in data.remove_services:
            services.pop(name, None)
        for text in data.ports:
            rule = _port_rule(text)
            if rule is None:
                errors.append(
                    _refused(
                        command,
                        f"{text!r} is no port",
                        "write 22:tcp, 5900-5999:tcp, 53:udp or imap:tcp",
                    )
                )
            else:
                ports[rule] = None
        for name in data.trusts:
            if not _INTERFACE.match(name):
                errors.append(
                    _refused(command, f"{name!r} is no interface", "say --trust once for each")
                )
            trusted[name] = None
    if errors:
        raise joined(errors)
    rules = [*(rule for name in services for rule in _service_rules(name)), *ports]
    if last and enabled and not trusted and not any(f" dport {_SSH} " in rule for rule in rules):
        notes.append(
            f"{last.where}: firewall: SSH is not let in; Anaconda lets it in by itself: "
            "here --service=ssh does"
        )
    return Firewall(
        enabled=enabled,
        trusted=tuple(trusted),
        rules=tuple(dict.fromkeys(rules)),
        helps_ftp="ftp" in services,
        notes=tuple(notes),
    )


def ruleset(firewall: Firewall) -> str:
    """Return the ruleset: what no line names is turned away.

    IP protocols stand there by number: nft knows their names from /etc/protocols alone, which an
    image has only with the package netbase.
    """
    rules = [*_ALWAYS, *(f'iifname "{name}" accept' for name in firewall.trusted)]
    rules += [rule for rule in firewall.rules if rule not in _ALWAYS]
    lines = "".join(f"\t\t{rule}\n" for rule in rules)
    return f"""#!/usr/sbin/nft -f
# From the kickstart.
flush ruleset

table inet filter {{
{_FTP_HELPER if firewall.helps_ftp else ""}\tchain input {{
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept
\t\tct state invalid drop
\t\tiif lo accept
\t\tmeta l4proto {{ 1, 58 }} accept comment "ICMP, ICMPv6"
{lines}\t\treject with icmpx admin-prohibited
\t}}
\tchain forward {{
\t\ttype filter hook forward priority filter; policy accept;
\t}}
\tchain output {{
\t\ttype filter hook output priority filter; policy accept;
\t}}
}}
"""


# What a client connects to for data is told inside of FTP's own connection.
_FTP_HELPER = """\
\tct helper ftp {
\t\ttype "ftp" protocol tcp;
\t}
\tchain helpers {
\t\ttype filter hook prerouting priority filter;
\t\ttcp dport 21 ct helper set "ftp"
\t}
"""


def _refused(command: Command, what: str, fix: str) -> InputError:
    return InputError(f"firewall: {what}", where=command.where, fix=fix)


def _service_rules(name: str) -> list[str]:
    rules: list[str] = []
    for owner, entry in entries(name):
        numbers, slash, protocol = entry.partition("/")
        rule = f"{protocol} dport {numbers}" if slash else f"meta l4proto {PROTOCOLS[numbers]}"
        ip4, ip6 = DESTINATIONS.get(owner, ("", ""))
        if not (ip4 or ip6):
            rules.append(f"{rule} accept")
        rules += [
            f"{family} daddr {address} {rule} accept"
            for family, address in (("ip", ip4), ("ip6", ip6))
            if address
        ]
    return rules


def _port_rule(text: str) -> str | None:
    found = _PORT.match(text)
    if not found or found["protocol"] not in _TRANSPORTS:
        return None
    first = _number(found["first"])
    last = _number(found["last"]) if found["last"] else first
    if found["last"] and not found["first"].isdecimal():
        # A name with a dash and a number in it, such as "kerberos-4": no range.
        first = last = _number(f"{found['first']}-{found['last']}")
    if first is None or last is None or first > last:
        return None
    ports = str(first) if first == last else f"{first}-{last}"
    return f"{found['protocol']} dport {ports} accept"


def _number(text: str) -> int | None:
    if not text.isdecimal():
        return port_number(text)
    return int(text) if len(text) <= 5 and 0 < int(text) < 65536 else None
