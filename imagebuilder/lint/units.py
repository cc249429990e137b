"""Units that are enabled or asked for: does anything bring them?"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from imagebuilder.checks import UnitCheck
from imagebuilder.errors import Location, listed
from imagebuilder.lint import shell
from imagebuilder.lint.finding import Finding, found
from imagebuilder.lint.subject import ScriptText, Subject

_TYPES = "service|socket|target|timer|path|mount|automount|swap|slice|scope|device"
_UNIT = re.compile(rf"[A-Za-z0-9:_.\\@-]+\.(?:{_TYPES})")
# In a script: a path that ends in the name of a unit, or an alias in a unit's own text.
_MADE = re.compile(rf"(?:/|^\s*Alias=)({_UNIT.pattern})(?![\w.-])", re.MULTILINE)
_ON = ("enable", "reenable", "unmask")
_OFF = ("disable", "mask")
# Options of systemctl(1) that take a word of their own.
_WITH_VALUE = ("-t", "--type", "-H", "--host", "-M", "--machine", "--root", "--preset-mode")
# Only these come from files alone; others the system makes as it runs (systemd.generator(7)).
_FROM_FILES = ("service", "socket", "timer", "path")
# Programs that bring software past the package list, and the words with which they do.
_INSTALLERS = frozenset(
    {"apt", "apt-get", "aptitude", "cpan", "dnf", "flatpak", "gem", "make", "microdnf", "npm"}
    | {"pip", "pip3", "snap", "yum", "zypper"}
)
_UNPACKERS = re.compile(r"-[a-zA-Z]*[iU][a-zA-Z]*|--install|--upgrade")


@dataclass(frozen=True, slots=True)
class Wish:
    """A unit that is to be on or off, and what says so."""

    unit: str
    wanted: Literal["on", "off"]
    by: str
    where: Location
    script: int = -1  # which of the scripts, or none


def wishes(subject: Subject) -> Iterator[Wish]:
    """Give the units that ``services`` and ``systemctl`` in scripts turn on and off."""
    for command in subject.kickstart.all("services"):
        for name in command.data.enabled or ():
            yield Wish(full(name), "on", "services --enabled", command.where)
        for name in command.data.disabled or ():
            yield Wish(full(name), "off", "services --disabled", command.where)
    for n, script in enumerate(subject.scripts):
        for statement in script.statements:
            where = script.place(statement.index + 1)
            for part in shell.commands(statement.text):
                verb, names = _systemctl(part)
                if verb in _ON or verb in _OFF:
                    for name in names:
                        by = f"systemctl {verb}"
                        yield Wish(full(name), "on" if verb in _ON else "off", by, where, n)


def full(name: str) -> str:
    """Return a unit's full name, as systemctl completes it."""
    return name if _UNIT.fullmatch(name) else f"{name}.service"


def _systemctl(words: list[str]) -> tuple[str, list[str]]:
    """Return the verb and the units of a command, if it is systemctl and changes the image."""
    if shell.name_of(words) != "systemctl" or {"--user", "--global"} & set(words):
        return "", []
    rest: list[str] = []
    skip = False
    for word in words[1:]:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in _WITH_VALUE
        elif re.match(r"\d*[<>]", word):
            break
        else:
            rest.append(word)
    names = [each for each in rest[1:] if shell.is_literal(each) and "/" not in each]
    return (rest[0] if rest else ""), names


def check(subject: Subject) -> Iterator[Finding]:
    """Look for units that no package brings, no script writes and no file of the recipe is."""
    yield from _contradictions(wishes(subject))
    if subject.units is None:
        return
    early = subject.units.names | frozenset(_of_files(subject))
    written = frozenset(each for script in subject.scripts for each in _MADE.findall(script.text))
    unforeseen = _unforeseen(subject)
    for code, unit, text, where, is_early in _asked(subject):
        known = early if is_early else early | written
        if _is_there(unit, known):
            continue
        if unforeseen:
            text = f"it is not known whether there is a unit {unit}: {unforeseen}"
            yield found("IB100", text, where)
        elif is_early and _is_there(unit, written):
            text += " yet: the script that writes it runs later"
            yield found(code, text, where, fix=f"say in that script: systemctl enable {unit}")
        else:
            yield found(code, text, where, fix=_near(unit, known))


def _asked(subject: Subject) -> Iterator[tuple[str, str, str, Location, bool]]:
    """Give code, unit, text and place of what needs a unit; and whether before the scripts."""
    for each in wishes(subject):
        if each.wanted == "on":
            text = f"{each.by}: there is no unit {each.unit} in the image"
            yield "IB401", each.unit, text, each.where, each.script < 0
    for n, check in enumerate(subject.resolved.recipe.checks):
        if not isinstance(check, UnitCheck) or check.state != "active":
            continue
        if check.unit.rpartition(".")[2] in _FROM_FILES:
            text = f"a check asks for {check.unit}, which is not in the image"
            yield "IB402", check.unit, text, subject.resolved.place(f"checks.{n}.unit"), False


def _is_there(unit: str, known: frozenset[str]) -> bool:
    return unit in known or re.sub(r"@[^.]*\.", "@.", unit) in known


def _near(unit: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(unit, list(known), n=1, cutoff=0.75)
    return f"did you mean {close[0]}? Else add the package that brings it" if close else ""


def _of_files(subject: Subject) -> Iterator[str]:
    """Give the units among the recipe's files."""
    for entry in subject.resolved.recipe.files:
        yield PurePosixPath(entry.path).name
        source = subject.resolved.project.root / entry.source
        if source.is_dir():
            yield from (path.name for path in _files_below(source))


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if _UNIT.fullmatch(path.name))


def _unforeseen(subject: Subject) -> str:
    """Return why units may be there that nothing here tells of, or ""."""
    one = next((each for each in subject.scripts if installs(each)), None)
    if one:
        return f"the %{one.script.kind} of {one.script.where} installs software itself"
    # A kernel brings no units; a new one stands in the security archive alone.
    unlisted = [
        name
        for name in (subject.units.unlisted if subject.units else ())
        if not name.startswith("linux-")
    ]
    return f"no archive lists the files of {listed(unlisted, limit=5)}" if unlisted else ""


def installs(script: ScriptText) -> bool:
    """Return whether a script brings software past the package list."""
    for statement in script.statements:
        for words in shell.commands(statement.text):
            name = shell.name_of(words)
            if name in _INSTALLERS and "install" in words:
                return True
            if name in ("rpm", "dpkg") and any(_UNPACKERS.fullmatch(each) for each in words):
                return True
    return False


def _contradictions(all_wishes: Iterable[Wish]) -> Iterator[Finding]:
    first: dict[tuple[str, str], Wish] = {}
    told: set[str] = set()
    for wish in all_wishes:
        other = first.get((wish.unit, "off" if wish.wanted == "on" else "on"))
        # A script that turns off, then on, does so on purpose.
        if other and wish.unit not in told and (wish.script < 0 or wish.script != other.script):
            told.add(wish.unit)
            yield found(
                "IB601",
                f"{wish.by} of {wish.unit} contradicts {other.by} at {other.where}",
                wish.where,
                also=(other.where,),
            )
        first.setdefault((wish.unit, wish.wanted), wish)
