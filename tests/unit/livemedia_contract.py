"""What livemedia-creator and Anaconda make of a kickstart, as stock pykickstart reads it.

From the sources of lorax 28 to 46 (``check_kickstart`` in pylorax/creator.py), and from what an
image that boots over the network needs beside.
"""

from __future__ import annotations

import re

from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from imagebuilder.kickstart import Kickstart

NEEDED = {"kernel", "dracut-live", "dracut-network", "dracut-config-generic", "policycoreutils"}
UNWANTED = {"dracut-config-rescue"}
# Of several lines of these Anaconda heeds the last alone.
ONCE = ("services", "firewall", "timezone", "lang", "keyboard", "rootpw", "selinux", "url")


def problems(kickstart: Kickstart) -> list[str]:
    """Return what livemedia-creator would refuse, or make no bootable image of."""
    handler = makeVersion(kickstart.version)
    KickstartParser(handler).readKickstartFromString(kickstart.text)
    found: list[str] = []
    if handler.method.method not in ("url", "nfs"):
        found.append("no install method")
    if handler.repo.repoList and handler.method.method != "url":
        found.append("repo without url")
    if not any(each.activate for each in handler.network.network):
        found.append("no network is activated")
    if handler.displaymode.displayMode is not None:
        found.append("a display mode")
    points = [each.mountpoint for each in handler.partition.partitions]
    if points.count("/") != 1 or not {*points} <= {"/", "swap"} or handler.autopart.seen:
        found.append("not a single /")
    elif not all(each.size for each in handler.partition.partitions):
        found.append("a partition without size")
    if not re.search(r"^shutdown$", kickstart.text, re.MULTILINE):
        found.append("no shutdown")
    wanted = {each.name for each in kickstart.packages if not each.excluded}
    excluded = {each.name for each in kickstart.packages if each.excluded}
    found += [f"package {name} is missing" for name in sorted(NEEDED - wanted)]
    found += [f"package {name} is not left out" for name in sorted(UNWANTED - excluded)]
    found += [f"packages both wanted and not: {name}" for name in sorted(wanted & excluded)]
    if not handler.rootpw.lock and not handler.rootpw.password:
        found.append("root has no password and is not locked")
    found += [f"several lines of {name}" for name in ONCE if len(kickstart.all(name)) > 1]
    if not handler.packages.excludeWeakdeps:
        found.append("the last %packages lets recommended packages in")
    emptied = r"^: > (/etc/fstab|/etc/machine-id)$"
    if len(set(re.findall(emptied, kickstart.text, re.MULTILINE))) != 2:
        found.append("fstab or machine-id is not emptied")
    return found
