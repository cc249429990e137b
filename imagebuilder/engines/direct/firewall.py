"""``firewall`` to a ruleset of nftables."""

from __future__ import annotations

import re

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Command

_PORT = re.compile(r"^(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?(?::(?P<protocol>tcp|udp))?$")
_INTERFACE = re.compile(r"^[A-Za-z0-9_.-]{1,15}$")


def configure(tree: Tree, commands: tuple[Command, ...]) -> None:
    """Write ``/etc/nftables.conf`` and enable it; a last line ``--disabled`` switches it off.

    What several lines open adds up, so that each fragment can open what it needs.

    Raises:
        StepError: the image has no nftables, or a port or service is unknown.
    """
    if not commands:
        return
    command = commands[-1]
    if command.data.enabled is False:
        if tree.exists("/usr/sbin/nft"):
            tree.run(["systemctl", "disable", "nftables.service"], what="disabling nftables")
        return
    if not tree.exists("/usr/sbin/nft"):
        raise StepError(
            "firewall: the image has no nftables",
            where=command.where,
            fix="add the package nftables to %packages, or say firewall --disabled",
        )
    tree.write("/etc/nftables.conf", ruleset(tree, commands), mode=0o755)
    tree.run(["systemctl", "enable", "nftables.service"], what="enabling nftables")


def ruleset(tree: Tree, commands: tuple[Command, ...]) -> str:
    """Return the ruleset: what no firewall line names is dropped on the way in.

    Raises:
        StepError: a port, service or interface is not one.
    """
    accepted = [rule for command in commands for rule in _rules(tree, command)]
    rules = "\n".join(f"\t\t{rule}" for rule in dict.fromkeys(accepted))
    return f"""#!/usr/sbin/nft -f
# From the kickstart.
flush ruleset

table inet filter {{
\tchain input {{
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept
\t\tct state invalid drop
\t\tiif lo accept
\t\tmeta l4proto {{ icmp, ipv6-icmp }} accept
\t\tudp sport 67 udp dport 68 accept
\t\tudp sport 547 udp dport 546 accept
{rules}
\t}}
\tchain forward {{
\t\ttype filter hook forward priority filter; policy accept;
\t}}
\tchain output {{
\t\ttype filter hook output priority filter; policy accept;
\t}}
}}
"""


def _rules(tree: Tree, command: Command) -> list[str]:
    data = command.data
    rules: list[str] = []
    for name in data.trusts:
        if not _INTERFACE.match(name):
            raise StepError(f"firewall: {name!r} is no interface", where=command.where)
        rules.append(f'iifname "{name}" accept')
    for port in [*(_service(tree, name, command) for name in data.services), *data.ports]:
        found = _PORT.match(port)
        if not found or not (
            0 < int(found["first"]) <= int(found["last"] or found["first"]) < 65536
        ):
            raise StepError(
                f"firewall: {port!r} is no port",
                where=command.where,
                fix="write 22:tcp, 5900-5999:tcp or 53:udp",
            )
        ports = found["first"] if not found["last"] else f"{found['first']}-{found['last']}"
        rules.append(f"{found['protocol'] or 'tcp'} dport {ports} accept")
    return rules


# firewalld's names, firewalld.service(5), of services that /etc/services calls otherwise.
_NAMES = {"libvirt": "16509:tcp", "libvirt-tls": "16514:tcp", "cockpit": "9090:tcp"}


def _service(tree: Tree, name: str, command: Command) -> str:
    if name in _NAMES:
        return _NAMES[name]
    found = re.search(
        rf"^{re.escape(name)}\s+(\d+)/(tcp|udp)", tree.read("/etc/services"), re.MULTILINE
    )
    known = {"ssh": "22:tcp", "http": "80:tcp", "https": "443:tcp", "smtp": "25:tcp"}
    if found:
        return f"{found[1]}:{found[2]}"
    if name in known:
        return known[name]
    raise StepError(
        f"firewall: service {name!r} is unknown",
        where=command.where,
        fix="give its port: --port=NUMBER:tcp, or add the package netbase, which names services",
    )
