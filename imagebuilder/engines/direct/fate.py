"""What becomes of each kickstart command, option and section in the ``direct`` engine.

Every command is honoured, without effect on a live image, or refused: nothing is dropped in
silence.  These tables are the one place that says so.
"""

from __future__ import annotations

from imagebuilder.errors import InputError, Location, joined
from imagebuilder.kickstart import Command, Kickstart

# Commands that are applied, with the options of each that are.
HONOURED: dict[str, frozenset[str]] = {
    "bootloader": frozenset({"--append"}),
    "firewall": frozenset(
        {
            "--enabled",
            "--enable",
            "--disabled",
            "--disable",
            "--port",
            "--service",
            "--trust",
            "--ssh",
            "--http",
            "--smtp",
            "--ftp",
        }
    ),
    "group": frozenset({"--name", "--gid"}),
    "keyboard": frozenset({"--vckeymap", "--xlayouts"}),
    "lang": frozenset({"--addsupport"}),
    "network": frozenset(
        {
            "--bootproto",
            "--device",
            "--gateway",
            "--hostname",
            "--ip",
            "--ipv6",
            "--ipv6gateway",
            "--mtu",
            "--nameserver",
            "--netmask",
            "--noipv4",
            "--noipv6",
        }
    ),
    "repo": frozenset({"--name", "--baseurl"}),
    "rootpw": frozenset({"--iscrypted", "--plaintext", "--lock", "--allow-ssh"}),
    "services": frozenset({"--enabled", "--disabled"}),
    "sshkey": frozenset({"--username"}),
    "timesource": frozenset({"--ntp-server", "--ntp-pool", "--ntp-disable", "--nts"}),
    "timezone": frozenset({"--utc", "--isUtc"}),
    "url": frozenset({"--url"}),
    "user": frozenset(
        {
            "--name",
            "--groups",
            "--homedir",
            "--password",
            "--iscrypted",
            "--plaintext",
            "--lock",
            "--shell",
            "--uid",
            "--gid",
            "--gecos",
        }
    ),
}

# Options that change nothing on a live image, whatever command has them.
OPTIONS_WITHOUT_EFFECT: dict[str, dict[str, str]] = {
    "bootloader": dict.fromkeys(
        ("--location", "--timeout", "--boot-drive", "--driveorder", "--nombr", "--default"),
        "a live image is loaded by PXE and has no boot loader of its own",
    ),
    "network": {
        "--onboot": "each connection is started at boot",
        "--activate": "the network of the build is that of the host",
    },
    "timezone": {},
}

_NO_DISK = "a live image has no disk"
_NO_INSTALLER = "no installer runs"
_NO_END = "nothing is restarted when a build ends"

# Commands that change nothing on a live image, with the reason.
WITHOUT_EFFECT: dict[str, str] = {
    **dict.fromkeys(
        (
            "autopart",
            "btrfs",
            "clearpart",
            "ignoredisk",
            "logvol",
            "part",
            "partition",
            "raid",
            "reqpart",
            "volgroup",
            "zerombr",
        ),
        _NO_DISK,
    ),
    **dict.fromkeys(
        (
            "cmdline",
            "eula",
            "graphical",
            "logging",
            "rescue",
            "text",
            "unsupported_hardware",
            "vnc",
        ),
        _NO_INSTALLER,
    ),
    **dict.fromkeys(("halt", "poweroff", "reboot", "shutdown"), _NO_END),
    "firstboot": "the image has no first-boot assistant",
    "skipx": "nothing configures X",
}

# Commands without effect only in one of their forms; in the others they are refused.
WITHOUT_EFFECT_WITH: dict[str, dict[str, str]] = {
    "selinux": {"--disabled": "Debian enables SELinux only when told to on the command line"},
    "firstboot": {
        "--disable": WITHOUT_EFFECT["firstboot"],
        "--disabled": WITHOUT_EFFECT["firstboot"],
    },
}

# Sections that are honoured, with the options of each that are.
SECTIONS: dict[str, frozenset[str]] = {
    "%packages": frozenset({"--exclude-weakdeps", "--excludeWeakdeps", "--ignoremissing"}),
    "%post": frozenset({"--nochroot", "--interpreter", "--erroronfail", "--log", "--logfile"}),
}

_SECTION_FIX = {
    "%pre": "what it would compute becomes a template and params, or a %post section",
    "%addon": "what an Anaconda add-on does goes into a %post section",
    "%anaconda": "no installer runs: remove the section",
}


def check(kickstart: Kickstart) -> tuple[str, ...]:
    """Return a note for each command that has no effect on a live image.

    Raises:
        InputError: with the file and line of everything that is not honoured.
    """
    notes: list[str] = []
    refused: list[InputError] = []
    for command in kickstart.commands:
        why_not = _without_effect(command)
        if why_not:
            notes.append(f"{command.where}: {command.name} has no effect: {why_not}")
        elif command.name not in HONOURED:
            refused.append(
                _refusal(
                    f"command {command.name!r}",
                    command.where,
                    "say it in a %post section, or use another engine",
                )
            )
        else:
            _check_options(command, notes, refused)
    for section in kickstart.sections:
        honoured = SECTIONS.get(section.name)
        if honoured is None:
            fix = _SECTION_FIX.get(section.name, "remove the section, or use another engine")
            refused.append(_refusal(f"section {section.name}", section.where, fix))
            continue
        refused += [
            _refusal(f"{section.name} {option}", section.where, "remove the option")
            for option in section.options
            if option not in honoured
        ]
    refused += [
        _refusal(
            f"package group {wish.name}",
            wish.where,
            "name its packages; a Debian task's are those that depend on task-NAME",
        )
        for wish in kickstart.packages
        if wish.is_group
    ]
    if refused:
        raise joined(refused)
    return tuple(notes)


def _without_effect(command: Command) -> str:
    forms = WITHOUT_EFFECT_WITH.get(command.name)
    if forms is None:
        return WITHOUT_EFFECT.get(command.name, "")
    return next((forms[option] for option in command.options if option in forms), "")


def _check_options(command: Command, notes: list[str], refused: list[InputError]) -> None:
    idle = OPTIONS_WITHOUT_EFFECT.get(command.name, {})
    for option in command.options:
        if option in idle:
            notes.append(f"{command.where}: {command.name} {option} has no effect: {idle[option]}")
        elif option not in HONOURED[command.name]:
            refused.append(
                _refusal(
                    f"{command.name} {option}",
                    command.where,
                    f"honoured are: {', '.join(sorted(HONOURED[command.name]))}",
                )
            )


def _refusal(what: str, where: Location, fix: str) -> InputError:
    return InputError(f"the direct engine does not honour {what}", where=where, fix=fix)
