"""Apply the kickstart's commands for language, time, services and boot to the tree."""

from __future__ import annotations

import re

from imagebuilder.engines.direct import accounts, firewall, network
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Command, Kickstart

_BUILT_IN_LOCALES = ("C", "POSIX", "C.UTF-8", "C.utf8")


def configure(tree: Tree, kickstart: Kickstart) -> None:
    """Apply all commands, in the order in which Anaconda does.

    Raises:
        StepError: a command cannot be applied to what is installed; with its file and line.
    """
    for name, apply in (
        ("lang", _lang),
        ("keyboard", _keyboard),
        ("timezone", _timezone),
    ):
        command = kickstart.last(name)
        if command:
            apply(tree, command)
    _timesource(tree, kickstart.all("timesource"))
    network.configure(tree, kickstart.all("network"))
    firewall.configure(tree, kickstart.all("firewall"))
    accounts.configure(tree, kickstart)
    _services(tree, kickstart.all("services"))


def _lang(tree: Tree, command: Command) -> None:
    wanted = [command.data.lang, *(command.data.addsupport or [])]
    made = [name for name in wanted if name not in _BUILT_IN_LOCALES]
    if made:
        if not tree.exists("/usr/sbin/locale-gen"):
            raise StepError(
                f"lang {made[0]}: the image has no locales to make it from",
                where=command.where,
                fix="add the package locales, or use lang C.UTF-8",
            )
        supported = tree.read("/usr/share/i18n/SUPPORTED")
        lines = []
        for name in made:
            charset = name.partition(".")[2] or "UTF-8"
            line = f"{name} {charset.partition('@')[0]}"
            if f"\n{line}" not in f"\n{supported}":
                raise StepError(
                    f"lang {name}: there is no such locale",
                    where=command.where,
                    fix="/usr/share/i18n/SUPPORTED of the package locales lists them",
                )
            lines.append(line)
        tree.write("/etc/locale.gen", "".join(f"{line}\n" for line in lines))
        tree.run(["locale-gen"], what=f"making locales ({command.where})", timeout=600)
    tree.write("/etc/default/locale", f"LANG={command.data.lang}\n")
    tree.link("/etc/locale.conf", "default/locale")


def _keyboard(tree: Tree, command: Command) -> None:
    data = command.data
    layouts = [re.match(r"([^ (]+)(?: ?\(([^)]*)\))?", each) for each in data.x_layouts or []]
    names = [each[1] for each in layouts if each]
    variants = [each[2] or "" for each in layouts if each]
    console = data.vc_keymap or data.keyboard or (names[0] if names else "us")
    if not names:
        names, variants = [console.partition("-")[0]], [""]
    tree.write("/etc/vconsole.conf", f"KEYMAP={console}\n")
    tree.write(
        "/etc/default/keyboard",
        'XKBMODEL="pc105"\n'
        f'XKBLAYOUT="{",".join(names)}"\n'
        f'XKBVARIANT="{",".join(variants)}"\n'
        'XKBOPTIONS=""\n'
        'BACKSPACE="guess"\n',
    )


def _timezone(tree: Tree, command: Command) -> None:
    zone = command.data.timezone or "UTC"
    if not tree.exists(f"/usr/share/zoneinfo/{zone}"):
        if zone not in ("UTC", "Etc/UTC"):
            has_data = tree.exists("/usr/share/zoneinfo/UTC")
            raise StepError(
                f"timezone {zone}: "
                + ("there is no such zone" if has_data else "the image has no time zones"),
                where=command.where,
                fix="name a zone such as Europe/Berlin"
                if has_data
                else "add the package tzdata to %packages",
            )
        tree.remove("/etc/localtime")  # without one the system's time is UTC, localtime(5)
    else:
        tree.link("/etc/localtime", f"/usr/share/zoneinfo/{zone}")
    tree.write("/etc/timezone", f"{zone}\n")
    tree.write("/etc/adjtime", f"0.0 0 0.0\n0\n{'UTC' if command.data.isUtc else 'LOCAL'}\n")


def _timesource(tree: Tree, commands: tuple[Command, ...]) -> None:
    if not commands:
        return
    if any(command.data.ntp_disable for command in commands):
        for unit in ("systemd-timesyncd.service", "chrony.service"):
            if _unit_exists(tree, unit):
                tree.run(["systemctl", "disable", unit], what=f"disabling {unit}")
        return
    sources = [
        (
            "pool" if command.data.ntp_pool else "server",
            command.data.ntp_pool or command.data.ntp_server,
            " nts" if command.data.nts else "",
        )
        for command in commands
    ]
    if tree.installed("chrony"):
        lines = [f"{kind} {name} iburst{nts}\n" for kind, name, nts in sources]
        tree.write("/etc/chrony/sources.d/kickstart.sources", "".join(lines))
        tree.write(
            "/etc/chrony/conf.d/kickstart.conf",
            "# The kickstart's sources are in sources.d.\n",
        )
        unit = "chrony.service"
    elif tree.installed("systemd-timesyncd"):
        if any(nts for _, _, nts in sources):
            raise StepError(
                "timesource --nts: systemd-timesyncd has no NTS",
                where=commands[0].where,
                fix="add the package chrony to %packages",
            )
        names = " ".join(name for _, name, _ in sources)
        tree.write("/etc/systemd/timesyncd.conf.d/kickstart.conf", f"[Time]\nNTP={names}\n")
        unit = "systemd-timesyncd.service"
    else:
        raise StepError(
            "timesource: the image has nothing that sets the clock",
            where=commands[0].where,
            fix="add the package systemd-timesyncd or chrony to %packages",
        )
    tree.run(["systemctl", "enable", unit], what=f"enabling {unit}")


def _services(tree: Tree, commands: tuple[Command, ...]) -> None:
    for command in commands:
        for verb, names in (("disable", command.data.disabled), ("enable", command.data.enabled)):
            for name in names:
                unit = name if "." in name else f"{name}.service"
                if not _unit_exists(tree, unit):
                    if verb == "disable":
                        continue
                    raise StepError(
                        f"services --enabled: there is no unit {unit} in the image",
                        where=command.where,
                        fix="add the package that brings it; a unit that a %post section makes "
                        "is enabled there, by systemctl enable",
                    )
                tree.run(
                    ["systemctl", verb, unit],
                    what=f"systemctl {verb} {unit} ({command.where})",
                )


def _unit_exists(tree: Tree, unit: str) -> bool:
    template = re.sub(r"@[^.]*\.", "@.", unit)
    return any(
        tree.exists(f"{folder}/{name}")
        for folder in ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
        for name in (unit, template)
    ) or tree.exists(f"/etc/init.d/{unit.removesuffix('.service')}")
