"""What runs when the machine boots: ``services``, ``firstboot``, ``skipx`` and ``xconfig``."""

from __future__ import annotations

import re

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Command, Kickstart

_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")

# What --defaultdesktop can name: the program that is the session, and its package.
DESKTOPS = {
    "GNOME": ("gnome-session", "gnome-session"),
    "KDE": ("startplasma-x11", "plasma-workspace"),
    "XFCE": ("startxfce4", "xfce4-session"),
    "LXDE": ("startlxde", "lxde-common"),
    "LXQT": ("startlxqt", "lxqt-session"),
    "MATE": ("mate-session", "mate-session-manager"),
    "CINNAMON": ("cinnamon-session", "cinnamon-session"),
}


def configure(tree: Tree, kickstart: Kickstart) -> tuple[str, ...]:
    """Enable and disable units, and choose what the machine boots to.

    Returns:
        a note for each unit that was to be disabled and is not there.

    Raises:
        StepError: a unit that is to be enabled is not there; with the command's file and line.
    """
    face = next((c for c in reversed(kickstart.commands) if c.name in ("skipx", "xconfig")), None)
    if face:
        _boot_to(tree, face)
    first = kickstart.last("firstboot")
    if first and first.options:
        _no_questions(tree)
    return tuple(note for each in kickstart.all("services") for note in _services(tree, each))


def _boot_to(tree: Tree, command: Command) -> None:
    graphical = command.name == "xconfig" and command.data.startX
    target = "graphical.target" if graphical else "multi-user.target"
    tree.run(["systemctl", "set-default", target], what=f"{command.name} ({command.where})")
    desktop = (getattr(command.data, "defaultdesktop", None) or "").upper()
    if not desktop:
        return
    program, package = DESKTOPS[desktop]
    if not tree.exists(f"/usr/bin/{program}"):
        raise StepError(
            f"xconfig --defaultdesktop={desktop}: the image has no {program}",
            where=command.where,
            fix=f"add the package {package} to %packages",
        )
    tree.run(
        ["update-alternatives", "--set", "x-session-manager", f"/usr/bin/{program}"],
        what=f"xconfig --defaultdesktop ({command.where})",
    )


def _no_questions(tree: Tree) -> None:
    tree.link("/etc/systemd/system/systemd-firstboot.service", "/dev/null")
    settings = "/etc/gdm3/daemon.conf"
    text = tree.read(settings)
    if "[daemon]" in text:
        line = "InitialSetupEnable=false"
        tree.write(settings, text.replace("[daemon]", f"[daemon]\n{line}", 1))


def _services(tree: Tree, command: Command) -> list[str]:
    notes: list[str] = []
    # As Anaconda does: what one line both disables and enables is enabled.
    for verb, names in (("disable", command.data.disabled), ("enable", command.data.enabled)):
        units: list[str] = []
        for name in names:
            unit = name if "." in name else f"{name}.service"
            if unit_exists(tree, unit):
                units.append(unit)
            elif verb == "disable":
                notes.append(
                    f"{command.where}: services --disabled={name}: the image has no such unit"
                )
            else:
                raise StepError(
                    f"services --enabled: there is no unit {unit} in the image",
                    where=command.where,
                    fix="add the package that brings it; a unit that a %post section makes "
                    "is enabled there, by systemctl enable",
                )
        if units:
            named = f"systemctl {verb} {' '.join(units)}"
            tree.run(["systemctl", verb, *units], what=f"{named} ({command.where})")
    return notes


def unit_exists(tree: Tree, unit: str) -> bool:
    """Return whether a unit is in the image: a file, a template for it, or a SysV script."""
    template = re.sub(r"@[^.]*\.", "@.", unit)
    return any(
        tree.exists(f"{folder}/{name}") for folder in _UNITS for name in (unit, template)
    ) or tree.exists(f"/etc/init.d/{unit.removesuffix('.service')}")
