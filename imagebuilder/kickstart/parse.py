"""Flat lines to a validated document, by pykickstart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from imagebuilder.errors import ImageBuilderError, InputError, Location, joined
from imagebuilder.kickstart.document import Command, Kickstart
from imagebuilder.kickstart.lines import Line, Lines
from imagebuilder.kickstart.parts import Part, reader
from imagebuilder.kickstart.syntax import Problem, Syntax, syntax

_COMMAND_LIMIT = 5_000  # pykickstart compares each user, say, with all before it
_SHOWN_LIMIT = 100  # errors that are said at once
_AGAIN = "already been defined"  # what pykickstart says of a second line about a device

_Said = tuple[int, Problem]  # of which part


def parse(lines: Sequence[Line], version: str) -> Kickstart:
    """Validate flat lines as a kickstart.

    Args:
        lines: the text; templates rendered, includes followed.
        version: pykickstart's name of the syntax.

    Raises:
        InputError: with the fragment's file and line of everything that is wrong.
    """
    flat = Lines.of(lines)
    known = syntax(version)
    with known.in_use():
        parts = tuple(reader(version).parts(flat))
        _check_count(parts)
        wrong: list[_Said] = [(n, each) for n, part in enumerate(parts) for each in part.problems]
        warned: list[_Said] = [(n, each) for n, part in enumerate(parts) for each in part.warned]
        commands = tuple(_commands(known, parts, wrong, warned))
    scripts = tuple(chain.from_iterable(part.scripts for part in parts))
    sections = tuple(chain.from_iterable(part.sections for part in parts))
    left = [
        (n, Problem(each, part.lines.texts[each].strip()))
        for n, part in enumerate(parts)
        for each in part.includes
    ]
    if left and not any(each.name in ("%pre", "%pre-install") for each in sections):
        wrong += [(n, Problem(each.n, f"{each.text}: no %pre writes it")) for n, each in left]
    if wrong:
        raise _refusal(sorted(wrong, key=_order), parts, version)
    given = frozenset(chain.from_iterable(part.given for part in parts))
    warned += [
        (n, Problem(each.n, f"{each.text} is left to the installer: a %pre script writes it"))
        for n, each in left
    ]
    return Kickstart(
        version=version,
        lines=flat,
        commands=commands,
        packages=tuple(chain.from_iterable(part.packages for part in parts)),
        # pykickstart keeps the options of the last %packages alone: those of each hold.
        weak_dependencies=not given & {"--exclude-weakdeps", "--excludeWeakdeps"},
        ignore_missing="--ignoremissing" in given,
        scripts=scripts,
        sections=sections,
        warnings=tuple(
            f"{parts[n].lines.where(each.n)}: {each.text}" for n, each in sorted(warned, key=_order)
        ),
    )


def _order(said: _Said) -> tuple[int, int]:
    return said[0], said[1].n


def _check_count(parts: Sequence[Part]) -> None:
    count = 0
    for part in parts:
        count += len(part.read)
        if count > _COMMAND_LIMIT:
            raise InputError(
                f"the kickstart has more than {_COMMAND_LIMIT} commands",
                where=part.lines.where(part.read[_COMMAND_LIMIT - count][0]),
                fix="look for a loop over too much; what is run goes into a %post section",
            )


def _commands(
    known: Syntax, parts: Sequence[Part], wrong: list[_Said], warned: list[_Said]
) -> Iterator[Command]:
    """Give the commands; note what is wrong with them together, and what is warned of."""
    each = [
        (n, at, line, command)
        for n, part in enumerate(parts)
        for (at, line), command in zip(part.read, part.commands, strict=True)
    ]
    verdicts = known.check([(command.text, line) for _, _, line, command in each])
    devices: set[tuple[str, ...]] = set()
    for (n, at, _, command), verdict in zip(each, verdicts, strict=True):
        given = _is_again(command, devices)
        warned += [(n, Problem(at, text)) for text in verdict.warned if given or _AGAIN not in text]
        if verdict.wrong:
            wrong.append((n, Problem(at, verdict.wrong)))
        elif command.data is None:
            yield replace(command, data=verdict.data)
        else:
            yield command


def _is_again(command: Command, devices: set[tuple[str, ...]]) -> bool:
    """Return whether a command may repeat another: a VLAN is a device besides the one it is on."""
    if command.name != "network" or command.data is None:
        return True
    names = (command.data.device, command.data.vlanid, command.data.interfacename)
    key = tuple(str(each or "") for each in names)
    is_again = key in devices
    devices.add(key)
    return is_again


def _refusal(said: Sequence[_Said], parts: Sequence[Part], version: str) -> ImageBuilderError:
    return joined(
        [
            InputError(
                f"not a valid kickstart ({version}): {each.text}",
                where=_place(parts[n].lines, each.n),
                fix=_hint(each.text),
            )
            for n, each in said[:_SHOWN_LIMIT]
        ]
    )


def _place(lines: Lines, n: int) -> Location:
    return lines.where(min(max(n, 0), len(lines) - 1))


def _hint(message: str) -> str:
    if "Unknown command" in message:
        return "a program that is to run in the image goes into a %post section"
    if "does not end with %end" in message:
        return "each section ends with a line %end"
    if message.endswith("no %pre writes it"):
        return "name a fragment below kickstarts/, or add the %pre section that writes it"
    return ""
