"""``timezone`` and ``timesource``: the zone, and who sets the clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Command, Kickstart

UTC = ("UTC", "Etc/UTC")
_CLIENTS = (
    "systemd-timesyncd.service",
    "chrony.service",
    "ntp.service",
    "ntpsec.service",
    "openntpd.service",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A time server, or a pool of them."""

    kind: str
    name: str
    nts: bool
    command: Command


def sources(kickstart: Kickstart) -> tuple[list[Source], Command | None]:
    """Return the time servers that hold, and the line that switches the clock's setting off.

    A later line holds: servers after ``--ntp-disable`` switch it on again.
    """
    found: list[Source] = []
    off: Command | None = None
    for each in kickstart.commands:
        if each.name not in ("timesource", "timezone"):
            continue
        data = each.data
        if getattr(data, "ntp_disable", False) or getattr(data, "nontp", False):
            found, off = [], each
            continue
        given = list(_of(each))
        if given:
            found, off = [*found, *given], None
    return found, off


def _of(command: Command) -> Iterator[Source]:
    data = command.data
    if command.name == "timezone":
        yield from (
            Source("server", name, False, command)
            for name in getattr(data, "ntpservers", None) or ()
        )
    elif data.ntp_pool:
        yield Source("pool", data.ntp_pool, bool(data.nts), command)
    elif data.ntp_server:
        yield Source("server", data.ntp_server, bool(data.nts), command)


def configure(tree: Tree, kickstart: Kickstart) -> None:
    """Set the zone and the time servers.

    Raises:
        StepError: the image has no such zone, or nothing that could ask the servers.
    """
    zone = kickstart.last("timezone")
    if zone:
        _zone(tree, zone)
    wanted, off = sources(kickstart)
    if off:
        for unit in _CLIENTS:
            if tree.exists(f"/usr/lib/systemd/system/{unit}") or tree.exists(
                f"/lib/systemd/system/{unit}"
            ):
                tree.run(["systemctl", "disable", unit], what=f"disabling {unit}")
    elif wanted:
        _servers(tree, wanted)


def _zone(tree: Tree, command: Command) -> None:
    zone = command.data.timezone or "UTC"
    if tree.exists(f"/usr/share/zoneinfo/{zone}"):
        tree.link("/etc/localtime", f"/usr/share/zoneinfo/{zone}")
    elif zone in UTC:
        tree.remove("/etc/localtime")  # without one the system's time is UTC, localtime(5)
    else:
        has_data = tree.exists("/usr/share/zoneinfo/UTC")
        raise StepError(
            f"timezone {zone}: "
            + ("there is no such zone" if has_data else "the image has no time zones"),
            where=command.where,
            fix="name a zone such as Europe/Berlin; old names such as US/Pacific are in the "
            "package tzdata-legacy from Debian 13 on"
            if has_data
            else "add the package tzdata to %packages",
        )
    tree.write("/etc/timezone", f"{zone}\n")
    tree.write("/etc/adjtime", f"0.0 0 0.0\n0\n{'UTC' if command.data.isUtc else 'LOCAL'}\n")


def _servers(tree: Tree, wanted: list[Source]) -> None:
    if tree.installed("chrony"):
        lines = [f"{each.kind} {each.name} iburst{' nts' if each.nts else ''}\n" for each in wanted]
        tree.write("/etc/chrony/sources.d/kickstart.sources", "".join(lines))
        # Debian's own pool would be asked as well.
        text = tree.read("/etc/chrony/chrony.conf")
        own = re.sub(r"^(?=(pool|server|peer)\s)", "# ", text, flags=re.MULTILINE)
        if own != text:
            tree.write("/etc/chrony/chrony.conf", own)
        unit = "chrony.service"
    elif tree.installed("systemd-timesyncd"):
        with_nts = [each for each in wanted if each.nts]
        if with_nts:
            raise StepError(
                "timesource --nts: systemd-timesyncd has no NTS",
                where=with_nts[0].command.where,
                fix="add the package chrony to %packages",
            )
        names = " ".join(each.name for each in wanted)
        tree.write("/etc/systemd/timesyncd.conf.d/kickstart.conf", f"[Time]\nNTP={names}\n")
        unit = "systemd-timesyncd.service"
    else:
        raise StepError(
            "timesource: the image has nothing that sets the clock",
            where=wanted[0].command.where,
            fix="add the package systemd-timesyncd or chrony to %packages",
        )
    tree.run(["systemctl", "enable", unit], what=f"enabling {unit}")
