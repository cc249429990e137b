"""What becomes of each kickstart command, option and section in the ``direct`` engine.

Each is honoured, without effect on a live image, or refused with a reason: nothing is dropped
in silence.  The tables are :mod:`.fate_commands` and :mod:`.fate_sections`; the page
``docs/kickstarts.md`` is made from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagebuilder.engines.direct.fate_commands import COMMANDS
from imagebuilder.engines.direct.fate_kinds import Fate
from imagebuilder.engines.direct.fate_sections import ADDONS, ANY_ADDON, SECTIONS
from imagebuilder.errors import InputError, Location, joined
from imagebuilder.kickstart import Command, Kickstart, Section

_HONOURED = frozenset(name for name, row in COMMANDS.items() if row.fate.kind == "honoured")
_UNKNOWN = Fate(
    "refused",
    "it is not known to this engine",
    "say it in a %post section, or use another engine",
)


def is_honoured(name: str) -> bool:
    """Return whether a command is applied, and so is an input of what is made."""
    return name in _HONOURED


def check(kickstart: Kickstart) -> tuple[str, ...]:
    """Return a note for everything that has no effect on a live image.

    Raises:
        InputError: with the file and line of everything that is not honoured, and the reason.
    """
    notes: list[str] = []
    refused: list[InputError] = []
    for what, fate, where in _said(kickstart):
        if fate.kind == "without effect":
            notes.append(f"{where}: {what} has no effect: {fate.text}")
        elif fate.kind == "refused":
            refused.append(
                InputError(
                    f"the direct engine does not honour {what}: {fate.text}",
                    where=where,
                    fix=fate.fix,
                )
            )
    if refused:
        raise joined(refused)
    return tuple(notes)


def _said(kickstart: Kickstart) -> Iterator[tuple[str, Fate, Location]]:
    """Return what the kickstart says that is not plainly honoured, with its fate."""
    for command in kickstart.commands:
        yield from _of_command(command)
    for section in kickstart.sections:
        yield from _of_section(section)


def _of_command(command: Command) -> Iterator[tuple[str, Fate, Location]]:
    row = COMMANDS.get(command.name)
    if row is None:
        yield f"command {command.name!r}", _UNKNOWN, command.where
        return
    if row.fate.kind != "honoured":
        what = command.name if row.fate.kind == "without effect" else f"command {command.name!r}"
        yield what, row.fate, command.where
        return
    for option in command.options:
        fate = option_fate(option, row.options)
        if fate.kind != "honoured":
            yield f"{command.name} {option}", fate, command.where


def _of_section(section: Section) -> Iterator[tuple[str, Fate, Location]]:
    if section.name == "%addon":
        name = section.words[1] if len(section.words) > 1 else ""
        yield f"%addon {name}".strip(), ADDONS.get(name, ANY_ADDON), section.where
        return
    row = SECTIONS.get(section.name)
    if row is None:
        yield f"section {section.name}", _UNKNOWN, section.where
        return
    if row.fate.kind != "honoured":
        yield f"section {section.name}", row.fate, section.where
        return
    for option in section.options:
        fate = option_fate(option, row.options)
        if fate.kind != "honoured":
            yield f"{section.name} {option}", fate, section.where


def option_fate(option: str, options: Mapping[str, Fate]) -> Fate:
    """Return the fate of an option, which may be cut short as pykickstart allows."""
    found = options.get(option)
    if found is not None:
        return found
    meant = {fate for name, fate in options.items() if name.startswith(option)}
    return meant.pop() if len(meant) == 1 else _UNKNOWN
