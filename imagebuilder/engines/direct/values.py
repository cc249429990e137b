"""The values of a kickstart's commands: what could not be applied is refused before all work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from imagebuilder.engines.direct import certificates
from imagebuilder.engines.direct.accounts import group_entry
from imagebuilder.engines.direct.services import DESKTOPS
from imagebuilder.errors import InputError, joined
from imagebuilder.kickstart import Command, Kickstart, Section
from imagebuilder.secrets import names_in

INST_LANGS = ("--inst-langs", "--instLangs")  # the one option, by both of its names

_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")  # useradd(8), "CAVEATS"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.+-]*")
_LOCALE = re.compile(r"[A-Za-z_]+(\.[A-Za-z0-9-]+)?(@[A-Za-z0-9]+)?")
_LAYOUT = re.compile(r"[A-Za-z0-9_-]+( ?\([A-Za-z0-9_-]*\))?")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+")
_LANGUAGE = re.compile(r"[A-Za-z][A-Za-z0-9_.@-]*")
# Hashes of crypt(5), and what stands for no password at all.
_HASH = re.compile(r"(\$[0-9a-z-]+\$[^:\s]+|_[./0-9A-Za-z]{19}|[./0-9A-Za-z]{13}|[!*][^:\s]*)")
# The types of keys that OpenSSH knows; options may stand before, sshd(8).
_KEY = re.compile(r"(^|\s)(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+\s+[A-Za-z0-9+/=]+")

_Problem = tuple[str, str]  # what is wrong, and what to do


def check(kickstart: Kickstart) -> None:
    """Refuse values that cannot be applied.

    Raises:
        InputError: with the file and line of each.
    """
    problems = [
        InputError(f"{command.name}: {what}", where=command.where, fix=fix)
        for command in kickstart.commands
        if command.name in _CHECKS
        for what, fix in _CHECKS[command.name](command)
    ]
    problems += _twice(kickstart)
    for section in kickstart.sections:
        if section.name == "%certificate":
            problems += [each for each in (certificates.problem(section),) if each]
        elif section.name == "%packages":
            problems += _languages(section)
    if problems:
        raise joined(problems)


def _bootloader(command: Command) -> Iterator[_Problem]:
    text = command.data.appendLine or ""
    if not text.isprintable():
        yield "kernel arguments are printable words on one line", ""


def _group(command: Command) -> Iterator[_Problem]:
    if not _ACCOUNT.fullmatch(command.data.name or ""):
        yield f"{command.data.name!r} is no name of a group", "letters, digits, _ and -"


def _keyboard(command: Command) -> Iterator[_Problem]:
    data = command.data
    given = [*(data.x_layouts or []), data.vc_keymap, data.keyboard]
    for each in given:
        if each and not _LAYOUT.fullmatch(each):
            yield f"{each!r} is no layout", "write de, or 'de (nodeadkeys)'"
    for each in getattr(data, "switch_options", None) or []:
        if not _WORD.fullmatch(each):
            yield f"{each!r} is no option of a keyboard", "write grp:alt_shift_toggle"


def _lang(command: Command) -> Iterator[_Problem]:
    for each in (command.data.lang, *(command.data.addsupport or [])):
        if not _LOCALE.fullmatch(each):
            yield f"{each!r} is no locale", "write de_DE.UTF-8"


def _rootpw(command: Command) -> Iterator[_Problem]:
    yield from _password(command)


def _password(command: Command) -> Iterator[_Problem]:
    data = command.data
    if not data.password or names_in(data.password):
        return
    if data.isCrypted and not _HASH.fullmatch(data.password):
        yield (
            "--iscrypted, and the password is no hash",
            "make one: mkpasswd, or say --plaintext",
        )


def _services(command: Command) -> Iterator[_Problem]:
    for each in (*command.data.enabled, *command.data.disabled):
        if not _UNIT.fullmatch(each):
            yield f"{each!r} is no name of a unit", "write ssh, or ssh.service"


def _sshkey(command: Command) -> Iterator[_Problem]:
    key = command.data.key or ""
    if names_in(key):
        return
    if not _KEY.search(key) or not key.isprintable():
        yield (
            "that is no public key",
            "give a line of authorized_keys, in quotes: ssh-ed25519 AAAA… NAME",
        )


def _timesource(command: Command) -> Iterator[_Problem]:
    for each in (command.data.ntp_server, command.data.ntp_pool):
        if each and not _WORD.fullmatch(each):
            yield f"{each!r} is no time server", "name a host, or give its address"


def _timezone(command: Command) -> Iterator[_Problem]:
    zone = command.data.timezone or ""
    if zone and not _ZONE.fullmatch(zone):
        yield f"{zone!r} is no time zone", "write Europe/Berlin"
    for each in getattr(command.data, "ntpservers", None) or ():
        if not _WORD.fullmatch(each):
            yield f"{each!r} is no time server", "name a host, or give its address"


def _user(command: Command) -> Iterator[_Problem]:
    data = command.data
    if not _ACCOUNT.fullmatch(data.name or ""):
        yield f"{data.name!r} is no name of a user", "letters, digits, _ and -"
    for entry in data.groups:
        name, gid = group_entry(entry)
        if not _ACCOUNT.fullmatch(name) or not (gid or "0").isdecimal():
            yield f"{entry!r} is no group", "write NAME, or NAME(GID)"
    for option, value in (("--homedir", data.homedir), ("--shell", data.shell)):
        if value and (not value.startswith("/") or ":" in value or not value.isprintable()):
            yield f"{option}={value} is no absolute path", ""
    if ":" in (data.gecos or "") or not (data.gecos or "").isprintable():
        yield "--gecos has a colon, or signs that cannot be printed", ""
    yield from _password(command)


def _xconfig(command: Command) -> Iterator[_Problem]:
    desktop = command.data.defaultdesktop or ""
    if desktop and desktop.upper() not in DESKTOPS:
        yield f"--defaultdesktop={desktop} is unknown", f"known are: {', '.join(DESKTOPS)}"


_CHECKS: dict[str, Callable[[Command], Iterator[_Problem]]] = {
    "bootloader": _bootloader,
    "group": _group,
    "keyboard": _keyboard,
    "lang": _lang,
    "rootpw": _rootpw,
    "services": _services,
    "sshkey": _sshkey,
    "timesource": _timesource,
    "timezone": _timezone,
    "user": _user,
    "xconfig": _xconfig,
}


def _twice(kickstart: Kickstart) -> list[InputError]:
    """Two lines cannot make one user; of a group the second may say what the first does."""
    problems: list[InputError] = []
    first: dict[str, Command] = {}
    for each in kickstart.all("user"):
        before = first.setdefault(each.data.name, each)
        if before is not each:
            problems.append(
                InputError(
                    f"user {each.data.name} is made twice: first in {before.where}",
                    where=each.where,
                    fix="say it in one line; a template's params can change it in a child",
                )
            )
    return problems


def _languages(section: Section) -> list[InputError]:
    if not any(each in INST_LANGS for each in section.options):
        return []
    text = section.value(*INST_LANGS)
    return [
        InputError(
            f"%packages: {each!r} is no language", where=section.where, fix="write de:fr, or none"
        )
        for each in languages(text)
        if not _LANGUAGE.fullmatch(each)
    ]


def languages(text: str) -> list[str]:
    """Return the languages of ``--inst-langs``."""
    return [each for each in re.split(r"[:,]", text) if each]
