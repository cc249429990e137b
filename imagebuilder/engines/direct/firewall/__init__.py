"""``firewall`` lines to a ruleset of nftables, which is loaded before the network is up.

:func:`check` says before anything is made what is wrong with the lines; :func:`configure`
writes what they come to into an image's tree.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.engines.direct.firewall.ruleset import read_firewall, ruleset
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import Location, StepError
from imagebuilder.kickstart import Command

__all__ = ["check", "configure", "needs"]

_FTP_MODULE = "nf_conntrack_ftp.ko*"


def check(commands: tuple[Command, ...]) -> tuple[str, ...]:
    """Return notes on what ``firewall`` lines say.

    Raises:
        InputError: with the file and line of everything that is wrong.
    """
    return read_firewall(commands).notes


def needs(commands: tuple[Command, ...]) -> Iterator[tuple[str, Location, tuple[str, ...]]]:
    """Return what of the lines needs a package, where it stands, and which package.

    Raises:
        InputError: as :func:`check`.
    """
    if read_firewall(commands).enabled:
        yield "firewall", commands[-1].where, ("nftables",)


def configure(tree: Tree, commands: tuple[Command, ...]) -> None:
    """Write ``/etc/nftables.conf`` and enable it; a last line ``--disabled`` switches it off.

    Raises:
        InputError: as :func:`check`.
        StepError: the image lacks what the lines need.
    """
    firewall = read_firewall(commands)
    if firewall.enabled is None:
        return
    has_nft = tree.exists("/usr/sbin/nft")
    if not firewall.enabled:
        if has_nft:
            tree.run(["systemctl", "disable", "nftables.service"], what="disabling nftables")
        return
    where = commands[-1].where
    if not has_nft:
        raise StepError(
            "firewall: the image has no nftables",
            where=where,
            fix="add the package nftables to %packages, or say firewall --disabled",
        )
    if firewall.helps_ftp and not _has_ftp_module(tree):
        raise StepError(
            "firewall: the image's kernel does not know FTP's connections for data",
            where=where,
            fix="take another kernel in %packages, or say --port=21:tcp and the ports for data",
        )
    tree.write("/etc/nftables.conf", ruleset(firewall), mode=0o755)
    tree.run(["systemctl", "enable", "nftables.service"], what="enabling nftables")


def _has_ftp_module(tree: Tree) -> bool:
    return all(
        tree.glob(f"{folder.relative_to(tree.root)}/kernel/net/netfilter/{_FTP_MODULE}")
        for folder in tree.glob("usr/lib/modules/*")
    )
