"""``network`` lines to files of systemd-networkd, systemd.network(5).

:func:`check` says before anything is made what is wrong with the lines; :func:`configure`
writes what they come to into an image's tree.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.engines.direct.network.chosen import SCRIPT, UNIT, UNIT_TEXT, script
from imagebuilder.engines.direct.network.devices import read_network
from imagebuilder.engines.direct.network.files import FOLDER, network_files
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import Location, StepError
from imagebuilder.kickstart import Command

__all__ = ["check", "configure", "needs"]

_LIBRARY = ("/usr/lib/systemd", "/lib/systemd")


def check(commands: tuple[Command, ...]) -> tuple[str, ...]:
    """Return notes on what ``network`` lines say.

    Raises:
        InputError: with the file and line of everything that is wrong.
    """
    return read_network(commands).notes


def needs(commands: tuple[Command, ...]) -> Iterator[tuple[str, Location, tuple[str, ...]]]:
    """Return what of the lines needs a package, where it stands, and which package.

    Raises:
        InputError: as :func:`check`.
    """
    for device in read_network(commands).devices:
        if device.addresses and (device.addresses.nameservers or device.addresses.search):
            yield "network --nameserver", device.where, ("systemd-resolved",)
        if device.is_chosen:
            yield f"network --device={device.key}", device.where, ("iproute2",)


def configure(tree: Tree, commands: tuple[Command, ...]) -> None:
    """Write the host's name and the files of its devices, and enable networkd.

    Raises:
        InputError: as :func:`check`.
        StepError: the image lacks what the lines need.
    """
    network = read_network(commands)
    if network.hostname:
        tree.write("/etc/hostname", f"{network.hostname}\n")
    if not network.devices:
        return
    where = network.devices[0].where
    if not any(tree.exists(f"{folder}/system/systemd-networkd.service") for folder in _LIBRARY):
        raise StepError(
            "network: the image has no systemd-networkd",
            where=where,
            fix="add the package that brings it to %packages",
        )
    for device in network.devices:
        names = device.addresses and (device.addresses.nameservers or device.addresses.search)
        if names and not any(tree.exists(f"{folder}/systemd-resolved") for folder in _LIBRARY):
            raise StepError(
                "network: nothing in the image looks names up where --nameserver says",
                where=device.where,
                fix="add the package systemd-resolved to %packages",
            )
    for name, text in network_files(network).items():
        tree.write(f"{FOLDER}/{name}", text)
    chosen = tuple(each.key for each in network.devices if each.is_chosen)
    if chosen:
        tree.write(SCRIPT, script(chosen), mode=0o755)
        tree.write(f"/etc/systemd/system/{UNIT}", UNIT_TEXT)
        tree.run(["systemctl", "enable", UNIT], what=f"enabling {UNIT}")
    tree.run(["systemctl", "enable", "systemd-networkd.service"], what="enabling networkd")
