"""What a recipe asks for, thing by thing: packages, units, users, ports, files, settings."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagebuilder.changes.rendered import Rendered
from imagebuilder.command import redact
from imagebuilder.errors import Location
from imagebuilder.kickstart import Command, Kickstart
from imagebuilder.kickstart.redact import redacted_line

# Commands of which each line is a thing of its own, by the name of its data that tells which.
_NAMED: Mapping[str, tuple[str, str]] = {
    "user": ("user", "name"),
    "group": ("group", "name"),
    "repo": ("repository", "name"),
}
# Commands that are told of in another way, or that say nothing of an image.
_TOLD = ("services", "bootloader", "firewall", *_NAMED)
_MASK = "********"
_NAME = 100  # characters of what a check is called

Thing = tuple[str, str]  # kind and name


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What holds of a thing.

    Attributes:
        value: what is compared; it may be secret.
        shown: what is shown of it.
        where: its place.
        text: of a long value, its lines, to show how they differ.
    """

    value: str
    shown: str
    where: Location | None = None
    text: str = ""


Things = Iterator[tuple[Thing, State]]


def things_of(side: Rendered, kickstart: Kickstart | None) -> Things:
    """Give all things that an image has by its recipe, but for its scripts."""
    if kickstart:
        yield from of_kickstart(kickstart)
        yield from _of_recipe(side, kickstart)


def _state(shown: str, where: Location | None = None, value: str | None = None) -> State:
    return State(value=shown if value is None else value, shown=shown, where=where)


def of_kickstart(kickstart: Kickstart) -> Things:
    """Give all that a kickstart asks for, but for its scripts."""
    for wish in kickstart.packages:
        options = " ".join(wish.options)
        said = "not wanted" if wish.excluded else (options or "yes")
        yield ("package", wish.name), _state(said, wish.where)
    if not kickstart.weak_dependencies:
        yield ("setting", "recommended packages"), _state("left out")
    for command in kickstart.all("services"):
        for said, names in (
            ("enabled", command.data.enabled),
            ("disabled", command.data.disabled),
        ):
            for name in names:
                yield ("unit", name), _state(said, command.where)
    yield from _of_firewall(kickstart)
    for name, (kind, attribute) in _NAMED.items():
        for command in kickstart.all(name):
            key = str(getattr(_item(command), attribute, "") or command.text)
            yield (kind, key), _said(command)
    yield from _of_others(kickstart)


def _item(command: Command) -> Any:
    """Return what a command made: some have a list of all that were made."""
    for name in ("userList", "groupList", "repoList"):
        items = getattr(command.data, name, None)
        if items:
            return items[-1]
    return command.data


def _of_firewall(kickstart: Kickstart) -> Things:
    for command in kickstart.all("firewall"):
        data = command.data
        for port in data.ports:
            yield ("port", str(port)), _state("open", command.where)
        for service in data.services:
            yield ("port", f"of service {service}"), _state("open", command.where)
        for device in data.trusts:
            yield ("port", f"all of {device}"), _state("open", command.where)
        if data.enabled is not None:
            said = "on" if data.enabled else "off"
            yield ("setting", "firewall"), _state(said, command.where)


def _of_others(kickstart: Kickstart) -> Things:
    """Give the other commands: one that is given once is a setting, others are lines."""
    count = Counter(each.name for each in kickstart.commands)
    number: Counter[str] = Counter()
    for command in kickstart.commands:
        if command.name in _TOLD:
            continue
        number[command.name] += 1
        name = command.name
        if count[name] > 1:
            device = getattr(_network(command), "device", "") if name == "network" else ""
            name = f"{name} {device}" if device else f"{name} {number[name]}"
        yield ("kickstart command", name), _said(command)


def _network(command: Command) -> Any:
    items = getattr(command.data, "network", None)
    return items[-1] if items else command.data


def _of_recipe(side: Rendered, kickstart: Kickstart) -> Things:
    assert side.resolved
    resolved, recipe = side.resolved, side.resolved.recipe
    number: Counter[str] = Counter()
    for word in (*kickstart.kernel_args, *recipe.kernel.args):
        number[word] += 1
        name = word if number[word] == 1 else f"{word} (again)"
        yield ("kernel argument", name), _state("yes", resolved.place("kernel.args"))
    for n, entry in enumerate(recipe.files):
        said = f"{entry.source} {entry.mode or 'its own mode'} {entry.owner}"
        said += " template" if entry.template else ""
        yield ("file", entry.path), _state(said, resolved.place(f"files.{n}"))
    for n, check in enumerate(recipe.checks):
        title = _one_line(check.title)
        number[title] += 1
        name = title if number[title] == 1 else f"{title} (number {number[title]})"
        asked = check.model_dump(mode="json", exclude_defaults=True)
        yield (
            ("check", name),
            State(
                value=_plain(asked),
                shown="yes",
                where=resolved.place(f"checks.{n}"),
                text=_beside(title, asked),
            ),
        )
    for n, line in enumerate(recipe.preseed):
        name = " ".join(line.split()[:2])
        value = " ".join(line.split()[2:])
        said = _MASK if "password" in line.lower() else value or "yes"
        yield ("debconf answer", name), _state(said, resolved.place(f"preseed.{n}"), value)
    flat = _flat({key: side.parts.get(key) for key in _SETTINGS})
    for key, value in flat.items():
        yield ("setting", key), _state(value, resolved.place(key))
    if side.mirrors:
        yield ("setting", "mirrors"), _state(redact(" | ".join(side.mirrors)))


_SETTINGS = (
    *("summary", "distro", "arch", "engine", "image", "livemedia", "smoke"),
    *("locked", "snapshot", "secrets"),
)


def _one_line(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _NAME else f"{plain[: _NAME - 1]}…"


def _beside(title: str, asked: Mapping[str, Any]) -> str:
    """Return what a check asks for that its title does not say."""
    said = ((key, _plain(value)) for key, value in asked.items() if key != "name")
    return redact("\n".join(f"{key}: {value}" for key, value in said if value not in title))


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Return the leaves of a table, each by its path."""
    if isinstance(value, Mapping):
        found: dict[str, str] = {}
        for key, each in value.items():
            found |= _flat(each, f"{path}.{key}" if path else str(key))
        return found
    return {path: _plain(value)} if value not in (None, "", [], ()) else {}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_plain(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_plain, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(command: Command) -> State:
    """Return a command's options: compared as they are, shown without secrets."""
    whole = " ".join(_words(command.text.strip().partition(" ")[2]))
    shown = redact(redacted_line(command.text.strip())).partition(" ")[2]
    return _state(" ".join(_words(shown)), command.where, whole)


def _words(text: str) -> list[str]:
    """Return words as they are, without a comment and more space than is needed."""
    try:
        return shlex.split(text, comments=True) or ["yes"]
    except ValueError:
        return text.split()
